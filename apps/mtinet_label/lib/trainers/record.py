"""What is known of the latest training, in one small file that survives every kind of end."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

import psutil

from lib.errors import BusyError
from scripts.domain.writing import replace_when_written

AT_WORK = ("preparing", "training", "comparing")
ENDED = ("promoted", "kept", "failed", "stopped", "interrupted")

_RECORD_FILE, _LOCK_FILE = "record.json", ".lock"
_LOCK_PATIENCE_S = 2.0


@dataclass(frozen=True)
class Process:
    """A process that can be told from a later one with the same number.

    Args:
        pid: its number.
        started: when, seconds since 1970.
    """

    pid: int
    started: float

    @classmethod
    def of(cls, pid: int) -> Process:
        """The process that has this number now."""
        return cls(pid, psutil.Process(pid).create_time())

    @property
    def alive(self) -> bool:
        """Whether it still runs; a zombie does not."""
        try:
            process = psutil.Process(self.pid)
            return process.create_time() == self.started and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    def kill_group(self) -> None:
        """End it and what it started, at once; it leads a process group of its own."""
        if self.alive:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)


@dataclass(frozen=True)
class Record:
    """A training: how far it is, or how it ended.

    Args:
        state: ``none`` before the first; one of ``AT_WORK``; ``promoted`` or ``kept`` (the old weights) after a
            comparison; ``failed``; ``stopped`` on request; ``interrupted`` by the end of the server.
        run: names the training; of letters and digits.
        started_at: UTC, ISO 8601.
        ended_at: likewise, ``""`` while it runs.
        message: in words, for the reader.
        epoch: of ``epochs``.
        epochs: in all.
        iteration: of ``iterations``.
        iterations: in all.
        loss: now.
        eta_s: until the end of the training proper; None before its first step.
        cases: how many studies it learns from and is compared on, by kind.
        left_out: why a labelled study is not used, by case.
        before: what the served weights reached on the held-out studies.
        after: what the new ones did.
        server: that started it.
        worker: that trains now.
    """

    state: str = "none"
    run: str = ""
    started_at: str = ""
    ended_at: str = ""
    message: str = ""
    epoch: int = 0
    epochs: int = 0
    iteration: int = 0
    iterations: int = 0
    loss: float | None = None
    eta_s: float | None = None
    cases: Mapping[str, int] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
    before: Mapping[str, Any] | None = None
    after: Mapping[str, Any] | None = None
    server: Process | None = None
    worker: Process | None = None

    @property
    def at_work(self) -> bool:
        """Whether it has not ended."""
        return self.state in AT_WORK

    def shown(self) -> dict[str, Any]:
        """For a client: without the processes."""
        return {key: value for key, value in asdict(self).items() if key not in ("server", "worker")}


class TrainingRecord:
    """The record on disk, and the lock that the process of a training holds as long as it lives.

    Args:
        folder: of both; made by the first training.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)

    def read(self) -> Record:
        """The latest training. One that ended without a word is written down as ended, and what it left is ended."""
        record = self._stored()
        if not record.at_work or self._locked():
            return record
        # It may have written its end between the two looks.
        record = self._stored()
        return self._settled(record) if record.at_work else record

    def write(self, record: Record) -> Record:
        """Replace the record, whole."""
        with replace_when_written(self.folder / _RECORD_FILE) as aside:
            aside.write_text(json.dumps(asdict(record), indent=1) + "\n")
        return record

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the lock for the time of a training.

        Raises:
            BusyError: another training holds it.
        """
        with self._open_lock() as lock:
            give_up = time.monotonic() + _LOCK_PATIENCE_S
            while not _take(lock, fcntl.LOCK_EX):
                # Whoever looks at the record holds the lock for a moment, too.
                if time.monotonic() > give_up:
                    msg = "a training is running already; wait for its end, or stop it"
                    raise BusyError(msg)
                time.sleep(0.05)
            yield

    def _settled(self, record: Record) -> Record:
        if record.worker is not None:
            record.worker.kill_group()
        lived_on = record.server is not None and record.server.alive
        message = "stopped before its end" if lived_on else "interrupted: the server ended in the middle of it"
        # Both sides are measured: it may have put the new weights in place, and not come to write that down.
        decided = record.after is not None
        weights = "the list of weights says which are served" if decided else "the weights are as they were"
        settled = replace(
            record,
            state="stopped" if lived_on else "interrupted",
            message=f"{message}; {weights}, and a new training can be started",
            ended_at=now(),
            eta_s=None,
        )
        # On a full disk it is settled again at the next look.
        with suppress(OSError):
            self.write(settled)
        return settled

    def _stored(self) -> Record:
        try:
            document = json.loads((self.folder / _RECORD_FILE).read_text())
            processes = {key: document.pop(key, None) for key in ("server", "worker")}
            return Record(**document, **{key: Process(**each) if each else None for key, each in processes.items()})
        except (FileNotFoundError, ValueError, TypeError):
            return Record()

    def _locked(self) -> bool:
        if not (self.folder / _LOCK_FILE).is_file():
            return False
        with self._open_lock() as lock:
            return not _take(lock, fcntl.LOCK_SH)

    def _open_lock(self) -> TextIO:
        self.folder.mkdir(parents=True, exist_ok=True)
        return (self.folder / _LOCK_FILE).open("a")


def now() -> str:
    """UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _take(lock: TextIO, kind: int) -> bool:
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
