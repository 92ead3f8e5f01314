"""Write a file or a folder aside and rename it, so that a crash never leaves half of one."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from .errors import ConfigurationError


@contextmanager
def replace_when_written(path: Path) -> Iterator[Path]:
    """Give a name beside ``path`` to write to; rename it to ``path`` only when the block ends well.

    The name keeps the file's ending, because nibabel and numpy choose the format by it.

    Args:
        path: the final file; its folder is made if it is missing.

    Yields:
        the file to write.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Two processes, or two threads of one, may write the same file.
    aside = path.with_name(f".{os.getpid()}-{threading.get_ident()}.{path.name}")
    try:
        yield aside
        # On disk before it takes the name, or a power cut could leave an empty file under it.
        with aside.open("rb") as written:
            os.fsync(written.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def require_empty(folder: Path) -> None:
    """Refuse to write where something is.

    Raises:
        ConfigurationError: neither new nor an empty folder.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        msg = f"output_dir {folder} is not an empty folder. Give a new one, or remove it first."
        raise ConfigurationError(msg)


@contextmanager
def folder_when_written(folder: Path) -> Iterator[Path]:
    """Give an empty folder beside ``folder`` to fill; it takes the name only when the block ends well.

    Args:
        folder: new or empty; its parents are made where they are missing.

    Yields:
        the folder to fill.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as place:
        aside = Path(place, "new")
        aside.mkdir()
        yield aside
        if folder.exists():
            folder.rmdir()
        aside.rename(folder)
