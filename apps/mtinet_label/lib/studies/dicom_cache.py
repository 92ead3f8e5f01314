"""Studies from a PACS on this machine's disk: each a folder of its own, whole or not there."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import nibabel as nib
from pydicom.dataset import Dataset

from lib.errors import AppError
from lib.studies.study import OpenStudy, ViewerGrid
from lib.studies.uid import is_uid
from lib.whole_folder import new_folder, remove_leftovers
from scripts.domain.errors import DatasetError, StudyError
from scripts.domain.phases import PHASES, REFERENCE_PHASE
from scripts.studies.case import Case, phase_file_name
from scripts.studies.dicom.frames import scan
from scripts.studies.dicom.importing import import_studies
from scripts.studies.dicom.privacy import quiet_libraries
from scripts.studies.dicom.stack import Stack
from scripts.studies.dicom.stacks import stacks_of
from scripts.studies.dicom.study_import import ImportedStudy

logger = logging.getLogger(__name__)

RECORD_FILE = "study.json"
DICOM_FOLDER, IMAGES_FOLDER, ABOUT_FOLDER = "dicom", "images", "import"
_FORMAT = 1


class StudyCache:
    """Imported studies by StudyInstanceUID.

    ``<folder>/<uid>/`` holds the phases as NIfTI on the reference grid (``images``), the DICOM files of the four phases
    (``dicom``), what the importer says about them (``import``) and which stack is which phase (``study.json``). A
    server that is killed in between leaves nothing but a folder aside, which the next one removes.

    Args:
        folder: made if it is missing.
        register: of the phases to the arterial one: none, rigid or deformable.
    """

    def __init__(self, folder: Path, *, register: str) -> None:
        self.folder = folder
        self.register = register
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        remove_leftovers(folder)

    def __contains__(self, uid: str) -> bool:
        return is_uid(uid) and (self.folder / uid / RECORD_FILE).is_file()

    def studies_by_series(self) -> dict[str, str]:
        """StudyInstanceUID by the SeriesInstanceUIDs of the phases, of every study."""
        found = {}
        for record_file in self.folder.glob(f"*/{RECORD_FILE}"):
            uid = record_file.parent.name
            try:
                found |= {phase["series"]: uid for phase in _read_record(record_file)["phases"].values()}
            except StudyError:
                logger.warning("a study of the cache is damaged; it is fetched again when it is asked for")
        return found

    def reference(self, uid: str) -> str | None:
        """SeriesInstanceUID of a study's reference phase; None where the study is not there."""
        try:
            return _read_record(self.folder / uid / RECORD_FILE)["phases"][REFERENCE_PHASE]["series"]
        except StudyError:
            return None

    def load(self, uid: str) -> OpenStudy:
        """A study that is there.

        Raises:
            StudyError: its files are damaged.
        """
        folder = self.folder / uid
        record = _read_record(folder / RECORD_FILE)
        files = tuple(folder / IMAGES_FOLDER / phase_file_name(uid, phase) for phase in range(len(PHASES)))
        with quiet_libraries():
            stacks = stacks_of(scan(folder / DICOM_FOLDER, progress=False).frames)
        found = {(stack.series_uid, stack.part_index): stack for stack in stacks}
        try:
            phases = record["phases"]
            sources = {name: found[phases[name]["series"], phases[name]["part_index"]] for name in PHASES}
            case = _case(uid, files, record)
            whole = all(file.is_file() for file in files) and nib.load(files[1]).shape == sources[REFERENCE_PHASE].shape
        except Exception as error:  # a file that was tampered with fails in any way
            raise _damaged() from error
        if not whole:
            raise _damaged()
        return _open_study(case, sources)

    def add(self, uid: str, series: Iterable[Iterable[Dataset]]) -> None:
        """Import a study and keep it.

        Args:
            uid: of the study.
            series: the images of each of its MR series, one at a time.

        Raises:
            StudyError: it cannot be made a four-phase study; nothing is kept.
            FileExistsError: another server with this cache has added it meanwhile.
            AppError: the disk does not take it.
        """
        if uid not in self:
            # Without a record it is what an interrupted removal left.
            shutil.rmtree(self.folder / uid, ignore_errors=True)
        try:
            self._add(uid, series)
        except FileExistsError:
            raise
        except OSError as error:  # its message would name the place
            msg = f"the study cannot be kept on this server ({error.strerror})"
            raise AppError(msg) from error

    def remove(self, uid: str) -> None:
        """Forget a study; without its record it does not count as being there."""
        (self.folder / uid / RECORD_FILE).unlink(missing_ok=True)
        shutil.rmtree(self.folder / uid, ignore_errors=True)

    def _add(self, uid: str, series: Iterable[Iterable[Dataset]]) -> None:
        with new_folder(self.folder / uid) as aside, quiet_libraries():
            fetched = aside / "fetched"
            for number, images in enumerate(series):
                _write(images, fetched / f"{number:04d}")
            imported = _imported(fetched, aside / "dataset", self.register)
            _keep(imported, uid, aside)
            for folder in (fetched, aside / "dataset"):
                shutil.rmtree(folder)


def _write(images: Iterable[Dataset], folder: Path) -> None:
    folder.mkdir(parents=True)
    for number, image in enumerate(images):
        image.save_as(folder / f"{number:06d}.dcm")


def _imported(fetched: Path, dataset: Path, register: str) -> ImportedStudy:
    try:
        outcome = import_studies(fetched, dataset, register=register, progress=False)
    except DatasetError as error:
        msg = "the study holds no MR image that can be read"
        raise StudyError(msg) from error
    if outcome.studies:
        return outcome.studies[0]
    msg = f"the study cannot be made a four-phase study: {outcome.failed[0].reason}"
    raise StudyError(msg)


def _keep(imported: ImportedStudy, uid: str, folder: Path) -> None:
    """What a study needs from now on, by names that tell nothing but its UID."""
    (folder / IMAGES_FOLDER).mkdir()
    for phase, file in enumerate(imported.case.phase_files):
        file.replace(folder / IMAGES_FOLDER / phase_file_name(uid, phase))
    (folder / "dataset" / "import" / imported.case.case).replace(folder / ABOUT_FOLDER)
    (folder / DICOM_FOLDER).mkdir()
    # Whole series, each a folder: what sets the parts of one apart shows only among all of them.
    for series in {frame.file.parent for stack in imported.sources.values() for frame in stack.frames}:
        series.replace(folder / DICOM_FOLDER / series.name)
    record = {
        "format": _FORMAT,
        "site": imported.case.site,
        "times_s": list(imported.case.times_s),
        "nominal_times": list(imported.case.nominal_times),
        "phases": {
            name: {"series": stack.series_uid, "part_index": stack.part_index}
            for name, stack in imported.sources.items()
        },
    }
    (folder / RECORD_FILE).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def _read_record(file: Path) -> dict[str, Any]:
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        sound = (
            record["format"] == _FORMAT
            and set(record["phases"]) == set(PHASES)
            and len(record["times_s"]) == len(PHASES)
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _damaged() from error
    if not sound:
        raise _damaged()
    return record


def _case(uid: str, files: tuple[Path, ...], record: dict[str, Any]) -> Case:
    return Case(
        case=uid,
        phase_files=files,
        site=str(record["site"]),
        times_s=tuple(float(time_s) for time_s in record["times_s"]),
        nominal_times=tuple(str(phase) for phase in record["nominal_times"]),
    )


def _open_study(case: Case, sources: dict[str, Stack]) -> OpenStudy:
    """Where several phases share a series, its grid is the reference's: they are parts of one acquisition."""
    series, phase_of = {}, {}
    for name in (REFERENCE_PHASE, *PHASES):
        stack = sources[name]
        if stack.series_uid not in series:
            series[stack.series_uid] = ViewerGrid(stack.shape, stack.affine)
            phase_of[stack.series_uid] = name
    return OpenStudy(
        case_id=case.case,
        case=case,
        series=series,
        phase_of=phase_of,
        reference=sources[REFERENCE_PHASE].series_uid,
        imported=ImportedStudy(case, sources),
    )


def _damaged() -> StudyError:
    return StudyError("the study's files on this server are damaged; it has to be fetched again")
