"""The annotation file of LLD-MMRI: geometry, lesion categories and boxes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...domain.errors import DatasetError, StudyError

ANNOTATION_FILES = (
    "LLD_MMRI_Annotation.json",
    "labels/Annotation.json",
    "labels/LLD_MMRI_Annotation.json",
    "Annotation.json",
)

PHASE_NAMES = {"pre": "C-pre", "arterial": "C+A", "portal_venous": "C+V", "delayed": "C+Delay"}
"""The release's names of our phases; ``T2WI``, ``DWI``, ``In Phase`` and ``Out Phase`` are not imported."""

CATEGORIES = {"hemangioma": "Hepatic_hemangioma", "hcc": "Hepatocellular_carcinoma"}
"""The release's names of our classes; their numbers stand in its ``Category_info``."""

WITHHELD = -1


@dataclass(frozen=True, eq=False)
class PhaseEntry:
    """What the annotation says of one phase of a patient.

    Args:
        study_uid: folder of the original release.
        series_uid: file name of the original release.
        affine: voxel indices to RAS mm.
        box_slices: indices of the slices in which a lesion has a box.
    """

    study_uid: str
    series_uid: str
    affine: np.ndarray
    box_slices: frozenset[int]


@dataclass(frozen=True)
class Annotation:
    """The whole file.

    Args:
        categories: name by number.
        patients: the patients' entries as they are, by identifier.
    """

    categories: dict[int, str]
    patients: dict[str, list[Any]]

    def category_of(self, patient: str) -> int:
        """The one category of a patient's lesions; ``WITHHELD`` where none is given.

        Raises:
            StudyError: several, or one without a name.
        """
        found = set()
        for entry in self.patients[patient]:
            for lesion in _lesions(entry):
                category = lesion.get("category")
                found.add(WITHHELD if category in (None, "") else _whole(category, "category"))
        found.discard(WITHHELD)
        if len(found) > 1:
            names = ", ".join(self.categories.get(number, str(number)) for number in sorted(found))
            msg = f"lesions of several categories: {names}."
            raise StudyError(msg)
        if found - set(self.categories):
            msg = f"category {next(iter(found))} has no name in Category_info."
            raise StudyError(msg)
        return next(iter(found), WITHHELD)

    def phase(self, patient: str, name: str) -> PhaseEntry:
        """One phase of a patient.

        Args:
            patient: identifier.
            name: one of the release's phase names.

        Raises:
            StudyError: no such phase or two, or its geometry makes no sense.
        """
        entries = [entry for entry in self.patients[patient] if isinstance(entry, dict) and entry.get("phase") == name]
        if len(entries) != 1:
            msg = f"{name}: {len(entries)} entries in the annotation, not one."
            raise StudyError(msg)
        return PhaseEntry(
            study_uid=str(entries[0].get("studyUID")),
            series_uid=str(entries[0].get("seriesUID")),
            affine=_affine(entries[0], name),
            box_slices=frozenset(_box_slices(entries[0])),
        )


def read_annotation(root: Path) -> Annotation:
    """Find and read the annotation of a release.

    Args:
        root: the release's folder.

    Raises:
        DatasetError: not there, no JSON, or not the annotation of LLD-MMRI.
    """
    file = next((root / name for name in ANNOTATION_FILES if (root / name).is_file()), None)
    if file is None:
        msg = f"{root}: none of {', '.join(ANNOTATION_FILES)} in it. Give the folder that LLD-MMRI was unpacked into."
        raise DatasetError(msg)
    try:
        content = json.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        msg = f"{file}: not readable as JSON ({error}). Download it again."
        raise DatasetError(msg) from error
    faults = []
    info = content.get("Category_info") if isinstance(content, dict) else None
    patients = content.get("Annotation_info") if isinstance(content, dict) else None
    # "Benign" and "Malignant" stand among the categories as lists of numbers.
    categories = {number: name for name, number in info.items() if type(number) is int} if _is_map(info) else {}
    absent = [name for name in CATEGORIES.values() if name not in categories.values()]
    if absent:
        faults.append(f"Category_info: gives no number of {', '.join(absent)}.")
    if not _is_map(patients) or not patients or not all(isinstance(entries, list) for entries in patients.values()):
        faults.append("Annotation_info: is no list of phases per patient.")
    if faults:
        raise DatasetError("\n".join([f"{file}: not the annotation of LLD-MMRI, nothing is written", *faults]))
    return Annotation(categories, patients)


def digits_of(patient: str) -> str:
    """What identifies a patient: some names carry a hyphen in one place and none in another."""
    return re.sub(r"\D", "", patient)


def _is_map(value: object) -> bool:
    return isinstance(value, Mapping)


def _lesions(entry: Any) -> list[Mapping[str, Any]]:
    annotation = entry.get("annotation") if _is_map(entry) else None
    lesions = annotation.get("lesion") if _is_map(annotation) else None
    return [lesion for lesion in lesions.values() if _is_map(lesion)] if _is_map(lesions) else []


def _box_slices(entry: Any) -> set[int]:
    # The 3D box is null in one release, so only the boxes per slice are used.
    slices = set()
    for lesion in _lesions(entry):
        boxes = lesion.get("bbox", {}).get("2D_box") if _is_map(lesion.get("bbox")) else None
        slices |= {_whole(box.get("slice_idx"), "slice_idx") for box in boxes or () if _is_map(box)}
    return slices


def _affine(entry: Mapping[str, Any], name: str) -> np.ndarray:
    """Identity direction in LPS, as the release defines it, so x and y change their sign in RAS."""
    try:
        spacing_mm = np.array([*entry["pixel_spacing"], entry["slice_spacing"]], dtype=float)
        origin_mm = np.array(entry["origin"], dtype=float)
    except (KeyError, TypeError, ValueError) as error:
        msg = f"{name}: the annotation lacks pixel_spacing, slice_spacing or origin."
        raise StudyError(msg) from error
    sound = spacing_mm.shape == origin_mm.shape == (3,) and np.isfinite([*spacing_mm, *origin_mm]).all()
    if not sound or (spacing_mm <= 0).any():
        msg = f"{name}: the annotation's spacing or origin makes no sense."
        raise StudyError(msg)
    affine = np.diag([-spacing_mm[0], -spacing_mm[1], spacing_mm[2], 1.0])
    affine[:3, 3] = origin_mm * (-1, -1, 1)
    return affine


def _whole(value: object, what: str) -> int:
    try:
        return int(value)
    except (TypeError, ValueError) as error:
        msg = f"the annotation's {what} is {value!r}, not a whole number."
        raise StudyError(msg) from error
