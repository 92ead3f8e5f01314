"""Confusion matrices of Fig. 4."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...domain.classes import CLASSES
from .runs import Run


@dataclass(frozen=True, eq=False)
class Confusion:
    """Answers by true class.

    Args:
        shares: ``(K, K)`` true class by row, answer by column; rows sum to one, NaN where a class has no subject.
        subjects: ``(K,)`` subjects of each class.
        runs: number of runs, over which a subject's answers are averaged.
    """

    shares: np.ndarray
    subjects: np.ndarray
    runs: int


def confusion_of(runs: Sequence[Run]) -> Confusion | None:
    """Pool the runs of an arm: a run on the same subjects adds answers, not subjects; None without any answer.

    An answer that is neither class, such as a rule's "unknown", counts as the other class, as in the accuracy.
    """
    counts = np.zeros((len(CLASSES), len(CLASSES)))
    subjects: list[set[str]] = [set() for _ in CLASSES]
    for run in runs:
        for row in run.rows:
            if row.get("correct_on_true_slices", "") and row["true_class"] in CLASSES:
                truth = CLASSES.index(row["true_class"])
                answer = truth if row["correct_on_true_slices"] == "True" else 1 - truth
                counts[truth, answer] += 1
                subjects[truth].add(row["case"])
    if not counts.any():
        return None
    total = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, total, out=np.full_like(counts, np.nan), where=total > 0)
    return Confusion(shares=shares, subjects=np.array([len(cases) for cases in subjects]), runs=len(runs))
