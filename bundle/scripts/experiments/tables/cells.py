"""From runs to cells and comparisons: subjects are the unit, seeds and folds are averaged within a subject."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from ...domain.errors import DatasetError
from .arms import Arm
from .convergence import NotConverged
from .declaration import SHARE, Column, Row, Table
from .paired import ALPHA, RANKS, Paired, compare_amounts, compare_shares, holm, mean_interval
from .runs import Grid, Run

MISSING = "missing"
"""No finished run of the arm."""

NO_SUCH_TASK = "no such task"
"""The arm's runs say nothing of this metric."""

VALUE = "value"

Folds = Mapping[int, Mapping[str, float]]
"""By fold and subject, a value averaged over seeds."""


@dataclass(frozen=True)
class Cell:
    """One arm's metric, in the table's unit.

    Args:
        status: ``VALUE``, ``MISSING`` or ``NO_SUCH_TASK``.
        mean: over subjects, each averaged over its runs.
        std_subjects: of these over subjects.
        std_folds: of the folds' means.
        std_seeds: of the seeds' means within a fold, pooled over folds.
        interval: 95 % bootstrap interval over subjects.
        subjects: their number; of a metric that only a run has, 0.
        folds: number of folds.
        seeds: largest number of seeds in a fold.
        runs: number of runs.
        not_converged: a reason for each run that does not count.
    """

    status: str
    mean: float = math.nan
    std_subjects: float = math.nan
    std_folds: float = math.nan
    std_seeds: float = math.nan
    interval: tuple[float, float] = (math.nan, math.nan)
    subjects: int = 0
    folds: int = 0
    seeds: int = 0
    runs: int = 0
    not_converged: tuple[NotConverged, ...] = ()

    @property
    def counts(self) -> bool:
        """Whether the value may be compared."""
        return self.status == VALUE and not self.not_converged


@dataclass(frozen=True)
class Comparison:
    """An arm against the table's reference, or against another arm.

    Args:
        arm: the arm's name.
        against: the other's.
        column: the metric.
        paired: the differences and their test, in the table's unit.
        p_holm: corrected over all tests of the table.
        counts: whether both have converged.
    """

    arm: str
    against: str
    column: Column
    paired: Paired
    p_holm: float
    counts: bool

    @property
    def verdict(self) -> str:
        """In words: ``better``, ``worse``, ``cannot be told``, or that it does not count."""
        if not self.counts:
            return "not counted: not converged"
        # Where the mean and the ranks point to opposite sides a small p favours neither system.
        sides = {np.sign(self.paired.difference), np.sign(self.paired.effects.get(RANKS, self.paired.difference))}
        if not self.p_holm < ALPHA or len(sides) > 1:
            return "cannot be told"
        return "better" if (self.paired.difference > 0) == self.column.higher_is_better else "worse"


@dataclass(frozen=True)
class Filled:
    """A table with its numbers.

    Args:
        table: its declaration.
        arms: its rows in order.
        cells: by the arm's key and the column's.
        comparisons: with the reference, and those that the table declares beside them.
    """

    table: Table
    arms: tuple[Arm, ...]
    cells: Mapping[tuple[str, str], Cell]
    comparisons: tuple[Comparison, ...]

    def best(self, column: Column) -> str | None:
        """The arm with the best mean among those that count; None unless two do."""
        counting = [arm.key for arm in self.arms if self.cells[arm.key, column.key].counts]
        if len(counting) < 2:
            return None
        choose = max if column.higher_is_better else min
        return choose(counting, key=lambda key: self.cells[key, column.key].mean)


def fill(table: Table, arms: Mapping[str, Arm], grid: Grid) -> Filled:
    """Compute a table's cells and comparisons.

    Args:
        table: the declaration.
        arms: every arm that has an overlay.
        grid: the finished runs.
    """
    rows = rows_of(table, arms)
    cells = {
        (arm.key, column.key): _cell(grid.runs.get(arm.key, ()), column) for arm in rows for column in table.columns
    }
    names = {arm.key: arm.name for arm in rows}
    pairs = [
        (arm, against, column, paired)
        for column in table.columns
        for arm, against in table.pairs_of(names)
        if (paired := _compared(arm, against, column, grid)) is not None
    ]
    corrected = holm([paired.p for *_, paired in pairs])
    comparisons = tuple(
        Comparison(
            arm=names[arm],
            against=names[against],
            column=column,
            paired=paired,
            p_holm=p,
            counts=cells[arm, column.key].counts and cells[against, column.key].counts,
        )
        for (arm, against, column, paired), p in zip(pairs, corrected, strict=True)
    )
    return Filled(table, rows, cells, comparisons)


def rows_of(table: Table, arms: Mapping[str, Arm]) -> tuple[Arm, ...]:
    """The rows: arms of the declaration that have an overlay, then others that name the table, the reference last.

    An arm of the paper without an overlay still has a row, under its key, which will say that it is missing.
    """
    named = [key for key, arm in arms.items() if table.word in arm.tables and key.startswith(table.prefix)]
    beyond = [key for key in named if key not in table.arms and key != table.reference]
    declared = [key for key in table.arms if key in named or key not in arms]
    last = [] if table.reference is None else [table.reference]
    return tuple(arms.get(key) or Arm(key, key, (table.word,)) for key in (*declared, *beyond, *last))


def _cell(runs: Sequence[Run], column: Column) -> Cell:
    if not runs:
        return Cell(MISSING)
    return _cell_of_runs(runs, column) if column.value is None else _cell_of_subjects(runs, column)


def _cell_of_subjects(runs: Sequence[Run], column: Column) -> Cell:
    means = {run: np.mean(list(values.values())) for run in runs if (values := by_subject(run, column))}
    if not means:
        return Cell(NO_SUCH_TASK)
    values = np.array(list(subject_means(list(means), column).values()))
    return Cell(
        VALUE,
        mean=float(values.mean()),
        std_subjects=_std(values),
        interval=mean_interval(values),
        subjects=len(values),
        **_spread(means, column),
    )


def _cell_of_runs(runs: Sequence[Run], column: Column) -> Cell:
    entries = {run: run.metrics.get(column.metric) or {} for run in runs}
    means = {run: column.scale * entry["value"] for run, entry in entries.items() if entry.get("value") is not None}
    if not means:
        return Cell(NO_SUCH_TASK)
    interval = (math.nan, math.nan)
    if len(means) == 1 and (known := entries[next(iter(means))].get("ci95")):
        interval = (column.scale * known[0], column.scale * known[1])
    folds = defaultdict(list)
    for run, value in means.items():
        folds[run.fold].append(value)
    mean = float(np.mean([np.mean(values) for values in folds.values()]))
    return Cell(VALUE, mean=mean, interval=interval, **_spread(means, column))


def _spread(means: Mapping[Run, float], column: Column) -> dict:
    """What a cell says about its runs, from the mean of each."""
    folds = defaultdict(list)
    for run, mean in means.items():
        folds[run.fold].append(mean)
    within = [np.var(values, ddof=1) for values in folds.values() if len(values) > 1]
    return {
        "std_folds": _std(np.array([np.mean(values) for values in folds.values()])),
        "std_seeds": float(np.sqrt(np.mean(within))) if within else math.nan,
        "folds": len(folds),
        "seeds": max(len(values) for values in folds.values()),
        "runs": len(means),
        "not_converged": tuple(reason for run in means if (reason := run.not_converged(column.validation))),
    }


def _compared(arm: str, against: str, column: Column, grid: Grid) -> Paired | None:
    """The paired comparison over the folds and subjects that both have; None where there is nothing to compare."""
    if column.test is None:
        return None
    ours, theirs = (_by_fold(grid.runs.get(key, ()), column) for key in (arm, against))
    common = ours.keys() & theirs.keys()
    # Another fold is another training set: only common folds are compared.
    left, right = (_over_folds({fold: side[fold] for fold in common}) for side in (ours, theirs))
    subjects = sorted(left.keys() & right.keys())
    if not subjects:
        return None
    differences = np.array([left[subject] - right[subject] for subject in subjects])
    if column.test == SHARE:
        return _scaled(compare_shares(differences / column.scale), column.scale)
    return compare_amounts(differences)


def _scaled(paired: Paired, scale: float) -> Paired:
    low, high = paired.interval
    return Paired(
        paired.n, scale * paired.difference, (scale * low, scale * high), paired.test, paired.p, paired.effects
    )


def by_subject(run: Run, column: Column) -> dict[str, float]:
    """A run's value for each subject that has one, in the table's unit; several rows of a subject are averaged.

    Raises:
        DatasetError: a row holds what is no number.
    """
    values = defaultdict(list)
    for row in run.rows:
        value = _value(run, row, column)
        if value is not None:
            values[row["case"]].append(column.scale * value)
    return {case: fmean(found) for case, found in values.items()}


def _value(run: Run, row: Row, column: Column) -> float | None:
    try:
        value = column.value(row)
    except ValueError as error:
        raise _no_number(run, row, column) from error
    # One NaN would make p of a whole table NaN; what is not known is empty.
    if value is not None and not math.isfinite(value):
        raise _no_number(run, row, column)
    return value


def _no_number(run: Run, row: Row, column: Column) -> DatasetError:
    where = f"{run.folder / 'per_subject.csv'}: {row['case']}"
    return DatasetError(f"{where} has no number for {column.heading}. Remove the run's folder and run it again")


def subject_means(runs: Iterable[Run], column: Column) -> dict[str, float]:
    """A system's value for each subject that has one: over its seeds, then over the folds that scored the subject."""
    return _over_folds(_by_fold(runs, column))


def _by_fold(runs: Iterable[Run], column: Column) -> Folds:
    seeds = defaultdict(lambda: defaultdict(list))
    for run in runs:
        for case, value in by_subject(run, column).items():
            seeds[run.fold][case].append(value)
    return {fold: {case: fmean(values) for case, values in subjects.items()} for fold, subjects in seeds.items()}


def _over_folds(folds: Folds) -> dict[str, float]:
    """The mean of a subject over the folds that scored it: all of them on a test split, one in cross-validation."""
    values = defaultdict(list)
    for subjects in folds.values():
        for case, value in subjects.items():
            values[case].append(value)
    return {case: fmean(found) for case, found in values.items()}


def _std(values: np.ndarray) -> float:
    return float(values.std(ddof=1)) if len(values) > 1 else math.nan
