"""Brings the values of other layouts' label files to ours."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ...domain.classes import CLASSES, LABELS, NO_LESION, tumour_class_of
from ...domain.errors import StudyError

LIVER = "liver"

_MEANINGS = {
    "background": "background",
    "hemangioma": "hemangioma",
    "haemangioma": "hemangioma",
    "hepatic hemangioma": "hemangioma",
    "hepatic haemangioma": "hemangioma",
    "hcc": "hcc",
    "hepatocellular carcinoma": "hcc",
    "liver": LIVER,
    "liver parenchyma": LIVER,
}
MEANINGS = (*LABELS, LIVER)
"""What a label value can stand for."""


def meaning_of(name: str, overrides: Mapping[str, str]) -> str | None:
    """One of ``MEANINGS`` for a label's name; None where it means none of them.

    Args:
        name: as the dataset writes it.
        overrides: meanings that the user gives, by name.
    """
    return overrides.get(name) or _MEANINGS.get(" ".join(name.replace("_", " ").split()).lower())


def translated(label: np.ndarray, meanings: Mapping[int, str]) -> tuple[np.ndarray, np.ndarray | None]:
    """Our label and the liver mask from a label file.

    Args:
        label: ``(X, Y, Z)``.
        meanings: what each value stands for, one of ``MEANINGS``.

    Returns:
        Label with values of ``LABELS`` and liver mask (lesions included), uint8; None where no value means liver.

    Raises:
        StudyError: a value without a meaning.
    """
    ours = np.zeros(label.shape, dtype=np.uint8)
    liver = np.zeros(label.shape, dtype=np.uint8)
    known = np.zeros(label.shape, dtype=bool)
    for value, meaning in meanings.items():
        here = label == value
        known |= here
        ours[here] = LABELS.get(meaning, 0)
        liver[here] = meaning != "background"
    if not known.all():
        values = ", ".join(f"{value:g}" for value in np.unique(label[~known])[:5])
        msg = f"label: holds the value(s) {values}, which the dataset does not name. Correct the label or its names."
        raise StudyError(msg)
    return ours, liver if LIVER in meanings.values() else None


def as_lesion(label: np.ndarray, tumour_class: str) -> np.ndarray:
    """A mask of lesions of one known class, whatever values above 0 it has, with that class's value; uint8."""
    return (label > 0).astype(np.uint8) * np.uint8(LABELS[tumour_class])


def consistent_class(label: np.ndarray | None, tumour_class: str) -> str:
    """The subject's class from its label and from what is known of it.

    Args:
        label: values of ``LABELS``, or None without a label.
        tumour_class: ``""`` where it is unknown.

    Returns:
        One of ``CLASSES``, ``"none"``, or ``""`` where neither says.

    Raises:
        StudyError: lesions of both classes, or label and class contradict each other.
    """
    if label is None:
        return tumour_class
    found = [name for name in CLASSES if (label == LABELS[name]).any()]
    if len(found) > 1:
        msg = f"label: lesions of {' and '.join(found)} in one subject, but a subject has one class."
        raise StudyError(msg)
    of_label = tumour_class_of(label)
    if tumour_class and of_label != tumour_class:
        shown = "no lesion" if of_label == NO_LESION else f"a lesion of class {of_label}"
        msg = f"label: {shown}, but the subject's class is {tumour_class}. Correct one of them."
        raise StudyError(msg)
    return of_label
