"""How much one volume's intensities tell about another's."""

from __future__ import annotations

import numpy as np

BINS = 32
_TAILS = (0.5, 99.5)


def limits(values: np.ndarray) -> tuple[float, float]:
    """The range that the bins divide: percentiles, or a single bright vessel would stretch them."""
    low, high = np.percentile(values, _TAILS)
    return float(low), float(high)


def mutual_information(
    first: np.ndarray,
    second: np.ndarray,
    *,
    first_limits: tuple[float, float] | None = None,
    second_limits: tuple[float, float] | None = None,
) -> float:
    """Mutual information of two intensities, from their joint histogram (Maes et al. 1997).

    Args:
        first: ``(N,)``.
        second: ``(N,)``, at the same places.
        first_limits: ``limits(first)`` by default; the same for all that is compared, or the bins differ.
        second_limits: likewise.

    Returns:
        In nats; 0 where one of the two has a single value.
    """
    joint = np.bincount(
        _binned(first, first_limits or limits(first)) * BINS + _binned(second, second_limits or limits(second)),
        minlength=BINS * BINS,
    ).reshape(BINS, BINS)
    p = joint / max(joint.sum(), 1)
    expected = p.sum(axis=1, keepdims=True) * p.sum(axis=0, keepdims=True)
    there = p > 0
    return max(0.0, float((p[there] * np.log(p[there] / expected[there])).sum()))


def _binned(values: np.ndarray, between: tuple[float, float]) -> np.ndarray:
    low, high = between
    if low >= high:
        return np.zeros(values.shape, np.intp)
    return np.clip((values - low) * (BINS / (high - low)), 0, BINS - 1).astype(np.intp)
