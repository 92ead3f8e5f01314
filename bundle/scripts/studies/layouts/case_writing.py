"""Writes one case of another layout with our file names, and looks at what was written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from ...domain.classes import CLASSES
from ...domain.errors import StudyError
from ...domain.phases import PHASES, REFERENCE_INDEX, REFERENCE_PHASE
from ..case import (
    FILE_ENDING,
    LIVER_FOLDER,
    Case,
    existing,
    images_folder,
    labels_folder,
    mask_file_name,
    phase_file_name,
)
from ..case_checks import check_case
from ..nifti import same_grid
from ..nifti_writing import write_nifti
from .alignment import aligned, scale_remarks
from .import_table import Taken
from .lesion_label import consistent_class
from .source_case import SourceCase, Volume

_LABEL_FILE = f"label{FILE_ENDING}"
_LIVER_FILE = f"liver{FILE_ENDING}"

_LOST_SHARE = 0.1
"""A case that loses more of its lesion with the slices that not all phases reach is left out."""


def write_case(source: SourceCase, folder: Path, *, register: str) -> Taken:
    """Open a case's files, bring them onto one grid, look at them and write them.

    Args:
        source: the case.
        folder: a folder of its own.
        register: one of ``registration.METHODS``.

    Raises:
        StudyError: the case cannot be imported; nothing of it is written.
    """
    images = source.read()
    absent = [name for name, volume in zip(PHASES, images.phases, strict=True) if volume is None]
    if absent:
        msg = f"lacks the phase(s) {', '.join(absent)}."
        raise StudyError(msg)
    reference = images.phases[REFERENCE_INDEX]
    label = _on_grid(images.label, reference, "label")
    liver = _on_grid(images.liver, reference, "liver mask")
    tumour_class = consistent_class(label, source.tumour_class)
    result = aligned(images.phases, register=register)
    whole = 0 if label is None else np.count_nonzero(label)
    label, liver = (None if mask is None else result.cut(mask) for mask in (label, liver))
    lost = 1.0 - np.count_nonzero(label) / whole if whole else 0.0
    if lost > _LOST_SHARE:
        msg = f"label: {lost:.0%} of the lesion lies in slices that not all phases reach."
        raise StudyError(msg)
    remarks = [*images.remarks, *result.remarks, *scale_remarks(result.images)]
    if lost:
        remarks.append(f"{lost:.0%} of the lesion cut with its slices")
    if label is None and tumour_class in CLASSES:
        remarks.append("no mask")
    files = [folder / phase_file_name(source.case, phase) for phase in range(len(PHASES))]
    for file, volume in zip(files, result.images, strict=True):
        write_nifti(_storable(volume), result.affine, file)
    for mask, name in ((label, _LABEL_FILE), (liver, _LIVER_FILE)):
        if mask is not None:
            write_nifti(mask.astype(np.uint8), result.affine, folder / name)
    case = Case(
        case=source.case,
        phase_files=tuple(files),
        label_file=existing(folder / _LABEL_FILE),
        liver_file=existing(folder / _LIVER_FILE),
        tumour_class=tumour_class,
        split=source.split,
        fold=source.fold,
        site=source.site,
        times_s=source.times_s,
        nominal_times=source.nominal_times,
    )
    return Taken(case, (*remarks, *_check_remarks(case, folder)))


def move_case(taken: Taken, root: Path) -> None:
    """Move a written case to where its split belongs; renaming on one disk costs nothing.

    Args:
        taken: the case, with its split.
        root: the dataset folder.
    """
    case = taken.case
    mask = mask_file_name(case.case)
    moves = [(file, root / images_folder(case.split) / file.name) for file in case.image_files]
    if case.label_file is not None:
        moves.append((case.label_file, root / labels_folder(case.split) / mask))
    if case.liver_file is not None:
        moves.append((case.liver_file, root / LIVER_FOLDER / mask))
    for written, place in moves:
        place.parent.mkdir(parents=True, exist_ok=True)
        written.rename(place)


def _on_grid(mask: Volume | None, reference: Volume, name: str) -> np.ndarray | None:
    if mask is None:
        return None
    if not same_grid(mask.data.shape, mask.affine, reference.data.shape, reference.affine):
        msg = (
            f"{name}: not on the {REFERENCE_PHASE} phase's grid (shape {mask.data.shape}, the phase's "
            f"{reference.data.shape}). Resample it (nearest neighbour) onto that phase."
        )
        raise StudyError(msg)
    return mask.data


def _storable(volume: np.ndarray) -> np.ndarray:
    """Whole numbers as they are where NIfTI readers know the type, everything else as float32."""
    return volume if volume.dtype in (np.uint8, np.int16, np.uint16) else volume.astype(np.float32)


def _check_remarks(case: Case, folder: Path) -> list[str]:
    """What the integrity check will object to, such as phases that look swapped.

    The case is taken all the same: the check cannot tell swapped phases from one on another intensity scale.
    """
    # A missing label is no fault here: the case will be in the test split then.
    split = case.split or "test"
    checked = check_case(replace(case, split="test" if case.label_file is None else split), folder)
    return [f"integrity check: {fault.problem}" for fault in checked.faults]
