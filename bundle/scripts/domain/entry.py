"""Turns the project's errors into one line on the terminal, for the functions that a config's run id calls."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from .errors import MTINetError

P = ParamSpec("P")
R = TypeVar("R")


def entry_point(function: Callable[P, R]) -> Callable[P, R]:
    """Decorate a run id's function: ``MTINetError`` becomes ``SystemExit`` with its message.

    ``monai.bundle run`` would print two tracebacks otherwise. Libraries and the server never use it.
    """

    @functools.wraps(function)
    def called(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except MTINetError as error:
            raise SystemExit(f"error: {error}") from error

    return called
