"""The dry run: the plan as a table, with what each arm takes, from finished runs or from a miniature of one."""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from tqdm import tqdm

from ...domain.errors import RunError
from ...studies.subjects_table import SUBJECTS_FILE
from .arms import Arm
from .configs import compose
from .launcher import Ended
from .parts import parts_of, spread
from .plan import Dataset, Run
from .run_folder import DONE, RunFolder
from .task import Task, last_lines, launcher_for, seconds_per_study

_TRAINING_SUBJECTS, _OTHER_SUBJECTS = 4, 1


@dataclass(frozen=True)
class Estimate:
    """What one run of an arm takes.

    Args:
        seconds: training and evaluating; None where it could not be told.
        peak_rss_mb: largest resident memory of a process, MiB.
        basis: where the numbers are from, or why there are none.
    """

    seconds: float | None
    peak_rss_mb: float | None
    basis: str


def print_plan(runs: Sequence[Run], *, cpus: int | None) -> None:
    """Print what would be run, and how long and how large it would be. Writes nothing to the output folder.

    Args:
        runs: of the plan.
        cpus: cores to use; all by default.
    """
    by_arm: dict[Arm, list[Run]] = {}
    for run in runs:
        by_arm.setdefault(run.arm, []).append(run)
    with TemporaryDirectory(prefix="grid-dry-run-") as place:
        bar = tqdm(by_arm.items(), desc="dry run", unit="arm")
        estimates = {arm: from_finished(runs) or measured(runs[0], Path(place)) for arm, runs in bar}
    print(plan_table(by_arm, estimates, slots=_slots(runs[0], cpus)))


def from_finished(runs: Sequence[Run]) -> Estimate | None:
    """The mean time and the largest memory of an arm's runs that are done; None where none is."""
    files = [run.folder.provenance for run in runs if run.folder.state == DONE]
    if not files:
        return None
    told = [json.loads(file.read_text()) for file in files]
    seconds = sum(each["seconds_training"] + each["seconds_evaluating"] for each in told) / len(told)
    return Estimate(seconds, max(each["peak_rss_mb"] for each in told), f"{len(told)} finished")


def measured(run: Run, place: Path) -> Estimate:
    """Train an arm on four subjects for an epoch and evaluate one study, at the run's image size, and scale it up.

    The time of an epoch with a validation is that of a resumed second epoch less that of starting up; the time without
    one is that of two more with one validation, less both. They scale with the number of subjects trained on, and what
    the evaluation says that a study took with that of studies scored. Rough, as the slices of a subject vary.

    Args:
        run: of the arm.
        place: folder for what it writes; the slices of the subjects stay there for the next arm.
    """
    if not run.arm.estimated:
        return Estimate(None, None, "not measured: no miniature of it says; see its first finished run")
    try:
        took = _time_miniature(run, place)
    except RunError as error:
        return Estimate(None, None, f"not measured: {error}")
    parts = run.parts
    config = compose(run.arm, run.arm.train, run.training)
    epochs = int(config.get("max_epochs", 1))
    validations = math.ceil(epochs / int(config.get("val_interval", 1)))
    learning = epochs * took.epoch + validations * took.validation
    training = took.setting_up + learning * len(parts.training) / _TRAINING_SUBJECTS
    evaluating = took.evaluation + took.study * (len(parts.scored) - _OTHER_SUBJECTS)
    return Estimate(training + evaluating, took.peak_rss_mb, "measured")


def plan_table(by_arm: dict[Arm, list[Run]], estimates: dict[Arm, Estimate], *, slots: int) -> str:
    """The plan as text: an arm a line, and the sums.

    Args:
        by_arm: the runs.
        estimates: of each arm.
        slots: runs that go on side by side.
    """
    lines = [f"{'arm':<26}{'runs':>6}{'done':>6}{'a run':>10}{'what is left':>14}{'memory':>10}  estimate from"]
    total, largest, left_in_all, unknown = 0.0, 0.0, 0, 0
    for arm, runs in by_arm.items():
        estimate = estimates[arm]
        done = sum(run.folder.state == DONE for run in runs)
        left = len(runs) - done
        all_of_it = None if estimate.seconds is None else left * estimate.seconds
        memory = "" if estimate.peak_rss_mb is None else f"{estimate.peak_rss_mb:.0f} MiB"
        lines.append(
            f"{arm.key:<26}{len(runs):>6}{done:>6}{_duration(estimate.seconds):>10}{_duration(all_of_it):>14}"
            f"{memory:>10}  {estimate.basis}"
        )
        left_in_all += left
        total += all_of_it or 0.0
        unknown += left if all_of_it is None else 0
        largest = max(largest, estimate.peak_rss_mb or 0.0) if left else largest
    count = sum(map(len, by_arm.values()))
    besides = f", besides {unknown} of unknown time" if unknown else ""
    return "\n".join(
        [
            *lines,
            f"{count} runs, {count - left_in_all} of them done. What is left takes {_duration(total)} of one run after "
            f"the other, about {_duration(total / slots)} with {slots} side by side, and up to "
            f"{slots * largest / 1024:.1f} GiB of memory{besides}. Rough: few subjects, on this machine as busy as "
            "it is now.",
        ]
    )


@dataclass(frozen=True)
class _Took:
    """What a miniature took: seconds of each part, ``study`` of one in the evaluation; memory, MiB."""

    epoch: float
    validation: float
    setting_up: float
    evaluation: float
    study: float
    peak_rss_mb: float


def _time_miniature(run: Run, place: Path) -> _Took:
    dataset = _miniature(run, place / (run.arm.dataset or "liver"))
    _lay_weights_ready(run, place)
    ended: list[Ended] = []

    def time(epochs: int, what: str, val_interval: int = 1) -> tuple[float, RunFolder]:
        timed = {"max_epochs": epochs, "val_interval": val_interval}
        overrides = run.settings.arm_overrides.get(run.arm.key, {}) | timed
        settings = replace(run.settings, output_dir=place, arm_overrides={run.arm.key: overrides})
        task = replace(run, dataset=dataset, settings=settings).task()
        ended.append(_run(task, what))
        return ended[-1].seconds, RunFolder(task.folder)

    time(1, "training")
    second, _ = time(2, "training")
    nothing, _ = time(2, "training")
    two_more, _ = time(4, "training", val_interval=2)
    evaluation, folder = time(4, "evaluating")
    with_validation = max(0.0, second - nothing)
    epoch = min(with_validation, max(0.0, two_more - nothing - with_validation))
    return _Took(
        epoch=epoch,
        validation=with_validation - epoch,
        setting_up=nothing,
        evaluation=evaluation,
        study=seconds_per_study(folder, ended[-1], studies=_OTHER_SUBJECTS),
        peak_rss_mb=max(each.peak_rss_mb for each in ended),
    )


def _lay_weights_ready(run: Run, place: Path) -> None:
    """The weights that the run starts from: those of that arm's miniature, or of its run if that is done."""
    if run.after is None:
        return
    needed, finished = (RunFolder(folder / "runs" / run.after).model for folder in (place, run.settings.output_dir))
    if not needed.exists() and finished.exists():
        needed.parent.mkdir(parents=True, exist_ok=True)
        needed.symlink_to(finished)


def _run(task: Task, what: str) -> Ended:
    folder = RunFolder(task.folder)
    folder.path.mkdir(parents=True, exist_ok=True)
    log = folder.path / f"{what}.log"
    ended = launcher_for(task.root, task.threads, task.fork).run("monai.bundle", getattr(task, what), log)
    if ended.code:
        said = (last_lines(log) or ["it said nothing"])[-1]
        msg = f"{what} ended with code {ended.code}: {said}"
        raise RunError(msg)
    return ended


def _miniature(run: Run, folder: Path) -> Dataset:
    """The run's dataset with a table of a few subjects: the files are links to it."""
    subjects = {subject.case: subject for subject in run.dataset.subjects}
    parts = run.parts
    few = [
        *spread([subjects[case] for case in parts.training], _TRAINING_SUBJECTS),
        *spread([subjects[case] for case in parts.validation], _OTHER_SUBJECTS),
        *(spread([subjects[case] for case in parts.scored], _OTHER_SUBJECTS) if parts.split == "test" else []),
    ]
    if not folder.exists():
        folder.mkdir()
        for entry in run.dataset.path.iterdir():
            if entry.name != SUBJECTS_FILE:
                (folder / entry.name).symlink_to(entry)
        names = {subject.case for subject in few}
        with (
            (run.dataset.path / SUBJECTS_FILE).open(newline="", encoding="utf-8-sig") as full,
            (folder / SUBJECTS_FILE).open("w", newline="") as table,
        ):
            rows = csv.DictReader(full)
            writer = csv.DictWriter(table, rows.fieldnames)
            writer.writeheader()
            writer.writerows(row for row in rows if row["case"].strip() in names)
    return Dataset(folder, tuple(few), {run.fold: parts_of(few, run.fold)})


def _slots(run: Run, cpus: int | None) -> int:
    cores = len(os.sched_getaffinity(0)) if cpus is None else cpus
    slots = cores // max(1, run.settings.cpus_per_task)
    if run.settings.gpus_per_task:
        import torch

        slots = min(slots, int(torch.cuda.device_count() / run.settings.gpus_per_task))
    return max(1, slots)


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "?"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
