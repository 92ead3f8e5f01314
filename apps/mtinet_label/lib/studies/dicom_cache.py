"""Studies from a PACS on this machine's disk: each a folder of its own, whole or not there."""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
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
from scripts.domain.writing import replace_when_written
from scripts.studies.case import Case, phase_file_name
from scripts.studies.dicom.alignment import as_stored, read_phase
from scripts.studies.dicom.frames import scan
from scripts.studies.dicom.importing import import_studies
from scripts.studies.dicom.privacy import quiet_libraries
from scripts.studies.dicom.record import displacement_file_name
from scripts.studies.dicom.stack import Stack
from scripts.studies.dicom.stacks import stacks_of
from scripts.studies.dicom.study_import import ImportedStudy
from scripts.studies.displacement import Displacement
from scripts.studies.nifti_writing import write_nifti

logger = logging.getLogger(__name__)

RECORD_FILE = "study.json"
DICOM_FOLDER, IMAGES_FOLDER, ABOUT_FOLDER, ACQUIRED_FOLDER = "dicom", "images", "import", "acquired"
_FORMAT = 3

_IN_USE_S = 1800.0
"""A study that was opened so recently is in use: a reader looks at it, or an analysis reads its files."""


class StudyCache:
    """Imported studies by StudyInstanceUID.

    ``<folder>/<uid>/`` holds the phases as NIfTI on the reference grid (``images``), the DICOM files of the four phases
    (``dicom``), what the importer says about them and how it moved them (``import``), which stack is which phase
    (``study.json``), and moved phases as they were acquired, where somebody asked for one (``acquired``). A server that
    is killed in between leaves nothing but a folder aside, which the next one removes. When a study was last opened is
    its record's time of change.

    Args:
        folder: made if it is missing.
        register: of the phases to the arterial one: none, rigid or deformable.
        most_bytes: after an import, studies that were not opened for longest are forgotten until no more is used;
            0 is without limit.
    """

    def __init__(self, folder: Path, *, register: str, most_bytes: int = 0) -> None:
        self.folder = folder
        self.register = register
        self.most_bytes = most_bytes
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

    def announced(self, uid: str) -> dict[str, int] | None:
        """What the PACS had of a study when it was fetched; None where that is not known."""
        try:
            return _read_record(self.folder / uid / RECORD_FILE)["announced"]
        except StudyError:
            return None

    def touch(self, uid: str) -> None:
        """Remember that a study is opened now."""
        with suppress(OSError):  # another server may have forgotten it just now
            os.utime(self.folder / uid / RECORD_FILE)

    def make_room(self, keep: Callable[[], Iterable[str]]) -> None:
        """Forget the studies that were not opened for longest, until the rest is within the limit.

        Args:
            keep: gives the studies that stay whatever they take; so do those in use.
        """
        if not self.most_bytes:
            return
        studies = sorted(self._studies())
        used = sum(size for _, _, size in studies)
        if used <= self.most_bytes:
            return
        staying = set(keep())
        for opened_at, uid, size in studies:
            if used <= self.most_bytes or time.time() - opened_at < _IN_USE_S:
                break
            if uid not in staying:
                self.remove(uid)
                used -= size
        if used > self.most_bytes:
            logger.warning("the studies on this server take %.1f GB, and all are labelled or in use", used / 1e9)

    def load(self, uid: str) -> OpenStudy:
        """A study that is there.

        Raises:
            StudyError: its files are damaged.
        """
        folder = self.folder / uid
        record = _read_record(folder / RECORD_FILE)
        files = tuple(folder / IMAGES_FOLDER / phase_file_name(uid, phase) for phase in range(len(PHASES)))
        try:
            with quiet_libraries():
                stacks = stacks_of(scan(folder / DICOM_FOLDER, progress=False).frames)
            found = {(stack.series_uid, stack.part_index): stack for stack in stacks}
            phases = record["phases"]
            sources = {name: found[phases[name]["series"], phases[name]["part_index"]] for name in PHASES}
            case = _case(uid, files, record)
            displacements = {
                name: Displacement.read(folder / ABOUT_FOLDER / displacement_file_name(name))
                for name in PHASES
                if phases[name]["displaced"]
            }
            whole = all(file.is_file() for file in files) and nib.load(files[1]).shape == sources[REFERENCE_PHASE].shape
        except Exception as error:  # a file that was tampered with fails in any way
            raise _damaged() from error
        if not whole:
            raise _damaged()
        return _open_study(case, sources, displacements)

    def add(self, uid: str, series: Iterable[Iterable[Dataset]], *, announced: Mapping[str, int] | None = None) -> None:
        """Import a study and keep it, instead of an earlier state of it that is there if this succeeds.

        Args:
            uid: of the study.
            series: the images of each of its MR series, one at a time.
            announced: how many images the PACS said that each has, by SeriesInstanceUID.

        Raises:
            StudyError: it cannot be made a four-phase study; nothing is kept.
            FileExistsError: another server with this cache has added it meanwhile.
            AppError: the disk does not take it.
        """
        if uid not in self:
            # Without a record it is what an interrupted removal left.
            shutil.rmtree(self.folder / uid, ignore_errors=True)
        try:
            self._add(uid, series, announced, replacing=uid in self)
        except FileExistsError:
            raise
        except OSError as error:  # its message would name the place
            msg = f"the study cannot be kept on this server ({error.strerror})"
            raise AppError(msg) from error

    def remove(self, uid: str) -> None:
        """Forget a study; without its record it does not count as being there."""
        (self.folder / uid / RECORD_FILE).unlink(missing_ok=True)
        shutil.rmtree(self.folder / uid, ignore_errors=True)

    def _studies(self) -> Iterable[tuple[float, str, int]]:
        """Of each study: when it was last opened, its UID, its bytes."""
        for record_file in self.folder.glob(f"*/{RECORD_FILE}"):
            with suppress(OSError, StudyError):  # forgotten by another server, or damaged
                opened_at, folder = record_file.stat().st_mtime, record_file.parent
                # Phases as they were acquired are written when somebody draws on one, after the record.
                acquired = sum(file.stat().st_size for file in (folder / ACQUIRED_FOLDER).glob("*"))
                yield opened_at, folder.name, int(_read_record(record_file)["bytes"]) + acquired

    def _add(
        self,
        uid: str,
        series: Iterable[Iterable[Dataset]],
        announced: Mapping[str, int] | None,
        *,
        replacing: bool,
    ) -> None:
        with new_folder(self.folder / uid) as aside, quiet_libraries():
            fetched = aside / "fetched"
            for number, images in enumerate(series):
                _write(images, fetched / f"{number:04d}")
            imported = _imported(fetched, aside / "dataset", self.register)
            _keep(imported, uid, aside, announced)
            if replacing:
                # A server that is killed between this and the new name has to fetch the study again.
                self.remove(uid)


def acquired_file(study: OpenStudy, series: str) -> Path:
    """The phase of a series as it was acquired, as NIfTI on its own grid: what is drawn on it is drawn on the series.

    Args:
        study: from the cache.
        series: of a phase that was moved.

    Raises:
        StudyError: its DICOM files are damaged.
    """
    phase = study.phase_of[series]
    file = study.case.phase_files[0].parents[1] / ACQUIRED_FOLDER / phase_file_name(study.case_id, PHASES.index(phase))
    if not file.is_file():
        with quiet_libraries():
            volume = read_phase(phase, study.imported.sources[phase])
        with replace_when_written(file) as aside:
            write_nifti(as_stored(volume.data, volume.stored_dtype), volume.affine, aside)
    return file


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


def _keep(imported: ImportedStudy, uid: str, folder: Path, announced: Mapping[str, int] | None) -> None:
    """What a study needs from now on, by names that tell nothing but its UID."""
    (folder / IMAGES_FOLDER).mkdir()
    for phase, file in enumerate(imported.case.phase_files):
        file.replace(folder / IMAGES_FOLDER / phase_file_name(uid, phase))
    (folder / "dataset" / "import" / imported.case.case).replace(folder / ABOUT_FOLDER)
    (folder / DICOM_FOLDER).mkdir()
    # Whole series, each a folder: what sets the parts of one apart shows only among all of them.
    for series in {frame.file.parent for stack in imported.sources.values() for frame in stack.frames}:
        series.replace(folder / DICOM_FOLDER / series.name)
    for rest in ("fetched", "dataset"):
        shutil.rmtree(folder / rest)
    record = {
        "format": _FORMAT,
        "announced": None if announced is None else dict(announced),
        "bytes": sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()),
        "site": imported.case.site,
        "times_s": list(imported.case.times_s),
        "nominal_times": list(imported.case.nominal_times),
        "phases": {
            name: {
                "series": stack.series_uid,
                "part_index": stack.part_index,
                "displaced": (folder / ABOUT_FOLDER / displacement_file_name(name)).is_file(),
            }
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
            and {"announced", "bytes"} <= record.keys()
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


def _open_study(case: Case, sources: dict[str, Stack], displacements: dict[str, Displacement]) -> OpenStudy:
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
        displacements={uid: displacements[name] for uid, name in phase_of.items() if name in displacements},
    )


def _damaged() -> StudyError:
    return StudyError("the study's files on this server are damaged; it has to be fetched again")
