"""Opens whatever a user wants analysed: NIfTI in one of its layouts, or a folder of DICOM studies, imported first."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..domain.errors import ConfigurationError, DatasetError, StudyError
from ..domain.switches import is_on
from .case import Case
from .dicom.signature import START_BYTES, looks_like_dicom
from .sources import find_cases

if TYPE_CHECKING:
    from .dicom.study_import import ImportedStudy

IMPORTED_FOLDER = "imported"
SALT_FILE = ".salt"


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
    keep_identity: bool | str = False,
    salt_file: str | Path | None = None,
) -> OpenedStudies:
    """Find the studies at a path, importing them where they are DICOM.

    Args:
        path: what ``find_cases`` takes, or a folder with DICOM files at any depth.
        output_dir: an import goes to its folder ``imported``, with the report on how the phases were found; that of an
            earlier run is replaced.
        register: ``"none"``, ``"rigid"`` or ``"deformable"``; of DICOM phases to the arterial one.
        phases: series by phase where the importer cannot tell, as of ``import_dicom``.
        keep_identity: likewise.
        salt_file: likewise; ``<output_dir>/.salt`` by default.

    Raises:
        DatasetError: nothing there that is a study.
        StudyError: no DICOM study could be imported, or a single file that is not four volumes.
        ConfigurationError: DICOM, and the packages for it are not installed; or an argument is wrong. An import that
            was there before is still there then.
    """
    if Path(path).is_file() and _is_dicom(Path(path)):
        msg = f"{path}: a single DICOM file. Give the folder that holds the study's files."
        raise DatasetError(msg)
    if not holds_dicom(Path(path)):
        return OpenedStudies(find_cases(path))
    try:
        from .dicom.import_report import outcome_table
        from .dicom.importing import import_studies
    except ImportError as error:
        msg = f"dataset_dir holds DICOM files, and {error.name} is not installed: pip install -r requirements/dicom.txt"
        raise ConfigurationError(msg) from error
    imported_dir = Path(output_dir) / IMPORTED_FOLDER
    with _replaced(imported_dir):
        outcome = import_studies(
            path,
            imported_dir,
            register=register,
            phases=phases,
            keep_identity=is_on(keep_identity),
            salt_file=Path(output_dir) / SALT_FILE if salt_file is None else salt_file,
        )
        print(outcome_table(outcome))
        if not outcome.studies:
            reasons = "; ".join(failed.reason for failed in outcome.failed)
            msg = f"no DICOM study could be imported: {reasons}"
            raise StudyError(msg)
    return OpenedStudies([study.case for study in outcome.studies], {s.case.case: s for s in outcome.studies})


@contextmanager
def _replaced(folder: Path) -> Iterator[None]:
    """Make room for a new import; an earlier one takes its place again where the block fails.

    Raises:
        ConfigurationError: the folder holds work that no import made.
    """
    earlier = folder.with_name(f".{folder.name}-before")
    if folder.exists():
        if not (folder / "import").is_dir() or any(folder.glob("labels*")):
            msg = f"{folder} holds other things than an import, and inferring would replace it. Give another output_dir"
            raise ConfigurationError(msg)
        shutil.rmtree(earlier, ignore_errors=True)
        folder.rename(earlier)
    try:
        yield
    except BaseException:
        if earlier.exists():
            shutil.rmtree(folder, ignore_errors=True)
            earlier.rename(folder)
        raise
    shutil.rmtree(earlier, ignore_errors=True)


def holds_dicom(path: Path) -> bool:
    """Whether a folder holds a DICOM file, at any depth, and no NIfTI file in itself."""
    if not path.is_dir() or any(path.glob("*.nii*")) or any(path.glob("images*/*.nii*")):
        return False
    return any(_is_dicom(Path(place, name)) for place, _, names in os.walk(path) for name in names)


def _is_dicom(file: Path) -> bool:
    try:
        with file.open("rb") as opened:
            return looks_like_dicom(opened.read(START_BYTES))
    except OSError:
        return False
