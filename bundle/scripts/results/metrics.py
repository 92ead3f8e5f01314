"""Metrics over subjects, each with its bootstrap interval: ``metrics.json``."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..domain.classes import CLASSES
from ..domain.writing import replace_when_written
from .scores import SubjectScore
from .statistics import auroc, bootstrap_interval

Metrics = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Metric:
    """How one key of ``metrics.json`` comes about.

    Args:
        definition: one sentence for readers.
        columns: what a row contributes, a number or a tuple of them, given the row and the training
            split's mean curve; None where the row does not enter.
        statistic: takes the contributions of many rows, ``(N,)`` or ``(N, K)``, and gives the value.
    """

    definition: str
    columns: Callable[[SubjectScore, np.ndarray | None], Any]
    statistic: Callable[[np.ndarray], float] = np.mean


def _lesion_counts(row: SubjectScore, mean: np.ndarray | None) -> tuple[int, ...] | None:
    counts = row.matched_lesions, row.true_lesions, row.predicted_lesions
    return counts if row.has_lesion and not row.mask_given else None


def _truth_and_correct(row: SubjectScore, mean: np.ndarray | None) -> tuple[float, ...] | None:
    return None if row.correct is None else (CLASSES.index(row.true_class), row.correct)


def _truth_and_score(row: SubjectScore, mean: np.ndarray | None) -> tuple[float, ...] | None:
    if row.correct is None:
        return None
    is_hcc = row.true_class == "hcc"
    return is_hcc, (not is_hcc if row.missed else row.probability_hcc)


def _accuracy_minus_rule(row: SubjectScore, mean: np.ndarray | None) -> float | None:
    return None if row.correct is None or row.rule_correct is None else float(row.correct) - float(row.rule_correct)


def _error(row: SubjectScore, curve: Sequence[float] | None, mean: np.ndarray | None) -> float | None:
    """Mean absolute error over the phases that are there; of the training mean where nothing was found.

    After a miss, where the curve of another place can be right by luck only, it is at least the training mean's.
    """
    if curve is None:
        return None
    found = not np.isnan(curve).all()
    said = ([curve] if found else []) + ([mean] if row.missed or not found else [])
    if any(values is None for values in said):
        return None
    return max(float(np.nanmean(np.abs(np.subtract(values, row.true_curve)))) for values in said)


def _head_error(row: SubjectScore, mean: np.ndarray | None) -> float | None:
    return _error(row, row.head_curve, mean) if row.has_lesion else None


def _head_error_raw(row: SubjectScore, mean: np.ndarray | None) -> float | None:
    error = _head_error(row, mean)
    return None if error is None else error * row.scale


def _head_and_mean_error(row: SubjectScore, mean: np.ndarray | None) -> tuple[float, ...] | None:
    error = _head_error(row, mean)
    return None if error is None or mean is None else (error, _error(row, mean, mean))


def _true_slices_error(row: SubjectScore) -> float | None:
    if not row.has_lesion or row.true_slices_curve is None:
        return None
    return float(np.nanmean(np.abs(np.subtract(row.true_slices_curve, row.true_curve))))


def _true_slices_error_raw(row: SubjectScore, mean: np.ndarray | None) -> float | None:
    error = _true_slices_error(row)
    return None if error is None else error * row.scale


def _true_slices_and_mean_error(row: SubjectScore, mean: np.ndarray | None) -> tuple[float, ...] | None:
    error = _true_slices_error(row)
    return None if error is None or mean is None else (error, _error(row, mean, mean))


def _truth_and_score_on_true_slices(row: SubjectScore, mean: np.ndarray | None) -> tuple[float, ...] | None:
    if row.correct_on_true_slices is None:
        return None
    is_hcc, p = row.true_class == "hcc", row.true_slices_probability_hcc
    return is_hcc, (not is_hcc if math.isnan(p) else p)


def _mask_and_mean_error(row: SubjectScore, mean: np.ndarray | None) -> tuple[float, ...] | None:
    return (_error(row, row.mask_curve, mean), _error(row, mean, mean)) if row.has_lesion and mean is not None else None


def _ratio(numerator: float, denominator: float) -> float:
    return float(numerator / denominator) if denominator else float("nan")


def _balanced_accuracy(columns: np.ndarray) -> float:
    truth, correct = columns.T
    return float(np.mean([correct[truth == value].mean() for value in np.unique(truth)]))


METRICS = {
    "dsc_mean": Metric(
        "Dice, mean over subjects with a lesion; a miss (no predicted voxel touches it) is 0",
        lambda row, mean: row.dice,
    ),
    "iou_mean": Metric("Intersection over union, likewise", lambda row, mean: row.iou),
    "nsd_2mm": Metric("Normalised surface Dice at 2 mm, likewise", lambda row, mean: row.nsd),
    "hd95_mm": Metric(
        "95th percentile Hausdorff distance in mm, likewise; the image's diagonal where nothing is predicted",
        lambda row, mean: row.hd95_mm,
    ),
    "missed_subjects": Metric(
        "Share of subjects with a lesion that are missed",
        lambda row, mean: row.missed if row.has_lesion and row.slice_index is None and not row.mask_given else None,
    ),
    "false_positive_subjects": Metric(
        "Share of subjects without a lesion in which one is predicted",
        lambda row, mean: None if row.has_lesion or row.mask_given else row.predicted_lesions > 0,
    ),
    "lesion_sensitivity": Metric(
        "True lesions found (IoU of at least 0.1, one to one), pooled over subjects with a lesion",
        _lesion_counts,
        lambda counts: _ratio(counts[:, 0].sum(), counts[:, 1].sum()),
    ),
    "lesion_precision": Metric(
        "Predicted lesions that are true, likewise",
        _lesion_counts,
        lambda counts: _ratio(counts[:, 0].sum(), counts[:, 2].sum()),
    ),
    "lesion_f1": Metric(
        "Harmonic mean of lesion-wise sensitivity and precision",
        _lesion_counts,
        lambda counts: _ratio(2 * counts[:, 0].sum(), counts[:, 1:].sum()),
    ),
    "accuracy": Metric("Class right, over subjects with a lesion; a miss is wrong", lambda row, mean: row.correct),
    "balanced_accuracy": Metric("Mean of the accuracies within each class", _truth_and_correct, _balanced_accuracy),
    "auroc": Metric(
        "Area under the ROC curve of the probability of HCC; a miss ranks as the wrong class with certainty",
        _truth_and_score,
        lambda columns: auroc(columns[:, 0], columns[:, 1]),
    ),
    "rule_accuracy": Metric(
        "Accuracy of the kinetic rule on the predicted mask; a miss is wrong", lambda row, mean: row.rule_correct
    ),
    "accuracy_minus_rule": Metric(
        "Accuracy of the network less that of the rule, paired by subject", _accuracy_minus_rule
    ),
    "mae_raw": Metric(
        "Mean absolute error of the regression head's curve, raw units; after a miss at least the training mean's",
        _head_error_raw,
    ),
    "mae_normalised": Metric("Likewise, normalised intensity", _head_error),
    "mae_ratio": Metric(
        "mae_normalised over the error of the training split's mean curve",
        _head_and_mean_error,
        lambda errors: _ratio(*errors.sum(axis=0)),
    ),
    "accuracy_true_slices": Metric(
        "Class right on the slices of the true lesion, where systems without a mask of their own can be asked too",
        lambda row, mean: row.correct_on_true_slices,
    ),
    "auroc_true_slices": Metric(
        "Area under the ROC curve of the probability of HCC, likewise",
        _truth_and_score_on_true_slices,
        lambda columns: auroc(columns[:, 0], columns[:, 1]),
    ),
    "mae_raw_true_slices": Metric(
        "Mean absolute error of the regression head, likewise, raw units", _true_slices_error_raw
    ),
    "mae_ratio_true_slices": Metric(
        "Mean absolute error of the regression head, likewise, over that of the training split's mean curve",
        _true_slices_and_mean_error,
        lambda errors: _ratio(*errors.sum(axis=0)),
    ),
    "mae_ratio_from_mask": Metric(
        "Likewise for the mean under the predicted mask instead of the regression head",
        _mask_and_mean_error,
        lambda errors: _ratio(*errors.sum(axis=0)),
    ),
}


def summarise(
    rows: Sequence[SubjectScore],
    *,
    training_mean_curve: Sequence[float] | None = None,
    seed: int = 0,
    n_resamples: int = 2000,
) -> Metrics:
    """Compute every metric of ``METRICS`` with its 95 % percentile bootstrap interval over subjects.

    Subjects without a true lesion enter ``false_positive_subjects`` only. In the per-slice mode the
    slices of a subject are drawn together.

    Args:
        rows: one per subject, or per slice.
        training_mean_curve: ``(4,)`` mean curve of the training split, normalised intensity: what a
            predictor that looks at nothing would say. Without it the ratios are None and the errors
            leave misses out.
        seed: of the bootstrap.
        n_resamples: draws per interval.

    Returns:
        ``{key: {value, ci95, n}}`` with ``n`` the rows that enter; ``value`` is None where none can,
        ``ci95`` where they are of fewer than two subjects.
    """
    mean = None if training_mean_curve is None else np.asarray(training_mean_curve, dtype=np.float64)
    metrics = {}
    for key, metric in METRICS.items():
        entering = [(row.case, columns) for row in rows if (columns := metric.columns(row, mean)) is not None]
        values = np.array([columns for _, columns in entering], dtype=np.float64)
        groups = [case for case, _ in entering]
        metrics[key] = with_interval(values, metric.statistic, groups=groups, seed=seed, n_resamples=n_resamples)
    return metrics


def with_interval(
    values: np.ndarray,
    statistic: Callable[[np.ndarray], float],
    *,
    groups: Sequence | None = None,
    seed: int = 0,
    n_resamples: int = 2000,
) -> dict[str, Any]:
    """An entry of ``metrics.json``: ``{value, ci95, n}`` with the 95 % percentile bootstrap interval over subjects.

    Args:
        values: ``(N, ...)`` float64, one row per subject, or per slice; without NaN.
        statistic: takes rows, gives a number.
        groups: ``(N,)`` the subject of each row, where a subject has several.
        seed: of the bootstrap.
        n_resamples: draws.

    Returns:
        ``value`` is None where there is no row or it is undefined, ``ci95`` where the rows are of fewer than two
        subjects, or it is.
    """
    if not len(values):
        return {"value": None, "ci95": None, "n": 0}
    interval = bootstrap_interval(values, statistic=statistic, groups=groups, seed=seed, n=n_resamples)
    value = float(statistic(values))
    return {
        "value": value if np.isfinite(value) else None,
        "ci95": list(interval) if np.isfinite(interval).all() else None,
        "n": len(values),
    }


def write_metrics(metrics: Metrics, path: Path) -> None:
    """Write ``metrics.json``."""
    with replace_when_written(path) as aside:
        aside.write_text(json.dumps(metrics, indent=2, allow_nan=False) + "\n")
