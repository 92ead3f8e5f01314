"""Tumour classes and the values that stand for them in label files."""

from __future__ import annotations

import numpy as np

CLASSES = ("hemangioma", "hcc")

LABELS = {"background": 0, "hemangioma": 1, "hcc": 2}
"""Voxel values of a label file; segmentation trains on any value above 0."""

NO_LESION = "none"
"""The class column of a subject without a lesion in ``subjects.csv``."""

UNKNOWN_CLASS = "unknown"
"""The class of a lesion that was found by a network without a classification head."""

UNKNOWN_LABEL = 3
"""The voxel value of such a lesion in a result's mask; never valid in a label file."""


def tumour_class_of(label: np.ndarray) -> str:
    """The class of a subject from its label array: that of most tumour voxels, ``NO_LESION`` without any."""
    count = {name: np.count_nonzero(label == LABELS[name]) for name in CLASSES}
    return max(count, key=count.get) if any(count.values()) else NO_LESION
