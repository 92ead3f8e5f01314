"""A four-phase study from DICOM in the app's cache, a PACS in memory, and masks drawn on a study."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from lib.errors import UnavailableError
from lib.studies.dicom_cache import StudyCache
from lib.studies.folder import FolderSource
from lib.studies.study import OpenStudy

SHAPE = (48, 40, 12)


class FakePacs:
    """Answers as ``lib.studies.pacs.Pacs`` does, from files, and counts what it is asked for."""

    def __init__(self, *studies) -> None:
        self.written = {study.uid: study for study in studies}
        self.asked: list[str] = []
        self.stored: list[Dataset] = []
        self.down = False

    def _answer(self, what: str) -> None:
        self.asked.append(what)
        if self.down:
            raise UnavailableError("the PACS does not answer")

    def studies(self) -> list[str]:
        self._answer("studies")
        return sorted(self.written)

    def has_study(self, uid: str) -> bool:
        self._answer("has_study")
        return uid in self.written

    def study_of(self, series_uid: str) -> str | None:
        self._answer("study_of")
        found = (uid for uid, study in self.written.items() if series_uid in {s.uid for s in study.series})
        return next(found, None)

    def mr_series(self, study_uid: str) -> dict[str, int]:
        self._answer("mr_series")
        study = self.written.get(study_uid)
        return {} if study is None else {series.uid: len(series.files) for series in study.series}

    def peek(self, study_uid: str) -> dict[str, int]:
        return self.mr_series(study_uid)

    def images(self, study_uid: str, series_uid: str) -> Iterator[Dataset]:
        self._answer("images")
        series = next(series for series in self.written[study_uid].series if series.uid == series_uid)
        yield from map(pydicom.dcmread, series.files)

    def store(self, dataset: Dataset) -> None:
        self._answer("store")
        self.stored.append(dataset)


@pytest.fixture(scope="session")
def write_study(dicom_phantom: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., object]:
    """Write a small, tilted study as DICOM: ``(key, style="separate_series", **subject)``; a key gives the UIDs."""

    def write(key: str, *, style: str = "separate_series", **subject):
        planned = dicom_phantom.Subject(shape=SHAPE, tilt_deg=(7.0, -5.0, 11.0), **subject)
        filing = dicom_phantom.Filing(key=key, reversed_slices=True)
        return dicom_phantom.STYLES[style](tmp_path_factory.mktemp("dicom"), subject=planned, filing=filing)

    return write


@pytest.fixture(scope="session")
def written(write_study):
    """A study of four series; read only."""
    return write_study("of the room")


@pytest.fixture(scope="session")
def fake_pacs() -> type[FakePacs]:
    """A PACS in memory: ``fake_pacs(written, …)``."""
    return FakePacs


@pytest.fixture(scope="session")
def read_series() -> Callable[[object], list[list[Dataset]]]:
    """The images of a written study, series by series."""
    return lambda study: [[pydicom.dcmread(file) for file in series.files] for series in study.series]


@pytest.fixture(scope="session")
def dicom_study(written, read_series, tmp_path_factory: pytest.TempPathFactory) -> OpenStudy:
    """The written study as the server opens it, without registration; read only."""
    cache = StudyCache(tmp_path_factory.mktemp("cache"), register="none")
    cache.add(written.uid, read_series(written))
    return cache.load(written.uid)


@pytest.fixture
def folder_study(dataset_dir: Path) -> OpenStudy:
    """``liver-01`` of the tiny dataset."""
    return FolderSource(dataset_dir).open("liver-01")


@pytest.fixture(scope="session")
def draw() -> Callable[[OpenStudy], np.ndarray]:
    """A mask on a study's reference grid: an HCC of 180 voxels and a hemangioma of 24, with no symmetry."""

    def drawn(study: OpenStudy) -> np.ndarray:
        mask = np.zeros(study.grid(study.reference).shape, dtype=np.uint8)
        mask[8:14, 12:22, 3:6] = 2
        mask[30:33, 5:9, 8:10] = 1
        return mask

    return drawn
