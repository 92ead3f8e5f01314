"""What a new version of a label says, given what was given now and what the version before said."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lib.errors import BadRequestError
from lib.labels.label import Label, LesionLabel
from lib.labels.lesions import lesions_of
from lib.studies.study import ViewerGrid
from scripts.domain.classes import NO_LESION


@dataclass(frozen=True, eq=False)
class Revision:
    """The content of a new version.

    Args:
        mask: ``(X, Y, Z)`` uint8, new; None where the previous one is kept, or there is none.
        kept: file of the mask that is kept.
        lesions: of either.
        diagnosis: one of ``DIAGNOSES`` or ``""``.
    """

    mask: np.ndarray | None
    kept: Path | None
    lesions: tuple[LesionLabel, ...]
    diagnosis: str

    @property
    def has_mask(self) -> bool:
        """Whether the version has a mask."""
        return self.mask is not None or self.kept is not None


def revise(previous: Label | None, mask: np.ndarray | None, grid: ViewerGrid, diagnosis: str | None) -> Revision:
    """Put what is new and what is kept together.

    Args:
        previous: the version before.
        mask: new; None keeps the previous one. A first diagnosis of no lesion makes an empty one.
        grid: of the masks.
        diagnosis: new; None keeps the previous one, unless that says that there is no lesion and now there is.

    Raises:
        BadRequestError: no lesion by the diagnosis, and lesions in the mask.
    """
    kept = None if previous is None or mask is not None else previous.mask_file
    if mask is None and kept is None and diagnosis == NO_LESION:
        mask = np.zeros(grid.shape, dtype=np.uint8)
    lesions: tuple[LesionLabel, ...] = ()
    if mask is not None:
        lesions = lesions_of(mask, grid)
    elif kept is not None:
        lesions = previous.lesions
    if diagnosis is None:
        diagnosis = "" if previous is None else previous.diagnosis
        if diagnosis == NO_LESION and lesions:
            diagnosis = ""
    if diagnosis == NO_LESION and lesions:
        msg = f'the diagnosis is "none", and the mask holds {len(lesions)} lesion(s): erase them, or choose another'
        raise BadRequestError(msg)
    return Revision(mask, kept, lesions, diagnosis)
