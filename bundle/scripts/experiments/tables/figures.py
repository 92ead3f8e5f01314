"""The pictures of the tables: means with intervals, confusion matrices, training curves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ...domain.classes import CLASSES
from ...results.figures import CLASS_NAMES, INK, MUTED
from .cells import MISSING, NO_SUCH_TASK, VALUE, Cell, Filled
from .confusion import Confusion
from .convergence import LAST_PART, SCORE
from .declaration import Column
from .runs import Run

DPI = 110
_COUNTS, _DOES_NOT = "#0B5C8A", "#B45309"
_PANELS_IN_A_ROW = 5


def blank(width: float, height: float) -> Figure:
    """An empty figure with its own canvas, outside pyplot's state; inches."""
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def draw_means(filled: Filled) -> Figure | None:
    """Every arm's mean with its 95 % interval, a panel a metric; hollow where it does not count.

    None where fewer than two arms have a value: there is nothing to compare.
    """
    if len({arm for (arm, _), cell in filled.cells.items() if cell.status == VALUE}) < 2:
        return None
    columns = filled.table.columns
    figure = blank(1.6 + 3.3 * len(columns), 1.0 + 0.34 * len(filled.arms))
    panels = np.atleast_1d(figure.subplots(1, len(columns), sharey=True))
    for axes, column in zip(panels, columns, strict=True):
        for place, arm in enumerate(filled.arms):
            _draw_mean(axes, place, filled.cells[arm.key, column.key])
        arrow = "higher" if column.higher_is_better else "lower"
        axes.set_title(f"{column.heading}\n{arrow} is better", fontsize=9.5, color=INK)
        axes.grid(axis="x", alpha=0.25, linewidth=0.6)
        axes.margins(x=0.15)
        _tidy(axes)
        _mark_reference(axes, filled, column)
    panels[0].set_yticks(range(len(filled.arms)), [arm.name for arm in filled.arms], fontsize=9)
    panels[0].set_ylim(len(filled.arms) - 0.5, -0.5)
    return figure


def _draw_mean(axes: Axes, place: int, cell: Cell) -> None:
    if cell.status in (MISSING, NO_SUCH_TASK):
        text = "missing" if cell.status == MISSING else "–"  # noqa: RUF001
        axes.text(0.05, place, text, fontsize=8, color=MUTED, va="center", transform=axes.get_yaxis_transform())
        return
    colour = _COUNTS if cell.counts else _DOES_NOT
    if math.isfinite(cell.interval[0]):
        axes.plot(cell.interval, (place, place), color=colour, linewidth=1.6)
    axes.plot(cell.mean, place, "o", color=colour, markerfacecolor=colour if cell.counts else "white", markersize=6)


def _mark_reference(axes: Axes, filled: Filled, column: Column) -> None:
    if filled.table.reference is not None:
        cell = filled.cells[filled.table.reference, column.key]
        if cell.status == VALUE:
            axes.axvline(cell.mean, color=MUTED, linewidth=0.8, linestyle=":")


def draw_confusions(confusions: Mapping[str, Confusion]) -> Figure | None:
    """A matrix an arm, by the arm's name: true class by row, shares of its subjects' answers. None without any."""
    if not confusions:
        return None
    figure, panels = _panels(len(confusions), width=2.4, height=2.4)
    names = [CLASS_NAMES[name] for name in CLASSES]
    for axes, (name, confusion) in zip(panels, confusions.items(), strict=True):
        axes.imshow(np.nan_to_num(confusion.shares), cmap="Blues", vmin=0.0, vmax=1.0)
        for truth in range(len(CLASSES)):
            for answer in range(len(CLASSES)):
                share = confusion.shares[truth, answer]
                text = f"{100.0 * share:.1f} %" if np.isfinite(share) else "no subject"
                colour = "white" if share > 0.55 else INK
                axes.text(answer, truth, text, ha="center", va="center", fontsize=9, color=colour)
        rows = [f"{label}\n(n = {count})" for label, count in zip(names, confusion.subjects, strict=True)]
        axes.set_xticks(range(len(names)), names, fontsize=7.5)
        axes.set_yticks(range(len(names)), rows, fontsize=7.5, rotation=90, va="center")
        axes.set_title(name if confusion.converged else f"{name}\n(not converged)", fontsize=9.5, color=INK)
        axes.set_xlabel("answer", fontsize=8, color=MUTED)
        axes.set_ylabel("truth", fontsize=8, color=MUTED)
    return figure


def draw_training(runs: Mapping[str, Sequence[Run]]) -> Figure | None:
    """Validation score against the epoch, a panel an arm and a line a run; the last fifth shaded. None without any."""
    scored = {
        name: curves for name, of_arm in runs.items() if (curves := [_curve(run) for run in of_arm if _curve(run)])
    }
    if not scored:
        return None
    figure, panels = _panels(len(scored), width=2.3, height=1.95)
    for axes, (name, curves) in zip(panels, scored.items(), strict=True):
        reasons = [run.not_converged() for run in runs[name]]
        last = max(epoch for curve in curves for epoch, _ in curve)
        axes.axvspan((1.0 - LAST_PART) * last, last, color="#EEF2F5", linewidth=0)
        for curve in curves:
            axes.plot(
                *zip(*curve, strict=True), color=_DOES_NOT if any(reasons) else _COUNTS, linewidth=1.0, marker="."
            )
        title = f"{name}{' (not converged)' * any(reasons)}"
        axes.set_title(title.replace(" (", "\n("), fontsize=8.5, color=INK)
        axes.set_xlabel("epoch", fontsize=7.5, color=MUTED)
        axes.grid(alpha=0.25, linewidth=0.6)
        _tidy(axes)
    return figure


def _curve(run: Run) -> list[tuple[int, float]]:
    return [(int(row["epoch"]), float(row[SCORE])) for row in run.log if row.get(SCORE)]


def _panels(count: int, *, width: float, height: float) -> tuple[Figure, list[Axes]]:
    columns = min(count, _PANELS_IN_A_ROW)
    rows = math.ceil(count / columns)
    figure = blank(width * columns, height * rows)
    panels = list(np.atleast_1d(figure.subplots(rows, columns)).flat)
    for spare in panels[count:]:
        spare.set_axis_off()
    return figure, panels[:count]


def _tidy(axes: Axes) -> None:
    axes.tick_params(labelsize=8, colors=MUTED)
    axes.spines[["top", "right"]].set_visible(False)
