"""One subject's files, and how the dataset layout names them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from ..domain.phases import NOMINAL_TIMES_S, PHASES
from .subjects_table import CASE_PATTERN

FILE_ENDING = ".nii.gz"
LIVER_FOLDER = "liver"
PHASE_FILE_PATTERN = re.compile(rf"(?P<case>{CASE_PATTERN.pattern})_(?P<phase>\d{{4}})\.nii\.gz")


@dataclass(frozen=True)
class Case:
    """Where one subject's files are and what is known about it before any file is opened.

    Args:
        case: identifier, unique in a dataset.
        phase_files: one file per phase in the order of ``PHASES``; None where a phase is missing.
        volume_file: one 4-channel file ``(X, Y, Z, 4)`` instead of the four.
        label_file: voxel values of ``LABELS``.
        liver_file: liver mask.
        tumour_class: one of ``CLASSES``, ``"none"``, or ``""`` where it is unknown.
        split: ``"train"``, ``"val"`` or ``"test"``.
        fold: 0-4 for cross-validation on train and val; None on test or where unknown.
        site: scanner or centre.
        times_s: seconds after the injection, per phase.
        nominal_times: the contrast phases whose time is not known but nominal.
    """

    case: str
    phase_files: tuple[Path | None, ...] = (None,) * len(PHASES)
    volume_file: Path | None = None
    label_file: Path | None = None
    liver_file: Path | None = None
    tumour_class: str = ""
    split: str = "test"
    fold: int | None = None
    site: str = ""
    times_s: tuple[float, float, float, float] = NOMINAL_TIMES_S
    nominal_times: tuple[str, ...] = PHASES[1:]

    @property
    def image_files(self) -> tuple[Path, ...]:
        """The files that hold phases."""
        return tuple(file for file in (*self.phase_files, self.volume_file) if file is not None)

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file that belongs to the case, images first."""
        return (*self.image_files, *(file for file in (self.label_file, self.liver_file) if file is not None))


def images_folder(split: str) -> str:
    """``imagesTs`` for the test split, ``imagesTr`` for train and val."""
    return "imagesTs" if split == "test" else "imagesTr"


def labels_folder(split: str) -> str:
    """``labelsTs`` for the test split, ``labelsTr`` for train and val."""
    return "labelsTs" if split == "test" else "labelsTr"


def phase_file_name(case: str, phase: int) -> str:
    """``<case>_000k.nii.gz``, ``k`` the phase's index in ``PHASES``."""
    return f"{case}_{phase:04d}{FILE_ENDING}"


def mask_file_name(case: str) -> str:
    """``<case>.nii.gz``, the name of a label and of a liver mask."""
    return f"{case}{FILE_ENDING}"


def phase_files(folder: Path, case: str) -> tuple[Path | None, ...]:
    """The case's files in a folder, one per phase; None where one is missing."""
    return tuple(existing(folder / phase_file_name(case, phase)) for phase in range(len(PHASES)))


def existing(file: Path) -> Path | None:
    """The file, or None where there is none."""
    return file if file.is_file() else None
