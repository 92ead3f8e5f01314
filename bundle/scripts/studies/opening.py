"""Opens whatever a user wants analysed: NIfTI in one of its layouts, or a folder of DICOM studies, imported first."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..domain.errors import ConfigurationError, StudyError
from .case import Case
from .sources import find_cases

if TYPE_CHECKING:
    from .dicom.study_import import ImportedStudy

IMPORTED_FOLDER = "imported"
SALT_FILE = ".salt"

_FILES_TO_TRY = 200
"""Strangers among DICOM files, such as viewers and readme files on a disc, are fewer than that."""


@dataclass(frozen=True, eq=False)
class OpenedStudies:
    """What there is to analyse.

    Args:
        cases: the studies.
        from_dicom: by case, the acquired DICOM stacks of studies that came from DICOM.
    """

    cases: list[Case]
    from_dicom: Mapping[str, ImportedStudy] = field(default_factory=dict)


def open_studies(
    path: str | Path,
    output_dir: str | Path,
    *,
    register: str = "deformable",
    phases: Mapping[str, Any] | str | None = None,
) -> OpenedStudies:
    """Find the studies at a path, importing them where they are DICOM.

    Args:
        path: what ``find_cases`` takes, or a folder with DICOM files at any depth.
        output_dir: an import goes to its folder ``imported``, with the report on how the phases were found; that of an
            earlier run is replaced.
        register: ``"none"``, ``"rigid"`` or ``"deformable"``; of DICOM phases to the arterial one.
        phases: series by phase where the importer cannot tell, as of ``import_dicom``.

    Raises:
        DatasetError: nothing there that is a study.
        StudyError: no DICOM study could be imported, or a single file that is not four volumes.
        ConfigurationError: DICOM, and the packages for it are not installed.
    """
    if not holds_dicom(Path(path)):
        return OpenedStudies(find_cases(path))
    try:
        from .dicom.import_report import outcome_table
        from .dicom.importing import import_studies
    except ImportError as error:
        msg = f"dataset_dir holds DICOM files, and {error.name} is not installed: pip install -r requirements/dicom.txt"
        raise ConfigurationError(msg) from error
    imported_dir = Path(output_dir) / IMPORTED_FOLDER
    if (imported_dir / "subjects.csv").is_file():
        shutil.rmtree(imported_dir)
    salt_file = Path(output_dir) / SALT_FILE
    outcome = import_studies(path, imported_dir, register=register, phases=phases, salt_file=salt_file)
    print(outcome_table(outcome))
    if not outcome.studies:
        reasons = "; ".join(failed.reason for failed in outcome.failed)
        msg = f"no DICOM study could be imported: {reasons}"
        raise StudyError(msg)
    return OpenedStudies([study.case for study in outcome.studies], {s.case.case: s for s in outcome.studies})


def holds_dicom(path: Path) -> bool:
    """Whether a folder holds DICOM files with their preamble, at any depth, and no NIfTI file in itself."""
    if not path.is_dir() or any(path.glob("*.nii*")) or any(path.glob("images*/*.nii*")):
        return False
    files = (file for file in path.rglob("*") if file.is_file())
    return any(_is_dicom(file) for file in islice(files, _FILES_TO_TRY))


def _is_dicom(file: Path) -> bool:
    with file.open("rb") as opened:
        return opened.read(132)[128:] == b"DICM"
