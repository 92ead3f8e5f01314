"""A folder appears whole or not at all: it is filled aside and renamed."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

_PREFIX = ".aside-"
_STARTED = time.time()


@contextmanager
def new_folder(final: Path, *, durable: bool = False) -> Iterator[Path]:
    """Give a folder beside ``final`` to fill; rename it to ``final`` only when the block ends well.

    Args:
        final: must not exist; its parent is made if it is missing.
        durable: on disk before it takes its name, so that a power cut leaves no half of it.

    Yields:
        the folder to fill, for the owner's eyes only.

    Raises:
        FileExistsError: something else took the name meanwhile; nothing is changed.
    """
    parent_is_new = not final.parent.exists()
    final.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(mkdtemp(dir=final.parent, prefix=f"{_PREFIX}{os.getpid()}-"))
    try:
        yield aside
        if durable:
            for path in (*aside.rglob("*"), aside):
                _to_disk(path)
        try:
            aside.rename(final)
        except OSError as error:
            if final.is_dir():
                msg = f"{final.name} exists already"
                raise FileExistsError(msg) from error
            raise
        if durable:
            _to_disk(final.parent)
            if parent_is_new:
                _to_disk(final.parent.parent)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def remove_leftovers(parent: Path) -> None:
    """Remove what processes that were killed have left aside in a folder; those at work keep theirs."""
    if not parent.is_dir():
        return
    for folder in parent.glob(f"{_PREFIX}*"):
        process = folder.name.removeprefix(_PREFIX).partition("-")[0]
        if not process.isdigit() or not _at_work(int(process), folder):
            shutil.rmtree(folder, ignore_errors=True)


def _at_work(process: int, folder: Path) -> bool:
    if process == os.getpid():
        # After a restart in a container, a killed server had this process's number.
        return folder.exists() and folder.stat().st_mtime >= _STARTED
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _to_disk(path: Path) -> None:
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
