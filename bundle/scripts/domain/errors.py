"""The one family of errors that the libraries raise.

A message says what is wrong, where, and what to do. Only the functions that a
config's run id calls turn these into a one-line ``SystemExit``.
"""

from pathlib import Path
from traceback import extract_tb


class MTINetError(Exception):
    """Base of every error that this project raises on purpose."""


class StudyError(MTINetError):
    """A study cannot be read or lacks what a result needs."""


class DatasetError(MTINetError):
    """A dataset folder breaks its contract; the message lists every fault."""


class CheckpointError(MTINetError):
    """Weights or a checkpoint cannot be loaded."""


class ConfigurationError(MTINetError):
    """An argument or a config value is out of range or contradicts another."""


class RunError(MTINetError):
    """A run of the experiment grid failed; the message names it and says why."""


def where_raised(error: Exception) -> str:
    """Kind and place of an unforeseen error, without its message, which may quote a patient's data."""
    place = extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {Path(place.filename).name}, line {place.lineno}"
