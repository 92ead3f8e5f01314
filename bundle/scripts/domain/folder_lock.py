"""Keeps two programs out of one folder at a time."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path

from .errors import ConfigurationError

LOCK_FILE = ".lock"


class FolderLock:
    """Held from its making until ``release``, or until the process ends however it ends.

    Args:
        folder: exists; the lock's file lies in it while it is held.
        holder: what another holder would be, for the message.

    Raises:
        ConfigurationError: another holds it.
        OSError: its file cannot be made.
    """

    def __init__(self, folder: Path, *, holder: str = "import") -> None:
        self._file = folder / LOCK_FILE
        self._descriptor: int | None = None
        while self._descriptor is None:
            descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT, 0o600)
            if not _taken(descriptor):
                msg = f"another {holder} is writing to output_dir {folder}. Wait until it ends, or give another folder."
                raise ConfigurationError(msg)
            # One that was just released has taken its file away: a lock on that keeps nobody out.
            if _is_at(descriptor, self._file):
                self._descriptor = descriptor
            else:
                os.close(descriptor)

    @property
    def descriptor(self) -> int | None:
        """Of the lock's file: a process that inherits it holds the lock too. None once it is released."""
        return self._descriptor

    def release(self) -> None:
        """Give it up, without a trace."""
        if self._descriptor is not None:
            with suppress(OSError):
                self._file.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = None

    def __del__(self) -> None:
        if getattr(self, "_descriptor", None) is not None:
            os.close(self._descriptor)


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return False
    except OSError:  # some network shares know no locks
        return True
    return True


def _is_at(descriptor: int, file: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), file.stat())
    except FileNotFoundError:
        return False
