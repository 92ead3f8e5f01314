"""Which cases the related systems are scored on, their rows by subject, and the summary of these."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..domain.writing import replace_when_written
from ..results.metrics import Metrics, with_interval, write_metrics
from ..studies.layout import Case, select, validation_part
from .chest_layout import ChestCase

METRICS_FILE = "metrics.json"
PER_SUBJECT_FILE = "per_subject.csv"


def scored_part(cases: Iterable[Case | ChestCase], split: str | None, fold: int | None) -> list[Case] | list[ChestCase]:
    """The cases that a run is scored on: a split, else the held-out fold, else all.

    Raises:
        DatasetError: there is no such case.
    """
    return validation_part(cases, fold) if split is None and fold is not None else select(cases, split=split)


def summary(
    values: np.ndarray,
    *,
    statistic: Callable[[np.ndarray], float] = np.mean,
    groups: Sequence | None = None,
    n_resamples: int = 2000,
) -> dict[str, Any]:
    """An entry of ``metrics.json`` (``results.metrics.with_interval``), of the rows that have a value.

    Args:
        values: ``(N, ...)``, one row per subject or slice; rows with a NaN do not enter.
        statistic: takes rows, gives a number.
        groups: ``(N,)`` the subject of each row, where a subject has several.
        n_resamples: draws.
    """
    values = np.asarray(values, dtype=np.float64)
    entering = ~np.isnan(values.reshape(len(values), -1)).any(axis=1) if len(values) else np.zeros(0, dtype=bool)
    chosen = None if groups is None else np.asarray(groups)[entering]
    return with_interval(values[entering], statistic, groups=chosen, n_resamples=n_resamples)


def write_scores(rows: Sequence[dict[str, Any]], metrics: Metrics, output_dir: str | Path) -> None:
    """Write both files, each aside and renamed; a number that is None or NaN stays an empty cell.

    Args:
        rows: of the same columns.
        metrics: entries of ``summary``.
        output_dir: made where it does not exist.
    """
    output_dir = Path(output_dir)
    with replace_when_written(output_dir / PER_SUBJECT_FILE) as aside, aside.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
    write_metrics(metrics, output_dir / METRICS_FILE)


def _cell(value: Any) -> Any:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return f"{value:.6g}" if isinstance(value, float) else value


def column(rows: Sequence[dict[str, Any]], name: str) -> np.ndarray:
    """``(N,)`` float64 of a column; None is NaN."""
    return np.array([math.nan if row[name] is None else row[name] for row in rows], dtype=np.float64)


def balanced_accuracy(truth: np.ndarray, said: np.ndarray) -> float:
    """Mean of the accuracies within each value of the truth that occurs; ``(N,)`` both."""
    return float(np.mean([np.mean(said[truth == value] == value) for value in np.unique(truth)]))
