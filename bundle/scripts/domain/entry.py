"""Turns errors of the project and of a disk into one line, for the functions that a config's run id calls."""

from __future__ import annotations

import errno
import functools
from collections.abc import Callable
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
