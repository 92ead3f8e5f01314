"""Reads the run folders of a grid: ``runs/<arm>/fold<k>/seed<s>``."""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ...domain.errors import DatasetError
from ...domain.phases import PHASES
from .convergence import SCORE, NotConverged, why_not_converged
from .declaration import Row

RUNS_FOLDER = "runs"
SPLITS = ("test", "fold")
"""What a run is scored on: the dataset's test split, or the fold that it did not learn from."""


@dataclass(frozen=True, eq=False)
class Run:
    """One finished run.

    Args:
        arm: the overlay's name.
        fold: that was held out of the training.
        seed: of the training.
        folder: where it lies.
        rows: of ``per_subject.csv``, as text.
        metrics: of ``metrics.json``.
        log: rows of ``training_log.csv``; empty without one.
        cost: of ``cost.json``; empty where it was not measured.
        provenance: of ``provenance.json``.
        by_epochs: whether its training has epochs, over which a score can level off.
    """

    arm: str
    fold: int
    seed: int
    folder: Path
    rows: tuple[Row, ...]
    metrics: Mapping[str, Mapping[str, Any]]
    log: tuple[Row, ...]
    cost: Mapping[str, Any]
    provenance: Mapping[str, Any]
    by_epochs: bool = True

    @property
    def label(self) -> str:
        """``unet/fold0/seed1``."""
        return f"{self.arm}/fold{self.fold}/seed{self.seed}"

    @property
    def split(self) -> str:
        """One of ``SPLITS``."""
        return self.provenance["split"]

    @property
    def hardware(self) -> str:
        """The machine in words."""
        machine = self.provenance.get("hardware") or "not recorded"
        if not isinstance(machine, Mapping):
            return str(machine)
        gpus = machine.get("gpus") or []
        return ", ".join([str(machine.get("processor", "?")), f"{machine.get('cores', '?')} cores", *map(str, gpus)])

    def not_converged(self, score: str = SCORE) -> NotConverged | None:
        """Why what a validation score stands for does not count, or None.

        Args:
            score: column of ``training_log.csv``.
        """
        return why_not_converged(self.log, score) if self.by_epochs else None


@dataclass(frozen=True, eq=False)
class Grid:
    """What was found.

    Args:
        runs: the finished runs, by arm, in order of fold and seed.
        left_out: a sentence for each folder that could not be used.
    """

    runs: Mapping[str, tuple[Run, ...]]
    left_out: tuple[str, ...] = field(default_factory=tuple)

    def of(self, arms: Iterable[str]) -> list[Run]:
        """The runs of some arms."""
        return [run for arm in arms for run in self.runs.get(arm, ())]


def read_grid(grid_dir: str | Path, *, fitted_at_once: Collection[str] = ()) -> Grid:
    """Read every run of a grid's output folder.

    A folder that is unfinished, failed or damaged is left out and named, as hundreds of others may be whole.

    Args:
        grid_dir: that the grid wrote.
        fitted_at_once: arms whose training has no epochs.

    Raises:
        DatasetError: no such folder, or not one finished run.
    """
    root = Path(grid_dir)
    if not (root / RUNS_FOLDER).is_dir():
        msg = f"{root}: has no folder {RUNS_FOLDER}. Give --grid_dir the output_dir of the grid"
        raise DatasetError(msg)
    runs: dict[str, list[Run]] = {}
    left_out = []
    for folder in sorted((root / RUNS_FOLDER).glob("*/fold*/seed*")):
        try:
            run = replace(read_run(folder), by_epochs=folder.parent.parent.name not in fitted_at_once)
        except DatasetError as error:
            left_out.append(str(error))
        else:
            runs.setdefault(run.arm, []).append(run)
    if not runs:
        reasons = "".join(f"\n{sentence}" for sentence in left_out[:5])
        msg = f"{root}: no finished run among {len(left_out)} run folder(s). Run the grid first{reasons}"
        raise DatasetError(msg)
    in_order = {arm: tuple(sorted(found, key=lambda run: (run.fold, run.seed))) for arm, found in runs.items()}
    return Grid(in_order, tuple(left_out))


def read_run(folder: Path) -> Run:
    """Read one run folder.

    Raises:
        DatasetError: it is unfinished, failed, or holds what cannot be read.
    """
    arm, fold, seed = _named(folder)
    label = f"{arm}/fold{fold}/seed{seed}"
    if (folder / "failed.json").exists() and not (folder / "done.json").exists():
        lines = str(_read_json(folder / "failed.json").get("reason") or "no reason given").splitlines()
        # What it was, and the last line of its log, which says why.
        msg = f"{label}: failed ({' '.join(dict.fromkeys((lines[0], lines[-1])))})"
        raise DatasetError(msg)
    if not (folder / "done.json").exists():
        msg = f"{label}: not finished. Start the grid again, it goes on"
        raise DatasetError(msg)
    provenance = _read_json(folder / "provenance.json")
    if provenance.get("split") not in SPLITS:
        msg = f"{folder / 'provenance.json'}: split is {provenance.get('split')!r}, not one of {', '.join(SPLITS)}"
        raise DatasetError(msg)
    rows = read_table(folder / "per_subject.csv", ("case",))
    if not rows:
        msg = f"{folder / 'per_subject.csv'}: has no subject. Remove the run's folder and run it again"
        raise DatasetError(msg)
    log = folder / "training_log.csv"
    return Run(
        arm=arm,
        fold=fold,
        seed=seed,
        folder=folder,
        rows=rows,
        metrics=_read_json(folder / "metrics.json"),
        log=read_table(log, ("epoch",)) if log.exists() else (),
        cost=_read_json(folder / "cost.json") if (folder / "cost.json").exists() else {},
        provenance=provenance,
    )


def require_one_dataset(runs: Iterable[Run]) -> None:
    """Refuse to compare runs that were not scored on the same studies.

    All must be scored on the same split; a study must have the same truth in every run; runs on the test split, and
    those of one fold, must have scored the same studies; and two held-out folds share none.

    Raises:
        DatasetError: naming two runs that differ, and how.
    """
    runs = list(runs)
    if not runs:
        return
    first = runs[0]
    truths: dict[str, tuple[Run, Row]] = {}
    studies: dict[int, tuple[Run, set[str]]] = {}
    for run in runs:
        if run.split != first.split:
            _refuse(first, run, f"one is scored on the {first.split}, the other on the {run.split}")
        for row in run.rows:
            key = f"{row['case']} {row.get('slice_index', '')}"
            other, known_row = truths.setdefault(key, (run, row))
            if not _same_truth(known_row, row):
                _refuse(other, run, f"study {row['case']} has another truth in each, so the datasets differ")
        cases = {row["case"] for row in run.rows}
        part = run.fold if run.split == "fold" else 0
        other, known = studies.setdefault(part, (run, cases))
        if cases != known:
            _refuse(other, run, f"they scored different studies, such as {sorted(cases ^ known)[0]}")
    _require_apart(studies)


def _require_apart(studies: Mapping[int, tuple[Run, set[str]]]) -> None:
    owner: dict[str, Run] = {}
    for run, cases in studies.values():
        for case in cases:
            if case in owner:
                _refuse(owner[case], run, f"study {case} is held out in both folds")
            owner[case] = run


def _refuse(one: Run, other: Run, why: str) -> None:
    msg = (
        f"{one.label} and {other.label} cannot stand in one table: {why}. Keep the runs of one dataset in one grid_dir"
    )
    raise DatasetError(msg)


def _same_truth(one: Row, other: Row) -> bool:
    """Whether two rows say the same of a study's truth: its class, its number of lesions and its curve."""
    for name in ("true_class", "true_lesions"):
        if one.get(name, "") != other.get(name, ""):
            return False
    for phase in PHASES:
        left, right = (row.get(f"true_{phase}") or "nan" for row in (one, other))
        if left != right and not math.isclose(float(left), float(right), rel_tol=1e-3, abs_tol=1e-4):
            return False
    return True


def _named(folder: Path) -> tuple[str, int, int]:
    fold, seed = re.fullmatch(r"fold(\d+)", folder.parent.name), re.fullmatch(r"seed(\d+)", folder.name)
    if fold is None or seed is None:
        msg = f"{folder}: is not named runs/<arm>/fold<k>/seed<s>. Remove it from the grid's folder"
        raise DatasetError(msg)
    return folder.parent.parent.name, int(fold[1]), int(seed[1])


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _damaged(path, error) from error
    if not isinstance(content, dict):
        raise _damaged(path, "not an object")
    return content


def read_table(path: Path, needed: tuple[str, ...]) -> tuple[Row, ...]:
    """The rows of a CSV file, as text.

    Raises:
        DatasetError: it cannot be read, was cut short, or lacks a column that is needed.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file, strict=True)
            rows = tuple(reader)
            columns = reader.fieldnames or ()
    except (OSError, ValueError, csv.Error) as error:
        raise _damaged(path, error) from error
    missing = [name for name in needed if name not in columns]
    if missing:
        raise _damaged(path, f"no column {', '.join(missing)}")
    # A file cut in the middle of a line has a row that is too short, which DictReader fills with None.
    if any(value is None for row in rows for value in row.values()) or any(None in row for row in rows):
        raise _damaged(path, "a line has not as many cells as there are columns")
    return rows


def _damaged(path: Path, error: object) -> DatasetError:
    return DatasetError(f"{path}: cannot be read ({error}). Remove the run's folder and run it again")
