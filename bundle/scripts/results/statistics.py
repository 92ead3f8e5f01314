"""Bootstrap confidence intervals over subjects."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy.stats import rankdata

LEVEL = 0.95


def bootstrap_interval(
    values: np.ndarray,
    *,
    statistic: Callable[[np.ndarray], float] = np.mean,
    groups: Sequence | None = None,
    seed: int = 0,
    n: int = 2000,
) -> tuple[float, float]:
    """Percentile bootstrap interval at 95 % (Efron 1979).

    Args:
        values: ``(N, ...)``, one row per subject; whole rows are drawn, so columns stay paired.
        statistic: takes rows, gives a number; a draw on which it is NaN is left out.
        groups: ``(N,)`` which rows belong together, such as the slices of a subject: whole groups are
            then drawn. None is one row each.
        seed: of the generator.
        n: number of draws.

    Returns:
        ``(low, high)``; NaN with fewer than two groups, where nothing can vary.
    """
    values = np.asarray(values)
    names = np.arange(len(values)) if groups is None else np.asarray(groups)
    members = [np.flatnonzero(names == name) for name in np.unique(names)]
    if len(members) < 2:
        return float("nan"), float("nan")
    rng = np.random.default_rng(seed)
    drawn = rng.integers(len(members), size=(n, len(members)))
    statistics = np.array([statistic(values[np.concatenate([members[i] for i in row])]) for row in drawn])
    statistics = statistics[np.isfinite(statistics)]
    if not len(statistics):
        return float("nan"), float("nan")
    low, high = np.quantile(statistics, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def auroc(positive: np.ndarray, score: np.ndarray) -> float:
    """Area under the ROC curve from ranks (Mann-Whitney), ties counted half; NaN with only one class.

    Written with ranks because a bootstrap calls it thousands of times.

    Args:
        positive: ``(N,)`` bool.
        score: ``(N,)``, larger means more positive.
    """
    positive = np.asarray(positive, dtype=bool)
    n_positive, n_negative = np.count_nonzero(positive), np.count_nonzero(~positive)
    if not n_positive or not n_negative:
        return float("nan")
    rank_sum = rankdata(score)[positive].sum()
    return float((rank_sum - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative))
