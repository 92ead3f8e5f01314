"""Finds the studies in whatever a user points at: a dataset, a folder of phases, or one 4-channel file."""

from __future__ import annotations

from pathlib import Path

from ..domain.errors import DatasetError
from ..domain.phases import PHASES
from .case import FILE_ENDING, Case, existing, phase_files
from .discovery import cases_in_folder, require_no_fifth_phase
from .layout import read_dataset
from .nifti import open_nifti, require_four_phases

ENDINGS = (FILE_ENDING, ".nii")


def find_cases(path: str | Path) -> list[Case]:
    """The studies at a path, for analysing a user's own files.

    Args:
        path: one of

            - a dataset folder with ``imagesTr`` or ``imagesTs`` (see ``layout``);
            - a folder of ``<case>_0000.nii.gz`` to ``<case>_0003.nii.gz``;
            - a folder with ``pre``, ``arterial``, ``portal_venous``, ``delayed`` (``.nii.gz`` or ``.nii``);
            - one NIfTI file ``(X, Y, Z, 4)``.

    Returns:
        At least one case; a phase without a file is None in its ``phase_files``.

    Raises:
        DatasetError: nothing there that is a study.
        StudyError: a single file that is not four volumes.
    """
    path = Path(path)
    if path.is_file():
        require_four_phases(open_nifti(path), path)
        return [Case(case=_stem(path), volume_file=path)]
    if not path.is_dir():
        msg = f"{path}: no such file or folder. Give a dataset folder, a folder of phase files or a 4-channel NIfTI."
        raise DatasetError(msg)
    if any((path / folder).is_dir() for folder in ("imagesTr", "imagesTs")):
        return read_dataset(path)
    named = tuple(_phase_named(path, phase) for phase in PHASES)
    if any(named):
        return [Case(case=path.resolve().name, phase_files=named)]
    require_no_fifth_phase(path)
    cases = [Case(case=name, phase_files=phase_files(path, name)) for name in cases_in_folder(path)]
    if not cases:
        msg = (
            f"{path}: no study in it. A folder holds imagesTr or imagesTs, files <case>_0000.nii.gz to "
            f"<case>_0003.nii.gz, or {', '.join(f'{phase}.nii.gz' for phase in PHASES)}."
        )
        raise DatasetError(msg)
    return cases


def _phase_named(folder: Path, phase: str) -> Path | None:
    return next(filter(None, (existing(folder / f"{phase}{ending}") for ending in ENDINGS)), None)


def _stem(file: Path) -> str:
    return file.name.removesuffix(".gz").removesuffix(".nii")
