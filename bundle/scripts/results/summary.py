"""The handful of plain numbers that a run is remembered by: ``summary.json``."""

from __future__ import annotations

import json
from pathlib import Path

from ..domain.writing import replace_when_written
from .metrics import Metrics

KEYS = ("dsc_mean", "accuracy", "rule_accuracy", "mae_ratio")


def summary(
    metrics: Metrics, *, seconds_per_study: float, peak_rss_mb: float, subjects: int
) -> dict[str, float | int | None]:
    """Pick the numbers.

    Args:
        metrics: from ``summarise``.
        seconds_per_study: from files to written results, mean.
        peak_rss_mb: largest resident memory of the process, MiB.
        subjects: studies that were analysed and have a ground truth.

    Returns:
        Plain numbers; None where a metric could not be computed.
    """
    return {
        **{key: metrics[key]["value"] for key in KEYS},
        "seconds_per_study": round(seconds_per_study, 2),
        "peak_rss_mb": round(peak_rss_mb, 1),
        "subjects": subjects,
    }


def write_summary(numbers: dict[str, float | int | None], path: Path) -> None:
    """Write ``summary.json``."""
    with replace_when_written(path) as aside:
        aside.write_text(json.dumps(numbers, indent=2, allow_nan=False) + "\n")
