"""Write a file aside and rename it, so that a crash never leaves half of one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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
    aside = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        yield aside
        # On disk before it takes the name, or a power cut could leave an empty file under it.
        with aside.open("rb") as written:
            os.fsync(written.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
