"""Confusion matrices of Fig. 4."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...domain.classes import CLASSES
from .cells import subject_means
from .declaration import ACCURACY
from .runs import Run


@dataclass(frozen=True, eq=False)
class Confusion:
    """Answers by true class.

    Args:
        shares: ``(K, K)`` true class by row, answer by column; rows sum to one, NaN where a class has no subject.
        subjects: ``(K,)`` subjects of each class.
        runs: number of runs, over which a subject's answers are averaged as in the accuracy.
        converged: whether all of them count.
    """

    shares: np.ndarray
    subjects: np.ndarray
    runs: int
    converged: bool = True


def confusion_of(runs: Sequence[Run]) -> Confusion | None:
    """The matrix of an arm's runs, the mean over subjects as in the accuracy; None without any answer.

    An answer that is neither class, such as a rule's "unknown", counts as the other class, as in the accuracy.
    """
    true_class = {row["case"]: row["true_class"] for run in runs for row in run.rows}
    right: list[list[float]] = [[] for _ in CLASSES]
    for case, percent in subject_means(runs, ACCURACY).items():
        right[CLASSES.index(true_class[case])].append(percent / ACCURACY.scale)
    if not any(right):
        return None
    shares = np.full((len(CLASSES), len(CLASSES)), np.nan)
    for truth, of_class in enumerate(right):
        if of_class:
            shares[truth] = 1.0 - np.mean(of_class)
            shares[truth, truth] = np.mean(of_class)
    return Confusion(
        shares=shares,
        subjects=np.array([len(of_class) for of_class in right]),
        runs=len(runs),
        converged=all(run.not_converged(ACCURACY.validation) is None for run in runs),
    )
