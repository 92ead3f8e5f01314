"""Reads a yes-or-no value from the command line, where ``--resume true`` arrives as text."""

from __future__ import annotations

from .errors import ConfigurationError

_WORDS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def is_on(value: bool | str) -> bool:
    """Whether a switch is on.

    Args:
        value: a bool from a config, or a word from the command line.

    Raises:
        ConfigurationError: the word means neither yes nor no.
    """
    if isinstance(value, bool):
        return value
    try:
        return _WORDS[str(value).strip().lower()]
    except KeyError:
        msg = f"{value!r} is neither true nor false, as the value of a switch must be"
        raise ConfigurationError(msg) from None
