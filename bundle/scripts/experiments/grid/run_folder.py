"""The folder of one run: what lies where in it, how far the run is, and who may write."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ...domain.errors import ConfigurationError
from ...domain.folder_lock import FolderLock
from ...domain.writing import replace_when_written

DONE, FAILED, CUT, NEW = "done", "failed", "cut", "new"

_LEFTOVER = re.compile(r"\.\d+(-\d+)?\..+|\.writing-.+")
"""What a process leaves that is killed while it writes a file or a folder aside."""


class RunFolder:
    """``<output_dir>/runs/<arm>/fold<k>/seed<s>``.

    Args:
        path: the folder; it need not exist.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.config = self.path / "config.yaml"
        self.evaluate_config = self.path / "evaluate_config.yaml"
        self.provenance = self.path / "provenance.json"
        self.cost = self.path / "cost.json"
        self.model = self.path / "model.pt"
        self.checkpoints = self.path / "checkpoints"
        self.metrics = self.path / "metrics.json"
        self.per_subject = self.path / "per_subject.csv"
        self.summary = self.path / "summary.json"
        self.done = self.path / "done.json"
        self.failed = self.path / "failed.json"
        self._attempt = self.path / "attempt.json"

    @property
    def state(self) -> str:
        """How far the run is: done, failed, cut short, or new."""
        if self.done.is_file():
            return DONE
        if self.failed.is_file():
            return FAILED
        return CUT if self.config.is_file() else NEW

    @contextmanager
    def locked(self, patience_s: float) -> Iterator[FolderLock]:
        """Keep every other process out.

        Whoever holds the lock's descriptor holds the folder: a command that inherits it keeps it locked after the death
        of the one that started it.

        Args:
            patience_s: how long the processes of a runner that was killed may take to end.

        Raises:
            ConfigurationError: somebody still holds it after that time.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        give_up = time.monotonic() + patience_s
        while True:
            try:
                lock = FolderLock(self.path, holder="run of the grid")
                break
            except ConfigurationError:
                if time.monotonic() > give_up:
                    raise
                time.sleep(0.2)
        try:
            yield lock
        finally:
            lock.release()

    def start_attempt(self) -> None:
        """Clear away what killed processes left, and start this attempt's clock. Call it under the lock."""
        self.failed.unlink(missing_ok=True)
        clear_leftovers(self.path)
        self._write(self._attempt, {"seconds_before": self.seconds_before(), "started": time.time()})

    def seconds_before(self) -> float:
        """Training time that earlier attempts leave in the checkpoints; what the kill undid does not count."""
        if not self._attempt.is_file():
            return 0.0
        attempt = json.loads(self._attempt.read_text())
        saved = max((file.stat().st_mtime for file in self.checkpoints.glob("*.pt")), default=0.0)
        return attempt["seconds_before"] + max(0.0, saved - attempt["started"])

    def finish(self, *, keep_checkpoints: bool) -> None:
        """Say that the run is done, when all of its files are there."""
        self._write(self.done, {"status": DONE})
        self._attempt.unlink(missing_ok=True)
        if not keep_checkpoints:
            _remove(self.checkpoints)

    def fail(self, reason: str) -> None:
        """Say why the run is given up."""
        self._write(self.failed, {"status": FAILED, "reason": reason})

    def write_json(self, path: Path, content: dict[str, Any]) -> None:
        """Write one of the files above, whole or not at all."""
        self._write(path, content)

    def write_text(self, path: Path, content: str) -> None:
        """Likewise."""
        with replace_when_written(path) as aside:
            aside.write_text(content, encoding="utf-8")

    def _write(self, path: Path, content: dict[str, Any]) -> None:
        self.write_text(path, json.dumps(content, indent=2) + "\n")


def clear_leftovers(folder: Path) -> None:
    """Remove what processes that were killed left half-written in a folder and below it; nobody may write there now."""
    for file in list(folder.rglob(".*")):
        if _LEFTOVER.fullmatch(file.name):
            _remove(file)


def _remove(path: Path) -> None:
    # What a link points to is not the run's.
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
        return
    for each in path.iterdir():
        _remove(each)
    path.rmdir()
