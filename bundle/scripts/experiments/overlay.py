"""What an overlay of ``configs/experiments`` says of itself, under its key ``arm``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from ..domain.errors import ConfigurationError


def about(overlay: Path) -> dict[str, Any]:
    """The key ``arm`` of an overlay; empty where it has none.

    Raises:
        ConfigurationError: it is no YAML mapping, or its ``arm`` is none.
    """
    try:
        content = yaml.safe_load(overlay.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        msg = f"{overlay}: broken overlay, not a YAML file ({' '.join(str(error).split())}). Correct it"
        raise ConfigurationError(msg) from error
    entry = content.get("arm", {}) if isinstance(content, dict) else None
    if not isinstance(entry, dict):
        msg = f"{overlay}: broken overlay: it, and its key arm, must be mappings of keys to values"
        raise ConfigurationError(msg)
    return entry
