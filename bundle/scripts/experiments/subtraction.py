"""The simplest segmenter that a radiologist would try: arterial minus pre-contrast, smoothed, thresholded."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from ..domain.phases import PHASES
from ..domain.study import Study

SMOOTHING_MM = 2.0
THRESHOLDS = np.linspace(0.0, 12.0, 25)
"""Candidates, in robust standard deviations above the region's median; the training split chooses."""

_PRE, _ARTERIAL = PHASES.index("pre"), PHASES.index("arterial")


def enhancement_score(study: Study, region: np.ndarray) -> np.ndarray:
    """Arterial enhancement of every voxel against what is usual in a region.

    Args:
        study: both phases are needed.
        region: ``(X, Y, Z)`` bool, where a lesion may lie.

    Returns:
        ``(X, Y, Z)`` float32, robust standard deviations above the region's median; -inf outside it.
    """
    sigma = [0.0 if axis == study.slice_axis else SMOOTHING_MM / d for axis, d in enumerate(study.spacing_mm)]
    difference = ndimage.gaussian_filter(study.image[_ARTERIAL] - study.image[_PRE], sigma)
    inside = difference[region]
    centre = np.median(inside)
    spread = 1.4826 * np.median(np.abs(inside - centre))
    return np.where(region, (difference - centre) / max(float(spread), 1e-6), -np.inf).astype(np.float32)


def dice_by_threshold(score: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Dice of ``score > threshold`` for each of ``THRESHOLDS``, ``(T,)``; 0 where nothing overlaps."""
    return np.array([dice(score > threshold, truth) for threshold in THRESHOLDS])


def dice(predicted: np.ndarray, truth: np.ndarray) -> float:
    """Dice of two masks; ``truth`` must not be empty."""
    return float(2.0 * np.count_nonzero(predicted & truth) / (np.count_nonzero(predicted) + np.count_nonzero(truth)))
