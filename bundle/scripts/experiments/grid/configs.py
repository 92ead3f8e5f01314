"""A run's complete configs, and in what two of them differ."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from monai.bundle import ConfigParser

from ...domain.errors import ConfigurationError
from .arms import Arm

_LONGEST_VALUE = 60
"""Of a value in a message, characters."""

# The ones in C where PyYAML was built with them: ten times as fast, and a grid has hundreds of configs.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)

PLACES_AND_HABITS = (
    "imports",
    "arm",
    "bundle_root",
    "dataset_dir",
    "output_dir",
    "ckpt_dir",
    "cache_dir",
    "ckpt_path",
    "init_ckpt",
    "device",
    "resume",
    "progress_file",
    "tensorboard",
    "check_dataset",
    "main_process",
    "nnunet_bin",
    "workers",
    "figures",
    "keep_masks",
)
"""Keys of the top level that may differ between two runs which count as the same."""


def compose(arm: Arm, base: Path, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """A config with the arm's overlay behind it and overrides behind that.

    Raises:
        ConfigurationError: the overlay or an override does not fit the config.
    """
    try:
        parser = ConfigParser(deepcopy(_overlaid(base, arm.overlay)))
        parser.update(dict(overrides))
    except (KeyError, ValueError, TypeError, IndexError, RuntimeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        msg = f"{arm.overlay}: broken overlay: it, or an override, does not fit behind {base.name} ({reason})"
        raise ConfigurationError(msg) from error
    config = parser.get()
    config.pop("_meta_", None)
    return config


@cache
def _overlaid(base: Path, overlay: Path) -> dict[str, Any]:
    parser = ConfigParser()
    parser.read_config([str(base), str(overlay)])
    return parser.get()


def as_text(config: Mapping[str, Any]) -> str:
    """A config as YAML, in its own order."""
    return yaml.dump(dict(config), Dumper=_DUMPER, sort_keys=False, width=120)


def from_text(text: str) -> dict[str, Any]:
    """The config that ``as_text`` wrote."""
    return yaml.load(text, Loader=_LOADER)


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Where two configs would not do the same: ``key: was …, is …`` each."""
    old, new = (_flat({k: v for k, v in c.items() if k not in PLACES_AND_HABITS}) for c in (before, after))
    return [
        f"{key}: was {_short(old.get(key, 'absent'))}, is {_short(new.get(key, 'absent'))}"
        for key in dict.fromkeys((*old, *new))
        if old.get(key, "absent") != new.get(key, "absent")
    ]


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 3]}..."


def _flat(config: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(config, Mapping) and config:
        pairs = config.items()
    elif isinstance(config, list | tuple) and config:
        pairs = enumerate(config)
    else:
        return {prefix: config}
    return {k: v for key, value in pairs for k, v in _flat(value, f"{prefix}#{key}" if prefix else str(key)).items()}
