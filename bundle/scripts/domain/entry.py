"""Turns errors of the project and of a disk into one line, for configs and the functions that their run ids call."""

from __future__ import annotations

import errno
import functools
import sys
from collections.abc import Callable
from types import TracebackType
from typing import ParamSpec, TypeVar

from .errors import MTINetError

OF_A_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)
"""What ails a disk and no code: it is full, or not to be read or written."""

P = ParamSpec("P")
R = TypeVar("R")


def entry_point(function: Callable[P, R]) -> Callable[P, R]:
    """Decorate a run id's function: ``MTINetError``, and ``OSError`` of a disk, become ``SystemExit`` in a line.

    ``monai.bundle run`` would print two tracebacks otherwise. Libraries and the server never use it.
    """

    @functools.wraps(function)
    def called(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except MTINetError as error:
            raise SystemExit(f"error: {error}") from error
        except OSError as error:
            if error.errno not in OF_A_DISK:
                raise
            where = error.filename or "a file that was being written"
            msg = f"error: {where}: {error.strerror}. Make room or give rights, or name another folder"
            raise SystemExit(msg) from error

    return called


def show_config_errors_in_one_line() -> None:
    """Let an ``MTINetError`` that ends the program be one line, whatever was raised from it on the way.

    For what a config builds before any entry point is called: ``monai.bundle`` buries such an error in a traceback that
    ends with the name of the component.
    """
    usual = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, MTINetError):
            cause = cause.__cause__
        if cause is None:
            usual(kind, error, traceback)
        else:
            sys.stderr.write(f"error: {cause}\n")

    sys.excepthook = hook
