"""What an arm's overlay says to the tables: the key ``arm`` of ``configs/experiments/<arm>.yaml``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...domain.errors import ConfigurationError
from ..overlay import about


@dataclass(frozen=True)
class Arm:
    """One system of the grid.

    Args:
        key: the overlay's name, ``unet``; also the name of its run folders.
        name: heading of its row.
        tables: keys of the tables that it stands in.
        reported: the paper's numbers by column, as printed there.
        note: printed under the table.
        by_epochs: whether it is trained by epochs; a reader that is fitted at once has no score to level off.
    """

    key: str
    name: str
    tables: tuple[str, ...]
    reported: Mapping[str, float] = field(default_factory=dict)
    note: str = ""
    by_epochs: bool = True


def read_arms(folder: Path, tables: tuple[str, ...]) -> dict[str, Arm]:
    """Read every overlay of a folder.

    Args:
        folder: of the overlays.
        tables: the keys of the tables that there are.

    Returns:
        The arms by key, in alphabetical order.

    Raises:
        ConfigurationError: no overlay, or one whose ``arm`` cannot be used; the message names all of them.
    """
    paths = sorted(folder.glob("*.yaml"))
    if not paths:
        msg = f"{folder}: no overlay of an arm. Give --arms_dir the folder configs/experiments"
        raise ConfigurationError(msg)
    arms, faults = {}, []
    for path in paths:
        try:
            arms[path.stem] = _read_arm(path, tables)
        except ConfigurationError as error:
            faults.append(str(error))
    if faults:
        raise ConfigurationError("\n".join(faults))
    return arms


def apart(arms: Mapping[str, Arm]) -> dict[str, str]:
    """A name for each key, with the key behind it where two arms have the same, as in two tables of the paper."""
    names = [arm.name for arm in arms.values()]
    return {key: arm.name if names.count(arm.name) == 1 else f"{arm.name} ({key})" for key, arm in arms.items()}


def _read_arm(path: Path, tables: tuple[str, ...]) -> Arm:
    entry = about(path)
    if not isinstance(entry.get("name"), str):
        msg = f"{path}: says no name for the tables. Add the key arm with name and tables"
        raise ConfigurationError(msg)
    names = entry.get("tables") or []
    if not isinstance(names, list) or any(name not in tables for name in names):
        msg = f"{path}: arm.tables is {names}. Use a list of {', '.join(tables)}"
        raise ConfigurationError(msg)
    return Arm(
        key=path.stem,
        name=entry["name"],
        tables=tuple(names),
        reported=_numbers(path, entry.get("reported") or {}),
        note=str(entry.get("note") or ""),
        by_epochs=bool(entry.get("by_epochs", True)),
    )


def _numbers(path: Path, reported: Any) -> dict[str, float]:
    try:
        return {str(key): float(value) for key, value in reported.items()}
    except (AttributeError, TypeError, ValueError) as error:
        msg = f"{path}: arm.reported is {reported!r}. Give one number a column, such as {{dsc: 77.34}}"
        raise ConfigurationError(msg) from error
