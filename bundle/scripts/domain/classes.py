"""Tumour classes and the values that stand for them in label files."""

CLASSES = ("hemangioma", "hcc")

LABELS = {"background": 0, "hemangioma": 1, "hcc": 2}
"""Voxel values of a label file; segmentation trains on any value above 0."""

NO_LESION = "none"
"""The class column of a subject without a lesion in ``subjects.csv``."""

UNKNOWN_CLASS = "unknown"
"""The class of a lesion that was found by a network without a classification head."""

UNKNOWN_LABEL = 3
"""The voxel value of such a lesion in a result's mask; never valid in a label file."""
