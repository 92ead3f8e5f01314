"""Studies in a folder on this machine: a dataset in nnU-Net raw layout, or phase files side by side."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np

from lib.errors import UnknownError
from lib.studies.study import Address, Listed, OpenStudy, ViewerGrid
from scripts.domain.errors import ConfigurationError, DatasetError, StudyError
from scripts.domain.phases import PHASES, REFERENCE_INDEX
from scripts.studies.case import Case, images_folder, phase_files
from scripts.studies.discovery import case_in_dataset, cases_in_folder
from scripts.studies.layout import read_dataset
from scripts.studies.sources import ENDINGS
from scripts.studies.subjects_table import CASE_PATTERN, SUBJECTS_FILE

logger = logging.getLogger(__name__)

_SPLITS = ("train", "test")
_UNSETTLED_S = 2.0
"""A folder that changed this recently may change again within one tick of the file system's clock."""


class FolderSource:
    """The studies of a folder.

    It is looked at whenever studies are asked for, by the folders' times of change only: a file that was added or
    removed shows at once, and thousands of files cost nothing while nothing changes.

    Args:
        folder: a dataset with ``imagesTr`` or ``imagesTs``; files ``<case>_0000.nii.gz`` to ``<case>_0003.nii.gz``; or
            ``pre``, ``arterial``, ``portal_venous`` and ``delayed`` of one study. It may be empty: studies can come
            later.

    Raises:
        ConfigurationError: no such folder.
        DatasetError: ``subjects.csv`` breaks its contract.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            msg = f"--studies {folder}: no such folder. Give a folder of studies, or the address of a DICOMweb server."
            raise ConfigurationError(msg)
        self.folder = folder
        self._lock = threading.Lock()
        self._cases: dict[str, Case] = {}
        self._series: dict[str, Address] = {}
        self._seen: tuple[object, ...] = ()
        self._settled = False
        self._look()

    def listing(self) -> list[Listed]:
        """Every study, in the order of ``subjects.csv`` or of the names; no file is opened."""
        return [Listed(case_id) for case_id in self.cases()]

    def resolve(self, image_id: str) -> Address:
        """The study that a case's or a phase file's name (without ending) means.

        Raises:
            UnknownError: none does.
        """
        cases = self.cases()
        if image_id in cases:
            return Address(image_id)
        if image_id in self._series:
            return self._series[image_id]
        msg = "no such study: ask for one of the list"
        raise UnknownError(msg)

    def open(self, case_id: str) -> OpenStudy:
        """The study; only the headers of its files are read.

        Raises:
            UnknownError: no such study.
            StudyError: a header cannot be read.
        """
        case = self.cases().get(case_id)
        if case is None:
            msg = "no such study: ask for one of the list"
            raise UnknownError(msg)
        series, phase_of = {}, {}
        for phase, file in zip(PHASES, case.phase_files, strict=True):
            if file is not None:
                series[_stem(file)] = _grid(file, phase, case_id)
                phase_of[_stem(file)] = phase
        files = [case.phase_files[REFERENCE_INDEX], *case.phase_files]
        return OpenStudy(
            case_id=case_id,
            # What is analysed knows no label: a mask that came with the dataset is a label, not a part of the study.
            case=replace(case, label_file=None),
            series=series,
            phase_of=phase_of,
            reference=_stem(next(file for file in files if file is not None)),
        )

    def is_local(self, case_id: str) -> bool:
        """Whether the study is on this machine already; all are."""
        return case_id in self.cases()

    def refresh(self) -> None:
        """Look again, whatever the folders' times of change say."""
        with self._lock:
            self._settled, self._seen = False, ()
        self.cases()

    def cases(self) -> Mapping[str, Case]:
        """The cases by name, with the labels that came with them."""
        with self._lock:
            seen = self._changed_at()
            if seen != self._seen or not self._settled:
                try:
                    self._look()
                except DatasetError:
                    # Half-written by an editor, most likely. The server goes on with what it knew.
                    logger.warning("%s cannot be read; the list of studies stays as it was", SUBJECTS_FILE)
            return self._cases

    def _look(self) -> None:
        seen = self._changed_at()
        cases = {case.case: case for case in self._find() if case.image_files and CASE_PATTERN.fullmatch(case.case)}
        self._series = {
            _stem(file): Address(name, _stem(file)) for name, case in cases.items() for file in case.image_files
        }
        self._cases = cases
        self._seen = seen
        self._settled = all(time.time() - mtime_ns / 1e9 > _UNSETTLED_S for mtime_ns in seen if mtime_ns is not None)

    def _find(self) -> list[Case]:
        if any((self.folder / images_folder(split)).is_dir() for split in _SPLITS):
            if (self.folder / SUBJECTS_FILE).is_file():
                return read_dataset(self.folder)
            # Without the table, the bundle tells a case's class by its label, which takes opening every one.
            return [
                case_in_dataset(self.folder, name, split=split)
                for split in _SPLITS
                for name in cases_in_folder(self.folder / images_folder(split))
            ]
        named = tuple(_phase_named(self.folder, phase) for phase in PHASES)
        if any(named):
            return [Case(case=self.folder.resolve().name, phase_files=named)]
        return [Case(case=name, phase_files=phase_files(self.folder, name)) for name in cases_in_folder(self.folder)]

    def _changed_at(self) -> tuple[int | None, ...]:
        names = (*("images" + ending for ending in ("Tr", "Ts")), *("labels" + ending for ending in ("Tr", "Ts")))
        return tuple(_changed_at(path) for path in (self.folder, *(self.folder / n for n in (*names, SUBJECTS_FILE))))


def _changed_at(path: Path) -> int | None:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return None


def _phase_named(folder: Path, phase: str) -> Path | None:
    return next((file for ending in ENDINGS if (file := folder / f"{phase}{ending}").is_file()), None)


def _stem(file: Path) -> str:
    return file.name.removesuffix(".gz").removesuffix(".nii")


def _grid(file: Path, phase: str, case_id: str) -> ViewerGrid:
    try:
        image = nib.load(file)
        shape, affine = image.shape, np.asarray(image.affine, dtype=float)
    except Exception as error:  # nibabel raises many kinds, and their messages name the file with its folder
        msg = f"{case_id}: the {phase} file cannot be read as NIfTI. Copy or convert it again."
        raise StudyError(msg) from error
    if len(shape) != 3:
        msg = f"{case_id}: the {phase} file holds {len(shape)} dimensions, and a phase is one 3D volume."
        raise StudyError(msg)
    return ViewerGrid(tuple(int(size) for size in shape), affine)
