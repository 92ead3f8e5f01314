"""The difference that a number of subjects and seeds can detect, to be written down before the runs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from scipy.stats import norm
from statsmodels.stats.power import TTestPower

from ...domain.entry import entry_point
from ...domain.errors import ConfigurationError, DatasetError
from ...domain.writing import replace_when_written
from ..grid.arms import EXPERIMENTS
from .arms import Arm, read_arms
from .cells import by_subject, rows_of
from .declaration import AMOUNT, TABLE_KEYS, TABLES, Column
from .files import write_lines
from .paired import ALPHA
from .runs import Grid, Run, read_grid, read_table, require_one_dataset
from .views import number

POWER = 0.8

WILCOXON_EFFICIENCY = 3.0 / math.pi
"""What share of a subject of the t-test one of Wilcoxon's is worth when differences are normal (Lehmann 1975)."""


@dataclass(frozen=True)
class Spread:
    """How two systems' values differ by chance, in the table's unit squared.

    Args:
        between: variance over subjects of the true difference of two systems.
        noise: variance that one training adds to a subject's difference; an average over seeds shrinks it. 0 where the
            pilot has one seed, whose noise is then in ``between`` and shrinks for nobody.
        retraining: variance over trainings of what all subjects of a training share; NaN where the pilot has one seed.
        source: how it was found.
    """

    between: float
    noise: float
    retraining: float
    source: str


@dataclass(frozen=True)
class Detectable:
    """One line of the report; differences in the table's unit.

    Args:
        table: heading.
        metric: heading.
        subjects: scored.
        seeds: of each system.
        tests: of the table.
        sd_of_differences: between two systems over subjects, each averaged over its seeds.
        alone: what one test detects.
        after_holm: what the table's smallest p must come from: the first step of Holm's method.
        trained_again: as ``after_holm``, for a difference that other trainings of both systems would show too.
        source: of the spread.
    """

    table: str
    metric: str
    subjects: int
    seeds: int
    tests: int
    sd_of_differences: float
    alone: float
    after_holm: float
    trained_again: float
    source: str


@entry_point
def write_detectable(
    pilot: str,
    output_dir: str,
    *,
    subjects: int | None = None,
    seeds: int = 1,
    tests: int | None = None,
    correlation: float = 0.5,
    arms_dir: str | None = None,
) -> None:
    """Write ``detectable.md`` and ``detectable.csv``, and print them.

    Args:
        pilot: a grid's output folder, or the ``per_subject.csv`` of one system.
        output_dir: where the two files go.
        subjects: that will be scored; None for as many as in the pilot.
        seeds: of each system.
        tests: of each table; None counts every arm in every tested metric.
        correlation: of two systems' values over subjects, where the pilot has one system only.
        arms_dir: the overlays; None is ``configs/experiments``.

    Raises:
        SystemExit: a number out of range, no pilot, or one without any tested metric.
    """
    _require(subjects, seeds, tests, correlation)
    arms = read_arms(EXPERIMENTS if arms_dir is None else Path(arms_dir), TABLE_KEYS)
    grid = _read_pilot(Path(pilot))
    lines = list(_lines(arms, grid, subjects=subjects, seeds=int(seeds), tests=tests, correlation=correlation))
    if not lines:
        msg = f"{pilot}: no tested metric has values of two subjects or more. Take a pilot of more subjects"
        raise DatasetError(msg)
    write_lines([asdict(line) for line in lines], Path(output_dir) / "detectable.csv")
    text = as_markdown(lines)
    with replace_when_written(Path(output_dir) / "detectable.md") as aside:
        aside.write_text(text, encoding="utf-8")
    print(text)


def detectable(spread: Spread, column: Column, *, subjects: int, seeds: int, alpha: float) -> float:
    """The smallest true difference that a paired test finds with power .8.

    That of the paired t-test, with as many subjects as Wilcoxon's test is worth; an exact test of right answers is
    taken as one on their differences. NaN below three subjects.

    Args:
        spread: of the differences.
        column: the metric.
        subjects: scored by both systems.
        seeds: of each system, averaged within a subject.
        alpha: two-sided.
    """
    worth = _worth(column, subjects)
    if worth < 2.5:
        return math.nan
    effect = TTestPower().solve_power(nobs=worth, alpha=alpha, power=POWER, alternative="two-sided")
    return float(effect * math.sqrt(spread.between + spread.noise / seeds))


def detectable_again(spread: Spread, column: Column, *, subjects: int, seeds: int, alpha: float) -> float:
    """The same when both systems are trained again, so that the luck of a training counts too; normal approximation."""
    variance = (spread.between + spread.noise / seeds) / _worth(column, subjects) + 2.0 * spread.retraining / seeds
    return float((norm.ppf(1.0 - alpha / 2.0) + norm.ppf(POWER)) * math.sqrt(variance))


def _worth(column: Column, subjects: int) -> float:
    """Subjects of a t-test that would tell as much."""
    return subjects * (WILCOXON_EFFICIENCY if column.test == AMOUNT else 1.0)


def spread_of(
    arm_runs: Mapping[str, Sequence[Run]], reference: str, column: Column, correlation: float
) -> Spread | None:
    """What a pilot says about the differences between systems.

    With several systems their differences from the reference, or else from the first, are measured and averaged; with
    one system they are those of two like it, of which ``correlation`` is assumed.

    Args:
        arm_runs: the pilot's runs of the table's dataset, by arm.
        reference: the arm that the others are compared with.
        column: the metric.
        correlation: see there.

    Returns:
        None where fewer than two subjects have the metric.
    """
    systems = {arm: _system(runs, column) for arm, runs in arm_runs.items()}
    systems = {arm: system for arm, system in systems.items() if len(system.means) > 1}
    if not systems:
        return None
    noise, retraining = (
        _mean([getattr(system, name) for system in systems.values()]) for name in ("noise", "retraining")
    )
    known = math.isfinite(noise)
    anchor = reference if reference in systems else next(iter(systems))
    found = [_pair(system, systems[anchor], known) for arm, system in systems.items() if arm != anchor]
    pairs = [variance for variance in found if variance is not None]
    if pairs:
        between, source = float(np.mean(pairs)), f"{len(pairs)} pair{'s' * (len(pairs) > 1)} of systems in the pilot"
    else:
        variance = systems[anchor].variance(known)
        between, source = 2.0 * (1.0 - correlation) * variance, f"one system, correlation {correlation:g} assumed"
    return Spread(between, 2.0 * noise if known else 0.0, retraining, source)


@dataclass(frozen=True)
class _System:
    """One system's pilot: means over seeds by subject, the seeds behind them, and what a training adds."""

    means: Mapping[str, float]
    seeds: int
    noise: float
    retraining: float

    def variance(self, noise_known: bool) -> float:
        """Over subjects, without the noise of the trainings where it is known."""
        return _above_zero(np.var(list(self.means.values()), ddof=1) - self.noise_of_means(noise_known))

    def noise_of_means(self, known: bool) -> float:
        """What the trainings add to the variance of the means."""
        return self.noise / self.seeds if known and math.isfinite(self.noise) else 0.0


def _pair(one: _System, other: _System, noise_known: bool) -> float | None:
    common = sorted(one.means.keys() & other.means.keys())
    if len(common) < 2:
        return None
    differences = [one.means[case] - other.means[case] for case in common]
    noise = one.noise_of_means(noise_known) + other.noise_of_means(noise_known)
    return _above_zero(np.var(differences, ddof=1) - noise)


def _system(runs: Sequence[Run], column: Column) -> _System:
    """Pool the folds: seeds are compared within one."""
    values: dict[str, float] = {}
    seeds, noises, shifts = [], [], []
    for fold in sorted({run.fold for run in runs}):
        of_seeds = [found for run in runs if run.fold == fold and (found := by_subject(run, column))]
        common = sorted(set.intersection(*(set(found) for found in of_seeds))) if of_seeds else []
        if not common:
            continue
        table = np.array([[found[case] for case in common] for found in of_seeds])
        values |= dict(zip(common, table.mean(axis=0), strict=True))
        seeds.append(len(table))
        if min(table.shape) > 1:
            shift = table.mean(axis=1, keepdims=True)
            # What all subjects share moves no difference between them: it is the training's luck, counted apart. The
            # shares of a two-way analysis of variance, seeds by subjects.
            noises.append(float((table - shift).var(axis=0, ddof=1).sum() / (len(common) - 1)))
            shifts.append(_above_zero(shift.var(ddof=1) - noises[-1] / len(common)))
    return _System(values, min(seeds, default=1), _mean(noises), _mean(shifts))


def _lines(
    arms: Mapping[str, Arm], grid: Grid, *, subjects: int | None, seeds: int, tests: int | None, correlation: float
) -> Iterator[Detectable]:
    for table in TABLES:
        if table.reference is None:
            continue
        rows = rows_of(table, arms)
        tested = [column for column in table.columns if column.test is not None]
        pairs = table.pairs_of([arm.key for arm in rows])
        family = int(tests or max(1, len(pairs) * len(tested)))
        runs = {arm.key: grid.runs[arm.key] for arm in rows if arm.key in grid.runs}
        require_one_dataset(run for of_arm in runs.values() for run in of_arm)
        for column in tested:
            spread = spread_of(runs, table.reference, column, correlation)
            if spread is None:
                continue
            n = int(subjects or max(len(_system(of_arm, column).means) for of_arm in runs.values()))
            both = {"subjects": n, "seeds": seeds}
            yield Detectable(
                table=table.title,
                metric=column.heading,
                **both,
                tests=family,
                sd_of_differences=math.sqrt(spread.between + spread.noise / seeds),
                alone=detectable(spread, column, **both, alpha=ALPHA),
                after_holm=detectable(spread, column, **both, alpha=ALPHA / family),
                trained_again=detectable_again(spread, column, **both, alpha=ALPHA / family),
                source=spread.source,
            )


def as_markdown(lines: Sequence[Detectable]) -> str:
    """The report."""
    headings = ("Table", "Metric", "Subjects", "Seeds", "Tests", "SD of differences", "One test detects")
    headings += ("After Holm", "After Holm, trained again", "Spread from")
    rows = [
        (
            *map(str, (line.table, line.metric, line.subjects, line.seeds, line.tests)),
            *(number(v, 2) for v in (line.sd_of_differences, line.alone, line.after_holm, line.trained_again)),
            line.source,
        )
        for line in lines
    ]
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in (headings, ["---"] * len(headings), *rows))
    return f"""# What difference can be detected
Paired over subjects, power {POWER:g}, two-sided alpha {ALPHA:g}. "After Holm" is the first step of Holm's correction
over all tests of a table, which the smallest p must pass; later steps ask for less. Up to there the trained weights are
taken as they are; "trained again" asks for a difference that would show in other trainings of both systems too, and
needs a pilot of several seeds. A smaller true difference will often be missed: "cannot be told" is then no evidence
that there is none.

{table}
"""


def _read_pilot(path: Path) -> Grid:
    if path.is_dir():
        return read_grid(path)
    if not path.is_file():
        msg = f"{path}: no such pilot. Give --pilot a grid's output_dir or a per_subject.csv"
        raise DatasetError(msg)
    rows = read_table(path, ("case",))
    run = Run("mti_net", 0, 0, path.parent, rows, {}, (), {}, {"split": "test"})
    return Grid({run.arm: (run,)})


def _require(subjects: int | None, seeds: int, tests: int | None, correlation: float) -> None:
    for name, value, least in (("subjects", subjects, 3), ("seeds", seeds, 1), ("tests", tests, 1)):
        if value is not None and (not isinstance(value, int) or value < least):
            msg = f"{name} is {value!r}. Give a whole number of at least {least}"
            raise ConfigurationError(msg)
    if not isinstance(correlation, int | float) or not -1.0 <= correlation < 1.0:
        msg = f"correlation is {correlation!r}. Give a number from -1 to below 1"
        raise ConfigurationError(msg)


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if math.isfinite(value)]
    return float(np.mean(known)) if known else math.nan


def _above_zero(value: float) -> float:
    return max(float(value), 0.0)
