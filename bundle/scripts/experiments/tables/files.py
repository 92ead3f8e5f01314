"""The tables as CSV files, one line a number's worth, for other programs."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...domain.classes import CLASSES
from ...domain.writing import replace_when_written
from .cells import VALUE, Filled
from .confusion import Confusion
from .costs import Cost
from .runs import Run
from .views import REPORTED

PROVENANCE = ("split", "commit", "dirty", "python", "started", "finished")


def cell_lines(filled: Filled) -> list[dict[str, Any]]:
    """A line for each arm and metric of a table."""
    lines = []
    for arm in filled.arms:
        for column in filled.table.columns:
            cell = filled.cells[arm.key, column.key]
            known = cell.status == VALUE
            lines.append(
                {
                    "arm": arm.key,
                    "name": arm.name,
                    "metric": column.heading,
                    "status": cell.status,
                    "converged": not cell.not_converged if known else "",
                    "mean": cell.mean,
                    "std_subjects": cell.std_subjects,
                    "std_folds": cell.std_folds,
                    "std_seeds": cell.std_seeds,
                    "ci95_low": cell.interval[0],
                    "ci95_high": cell.interval[1],
                    "subjects": cell.subjects if known else "",
                    "folds": cell.folds if known else "",
                    "seeds": cell.seeds if known else "",
                    "runs": cell.runs,
                    "why_not_converged": "; ".join(dict.fromkeys(each.reason for each in cell.not_converged)),
                    REPORTED: arm.reported.get(column.key, ""),
                }
            )
    return lines


def comparison_lines(filled: Filled) -> list[dict[str, Any]]:
    """A line for each paired test of a table."""
    return [
        {
            "table": filled.table.key,
            "arm": comparison.arm,
            "against": comparison.against,
            "metric": comparison.column.heading,
            "difference": comparison.paired.difference,
            "ci95_low": comparison.paired.interval[0],
            "ci95_high": comparison.paired.interval[1],
            "subjects": comparison.paired.n,
            "test": comparison.paired.test,
            "p": comparison.paired.p,
            "p_holm": comparison.p_holm,
            "effect_sizes": "; ".join(f"{name} = {value:.6g}" for name, value in comparison.paired.effects.items()),
            "converged": comparison.counts,
            "verdict": comparison.verdict,
        }
        for comparison in filled.comparisons
    ]


def confusion_lines(confusions: Mapping[str, Confusion]) -> list[dict[str, Any]]:
    """A line for each true class and answer of an arm."""
    return [
        {
            "arm": name,
            "true_class": CLASSES[truth],
            "answer": CLASSES[answer],
            "share": confusion.shares[truth, answer],
            "subjects": confusion.subjects[truth],
            "runs": confusion.runs,
            "converged": confusion.converged,
        }
        for name, confusion in confusions.items()
        for truth in range(len(CLASSES))
        for answer in range(len(CLASSES))
    ]


def cost_lines(costs: Mapping[str, Cost]) -> list[dict[str, Any]]:
    """A line for each arm."""
    return [
        {
            "arm": name,
            "parameters": cost.parameters,
            "gflops_per_slice": cost.gflops,
            "image_size": cost.image_size,
            "seconds_per_study": cost.seconds_per_study,
            "hours_training_per_run": cost.hours_training,
            "peak_rss_mb": cost.peak_rss_mb,
            "hardware": "; ".join(cost.hardware),
        }
        for name, cost in costs.items()
    ]


def run_lines(runs: Iterable[Run]) -> list[dict[str, Any]]:
    """A line for each run: what it was, and whether its validation score levelled off."""
    return [
        {
            "arm": run.arm,
            "fold": run.fold,
            "seed": run.seed,
            "converged": (why_not := run.not_converged()) is None,
            "why_not_converged": "" if why_not is None else why_not.reason,
            "hardware": run.hardware,
            **{key: run.provenance.get(key, "") for key in PROVENANCE},
        }
        for run in runs
    ]


def write_lines(lines: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write a CSV file with a heading, numbers to six digits, what is not known empty.

    Without a line there is no file, not even that of an earlier call.
    """
    if not lines:
        path.unlink(missing_ok=True)
        return
    with replace_when_written(path) as aside, aside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(lines[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: _text(value) for name, value in line.items()} for line in lines)


def _text(value: Any) -> Any:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.6g}"
    return value
