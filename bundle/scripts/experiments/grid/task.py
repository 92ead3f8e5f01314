"""One run of the grid, as a worker carries it out: train, evaluate, cost, provenance, done."""

from __future__ import annotations

import csv
import errno
import json
import shutil
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ...domain.errors import ConfigurationError
from .launcher import Ended, Launcher
from .provenance import provenance
from .run_folder import DONE, FAILED, RunFolder

REFUSED, DISK_FULL = "refused", "disk full"

_LAST_LINES = 6

_SIGNS_OF_A_FULL_DISK = (
    "No space left on device",
    "Disk quota exceeded",
    # What torch.save says of one; by the time it is read, the half file is gone and there is room again.
    "inline_container.cc",
    "PytorchStreamWriter failed",
)


@dataclass(frozen=True)
class Task:
    """All that a worker needs to know of a run; plain values, prepared by the runner.

    Args:
        arm: name.
        fold: number of the held-out fold.
        seed: of everything random.
        folder: of the run.
        root: of the repository, the working directory of the commands.
        commit: of the repository when the grid was started; None where there is no Git.
        training: arguments of ``python -m monai.bundle``.
        evaluating: likewise.
        config: the complete config of the training, as YAML.
        evaluate_config: likewise of the evaluation.
        split: which studies are scored: ``test``, or ``fold``.
        scored: their names.
        threads: of a command.
        fork: whether commands are forked; see ``launcher``.
        keep_checkpoints: whether a finished run keeps them.
        min_free_mb: no run starts with less room on the disk.
        patience_s: how long processes of a killed runner may take to end.
    """

    arm: str
    fold: int
    seed: int
    folder: str
    root: str
    commit: str | None
    training: Sequence[str]
    evaluating: Sequence[str]
    config: str
    evaluate_config: str
    split: str
    scored: Sequence[str]
    threads: int
    fork: bool
    keep_checkpoints: bool
    min_free_mb: float
    patience_s: float = 60.0


@dataclass(frozen=True)
class Outcome:
    """How an attempt at a run ended.

    Args:
        status: done, failed, refused (trying again would fail again), or disk full.
        reason: of all but done.
    """

    status: str
    reason: str = ""


class _CommandError(Exception):
    def __init__(self, status: str, reason: str) -> None:
        super().__init__(reason)
        self.outcome = Outcome(status, reason)


_launchers: dict[tuple[str, int, bool], Launcher] = {}
"""One for each way of starting commands, kept for the next task of this worker."""


def carry_out(task: Task) -> Outcome:
    """Do what is left of a run. Never raises for a run that fails: the others go on."""
    folder = RunFolder(task.folder)
    try:
        _require_room(task, folder)
        with folder.locked(task.patience_s) as lock:
            if folder.state != DONE:
                _train_and_evaluate(task, folder, lock.descriptor)
    except _CommandError as error:
        return error.outcome
    except ConfigurationError as error:
        return Outcome(FAILED, str(error))
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        return Outcome(DISK_FULL if full else FAILED, f"{folder.path}: {error}")
    return Outcome(DONE)


def launcher_for(root: str, threads: int, fork: bool) -> Launcher:
    """The worker's launcher, started when it is first asked for."""
    key = (root, threads, fork)
    return _launchers.setdefault(key, Launcher(root, threads=threads, fork=fork))


def _train_and_evaluate(task: Task, folder: RunFolder, lock: int | None) -> None:
    launcher = launcher_for(task.root, task.threads, task.fork)
    folder.start_attempt()
    folder.write_text(folder.config, task.config)
    folder.write_text(folder.evaluate_config, task.evaluate_config)
    before, started = folder.seconds_before(), _now()

    def run(name: str, module: str, arguments: Sequence[str]) -> Ended:
        log = folder.path / f"{name}.log"
        ended = launcher.run(module, arguments, log, lock=lock)
        if ended.code:
            raise _failure(task, name, ended, log)
        return ended

    trained = run("train", "monai.bundle", task.training)
    evaluated = run("evaluate", "monai.bundle", task.evaluating)
    counted = run("cost", "scripts.experiments.grid.cost", [str(folder.config), str(folder.cost)])
    _require_all_scored(task, folder)
    pace = seconds_per_study(folder, evaluated, studies=len(task.scored))
    folder.write_json(folder.cost, json.loads(folder.cost.read_text()) | {"seconds_per_study": pace})
    folder.write_json(
        folder.provenance,
        {
            "arm": task.arm,
            "fold": task.fold,
            "seed": task.seed,
            **provenance(Path(task.root), task.commit),
            "train_command": _command(task, task.training),
            "evaluate_command": _command(task, task.evaluating),
            "started": started,
            "finished": _now(),
            "seconds_training": round(before + trained.seconds, 2),
            "seconds_evaluating": round(evaluated.seconds, 2),
            "peak_rss_mb": round(max(each.peak_rss_mb for each in (trained, evaluated, counted)), 1),
            "threads": task.threads,
            "split": task.split,
        },
    )
    folder.finish(keep_checkpoints=task.keep_checkpoints)


def _require_room(task: Task, folder: RunFolder) -> None:
    free = _free_mb(folder)
    if free < task.min_free_mb:
        reason = f"{folder.path}: its disk has {free:.0f} MB left, a run wants min_free_mb = {task.min_free_mb:g}"
        raise _CommandError(DISK_FULL, reason)


def _failure(task: Task, name: str, ended: Ended, log: Path) -> _CommandError:
    """What the end of a command means, from its code and the last lines of its log."""
    lines = last_lines(log)
    full = any(sign in line for line in lines for sign in _SIGNS_OF_A_FULL_DISK)
    if full or _free_mb(RunFolder(task.folder)) < task.min_free_mb:
        return _CommandError(DISK_FULL, f"{log}: {name} ended with code {ended.code} and no space left on the device")
    if ended.code < 0:
        how = f"was killed by {signal.Signals(-ended.code).name}"
        if ended.code == -signal.SIGKILL:
            how += f", as the system does when memory runs out (it held {ended.peak_rss_mb:.0f} MB)"
    else:
        how = f"ended with code {ended.code}"
    refused = bool(lines) and lines[-1].startswith("error: ")
    said = "\n".join(lines[-1:] if refused else lines)
    return _CommandError(REFUSED if refused else FAILED, f"{name} {how}; the last of {log}:\n{said}")


def last_lines(log: Path) -> list[str]:
    """The last lines of a log that are not empty."""
    if not log.is_file():
        return []
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 20_000))
        text = file.read().decode(errors="replace")
    return [line.rstrip() for line in text.replace("\r", "\n").splitlines() if line.strip()][-_LAST_LINES:]


def _require_all_scored(task: Task, folder: RunFolder) -> None:
    """The table of subjects must hold those of the fold, no more and no less, or arms would be compared on others."""
    for file in (folder.metrics, folder.per_subject):
        if not file.is_file():
            raise _CommandError(FAILED, f"training and evaluating ended well, but left no {file.name}")
    with folder.per_subject.open(newline="") as table:
        scored = {row.get("case", "") for row in csv.DictReader(table)}
    wrong = scored.symmetric_difference(task.scored)
    if wrong:
        reason = f"{folder.per_subject}: is not about the {len(task.scored)} subjects of this part; differs in "
        raise _CommandError(FAILED, reason + ", ".join(sorted(wrong)[:5]))


def seconds_per_study(folder: RunFolder, evaluated: Ended, *, studies: int) -> float:
    """Seconds that an evaluation took for a study, from files to results; its start included if it does not say.

    Args:
        folder: that it wrote to.
        evaluated: how it ended.
        studies: how many it scored.
    """
    if folder.summary.is_file():
        return json.loads(folder.summary.read_text())["seconds_per_study"]
    return round(evaluated.seconds / studies, 2)


def _command(task: Task, arguments: Sequence[str]) -> str:
    """As one would type it in the repository."""
    quoted = (f'"{each}"' if any(c in each for c in " [{'") else each for each in arguments)
    return " ".join(("python -m monai.bundle", *quoted)).replace(f"{task.root}/", "")


def _free_mb(folder: RunFolder) -> float:
    place = next(each for each in (folder.path, *folder.path.parents) if each.exists())
    return shutil.disk_usage(place).free / 1e6


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
