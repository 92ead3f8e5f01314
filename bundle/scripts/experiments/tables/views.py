"""Tables as text: what the Markdown, the CSV files and the page all print."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...results.convexity import impossible_rows
from .arms import Arm
from .cells import MISSING, NO_SUCH_TASK, Cell, Comparison, Filled
from .costs import Cost
from .declaration import DSC, IOU, Column

REPORTED = "reported, private data"
NOTHING = "–"  # noqa: RUF001
_ROUNDING = 2e-4
"""By how much two printed numbers of four digits may contradict each other."""


@dataclass(frozen=True)
class CellView:
    """A cell in words: its main line, smaller lines, a warning, and whether it is the column's best."""

    main: str
    details: tuple[str, ...] = ()
    warning: str = ""
    best: bool = False


@dataclass(frozen=True)
class RowView:
    """A row: its name, and for each column our cell and the reported number, None where no row has one."""

    name: str
    cells: tuple[tuple[CellView, str | None], ...]


@dataclass(frozen=True)
class TableView:
    """A table in words.

    Args:
        filled: its numbers.
        rows: its rows.
        reported: keys of the columns that have the paper's numbers beside them.
        comparisons: lines of ``COMPARISON_HEADINGS``.
        tally: how the comparisons ended.
        convexity: the check of our rows and of the reported ones, a sentence each; empty where it does not apply.
        notes: of the table and its arms.
    """

    filled: Filled
    rows: tuple[RowView, ...]
    reported: frozenset[str]
    comparisons: tuple[tuple[str, ...], ...]
    tally: str
    convexity: tuple[str, ...]
    notes: tuple[str, ...]


COMPARISON_HEADINGS = (
    "System",
    "Against",
    "Metric",
    "Difference (95 % interval)",
    "n",
    "Test",
    "p",
    "p, Holm",
    "Effect sizes",
    "Verdict",
)
COST_HEADINGS = (
    "System",
    "Parameters, million",
    "GFLOPs a slice",
    "at, pixels",
    "Seconds a study",
    "Training, hours a run",
    "Peak memory, MiB",
    "Hardware",
)


def view(filled: Filled) -> TableView:
    """Put a table into words."""
    reported = frozenset(key for arm in filled.arms for key in arm.reported)
    best = {column.key: filled.best(column) for column in filled.table.columns}
    rows = tuple(
        RowView(
            arm.name,
            tuple(
                (
                    _cell(filled.cells[arm.key, column.key], column, best=best[column.key] == arm.key),
                    _reported(arm, column) if column.key in reported else None,
                )
                for column in filled.table.columns
            ),
        )
        for arm in filled.arms
    )
    notes = [filled.table.note] if filled.table.note else []
    notes += [f"{arm.name}: {arm.note}." for arm in filled.arms if arm.note]
    return TableView(
        filled=filled,
        rows=rows,
        reported=reported,
        comparisons=tuple(_comparison(each) for each in filled.comparisons),
        tally=_tally(filled),
        convexity=tuple(_convexity(filled)),
        notes=tuple(notes),
    )


def _cell(cell: Cell, column: Column, *, best: bool) -> CellView:
    if cell.status == MISSING:
        return CellView(MISSING)
    if cell.status == NO_SUCH_TASK:
        return CellView(NOTHING)
    digits = column.digits
    main = number(cell.mean, digits)
    if math.isfinite(cell.std_subjects):
        main += f" ± {number(cell.std_subjects, digits)}"
    spread = [f"{name} ± {number(std, digits)}" for name, std in _between_runs(cell) if math.isfinite(std)]
    details = [", ".join(spread)] if spread else []
    if math.isfinite(cell.interval[0]):
        details.append(f"{number(cell.interval[0], digits)} to {number(cell.interval[1], digits)}")
    details.append(", ".join(_counted(cell)))
    return CellView(main, tuple(details), _warning(cell), best)


def _between_runs(cell: Cell) -> tuple[tuple[str, float], ...]:
    return ("folds", cell.std_folds), ("seeds", cell.std_seeds)


def _counted(cell: Cell) -> list[str]:
    subjects = [f"n = {cell.subjects}"] if cell.subjects else []
    return [*subjects, f"{cell.runs} run{'s' * (cell.runs > 1)}"]


def _warning(cell: Cell) -> str:
    if not cell.not_converged:
        return ""
    worst = max(cell.not_converged).reason
    many = f"{len(cell.not_converged)} of {cell.runs} runs, at worst: " if cell.runs > 1 else ""
    return f"not converged ({many}{worst})"


def _reported(arm: Arm, column: Column) -> str:
    value = arm.reported.get(column.key)
    return NOTHING if value is None else number(value, column.digits)


def _comparison(comparison: Comparison) -> tuple[str, ...]:
    paired, digits = comparison.paired, comparison.column.digits
    low, high = paired.interval
    interval = f" ({number(low, digits)} to {number(high, digits)})" if math.isfinite(low) else ""
    effects = ", ".join(f"{name} {number(value, 2)}" for name, value in paired.effects.items())
    return (
        comparison.arm,
        comparison.against,
        comparison.column.heading,
        f"{paired.difference:+.{digits}f}{interval}",
        str(paired.n),
        paired.test,
        p_value(paired.p),
        p_value(comparison.p_holm),
        effects,
        comparison.verdict,
    )


def _tally(filled: Filled) -> str:
    if not filled.comparisons:
        return ""
    verdicts = Counter(comparison.verdict for comparison in filled.comparisons)
    others = " and ".join(dict.fromkeys(comparison.against for comparison in filled.comparisons))
    parts = ", ".join(f"{count} {verdict}" for verdict, count in sorted(verdicts.items()))
    family = f"{len(filled.comparisons)} paired test{'s' * (len(filled.comparisons) > 1)}"
    return f"Against {others}, Holm's correction over {family}: {parts}."


def _convexity(filled: Filled) -> list[str]:
    if not {DSC, IOU} <= set(filled.table.columns):
        return []
    ours = {}
    for arm in filled.arms:
        dice, iou = (filled.cells[arm.key, column.key].mean / 100.0 for column in (DSC, IOU))
        if math.isfinite(dice) and math.isfinite(iou):
            ours[arm.name] = (dice, iou)
    reported = {
        arm.name: (arm.reported["dsc"] / 100.0, arm.reported["iou"] / 100.0)
        for arm in filled.arms
        if {"dsc", "iou"} <= arm.reported.keys()
    }
    return [
        _checked("Our rows", ours, impossible_rows(ours)),
        _checked("Rows as reported", reported, impossible_rows(reported, tolerance=_ROUNDING)),
    ]


def _checked(whose: str, rows: Mapping[str, Any], faults: Sequence[str]) -> str:
    if not rows:
        return f"{whose}: none to check."
    if faults:
        return f"{whose}: {len(faults)} of {len(rows)} cannot come from one set of cases. {'; '.join(faults)}."
    return f"{whose}: all {len(rows)} are possible."


def cost_row(name: str, cost: Cost) -> tuple[str, ...]:
    """A line of ``COST_HEADINGS``."""
    return (
        name,
        number(cost.parameters / 1e6, 2),
        number(cost.gflops, 2),
        number(cost.image_size, 0),
        number(cost.seconds_per_study, 2),
        number(cost.hours_training, 2),
        number(cost.peak_rss_mb, 0),
        "; ".join(cost.hardware),
    )


def number(value: float, digits: int) -> str:
    """A number of so many digits, or a dash where it is not known."""
    return NOTHING if math.isnan(value) else f"{value:.{digits}f}"


def p_value(p: float) -> str:
    """Three digits, and never a zero."""
    return "<0.001" if p < 0.001 else f"{p:.3f}"
