"""Finds cases by their files' names, where no table lists them."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np

from ..domain.classes import CLASSES, LABELS, NO_LESION
from ..domain.errors import DatasetError
from ..domain.phases import PHASES
from .case import (
    LIVER_FOLDER,
    PHASE_FILE_PATTERN,
    Case,
    existing,
    images_folder,
    labels_folder,
    mask_file_name,
    phase_files,
)


def case_in_dataset(root: Path, name: str, *, split: str, **known: object) -> Case:
    """A case with those of its files that are there.

    Args:
        root: the dataset folder.
        name: the case's identifier.
        split: decides between the ``Tr`` and ``Ts`` folders.
        known: further fields of ``Case``.
    """
    return Case(
        case=name,
        phase_files=phase_files(root / images_folder(split), name),
        label_file=existing(root / labels_folder(split) / mask_file_name(name)),
        liver_file=existing(root / LIVER_FOLDER / mask_file_name(name)),
        split=split,
        **known,
    )


def discover(root: Path) -> list[Case]:
    """The cases of a dataset without ``subjects.csv``, maybe none.

    ``imagesTr`` is the train split, ``imagesTs`` the test split; the class is the label's more frequent value.
    """
    cases = []
    for split in ("train", "test"):
        for name in cases_in_folder(root / images_folder(split)):
            tumour_class = _class_of_label(existing(root / labels_folder(split) / mask_file_name(name)))
            cases.append(case_in_dataset(root, name, split=split, tumour_class=tumour_class))
    return cases


def cases_in_folder(folder: Path) -> list[str]:
    """Names of the cases with at least one ``<case>_000k.nii.gz`` in a folder, sorted; none without the folder."""
    if not folder.is_dir():
        return []
    matches = (PHASE_FILE_PATTERN.fullmatch(file.name) for file in folder.iterdir())
    return sorted({match["case"] for match in matches if match})


def require_no_fifth_phase(folder: Path) -> None:
    """Refuse a folder in which a case has more channels than the four phases.

    Raises:
        DatasetError: with the surplus files.
    """
    matches = (PHASE_FILE_PATTERN.fullmatch(file.name) for file in folder.glob("*"))
    surplus = sorted(match.string for match in matches if match and int(match["phase"]) >= len(PHASES))
    if surplus:
        msg = (
            f"{folder}: {', '.join(surplus)} would be a fifth phase or later. Keep the four phases "
            f"{', '.join(PHASES)} as _0000 to _0003 and move the other files elsewhere."
        )
        raise DatasetError(msg)


def _class_of_label(label_file: Path | None) -> str:
    """The class whose value covers most voxels; ``""`` where there is no readable label."""
    if label_file is None:
        return ""
    try:
        label = np.asanyarray(nib.load(label_file).dataobj)
    except Exception:  # whatever is wrong with the file, reading it properly and the integrity check will say
        return ""
    voxels = {name: int(np.count_nonzero(label == LABELS[name])) for name in CLASSES}
    return max(voxels, key=voxels.get) if any(voxels.values()) else NO_LESION
