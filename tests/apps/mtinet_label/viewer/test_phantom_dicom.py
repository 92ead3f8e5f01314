from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from lib.demonstration import phantom_dicom
from scripts.phantom.grid import abdominal_grid
from scripts.phantom.subject import PhantomStudy, make_study
from scripts.studies.dicom.importing import import_studies
from scripts.studies.layout import read_dataset

SHAPE = (40, 32, 10)


@pytest.fixture(scope="module")
def study() -> PhantomStudy:
    """A small HCC."""
    return make_study(np.random.SeedSequence(3), "hcc", abdominal_grid(SHAPE))


@pytest.fixture(scope="module")
def slices(study: PhantomStudy) -> dict[int, list[Dataset]]:
    """Its files by SeriesNumber."""
    by_series = defaultdict(list)
    for dataset in phantom_dicom.datasets(study, name="phantom-x"):
        by_series[dataset.SeriesNumber].append(dataset)
    return dict(by_series)


def test_an_interrupted_run_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(phantom_dicom, "datasets", interrupted)

    with pytest.raises(KeyboardInterrupt):
        phantom_dicom.write_studies(tmp_path / "studies", seed=1, shape=SHAPE)

    assert list(tmp_path.iterdir()) == []


def test_four_series_of_one_study(slices: dict[int, list[Dataset]]) -> None:
    every = [dataset for series in slices.values() for dataset in series]

    assert [len(series) for series in slices.values()] == [10, 10, 10, 10]
    assert len({dataset.StudyInstanceUID for dataset in every}) == 1
    assert len({dataset.SOPInstanceUID for dataset in every}) == 40
    assert len({dataset.FrameOfReferenceUID for dataset in every}) == 1


def test_every_voxel_is_where_the_phantom_has_it(study: PhantomStudy, slices: dict[int, list[Dataset]]) -> None:
    i, j, k = 12, 25, 6
    world = (study.affine @ (i, j, k, 1))[:3] * (-1, -1, 1)

    found = []
    for series in slices.values():
        dataset = min(series, key=lambda one: abs(float(one.ImagePositionPatient[2]) - world[2]))
        row_spacing, column_spacing = map(float, dataset.PixelSpacing)
        offset = world - np.array(dataset.ImagePositionPatient, float)
        directions = np.array(dataset.ImageOrientationPatient, float).reshape(2, 3)
        column = round(directions[0] @ offset / column_spacing)
        row = round(directions[1] @ offset / row_spacing)
        found.append(dataset.pixel_array[row, column])

    assert found == list(study.image[:, i, j, k])


def test_the_same_seed_writes_the_same_studies(tmp_path: Path) -> None:
    for name in ("one", "other"):
        phantom_dicom.write_studies(tmp_path / name, seed=4, classes=("hemangioma",), shape=SHAPE)

    files = sorted(file.relative_to(tmp_path / "one") for file in (tmp_path / "one").rglob("*.dcm"))
    assert len(files) == 40
    assert all((tmp_path / "one" / file).read_bytes() == (tmp_path / "other" / file).read_bytes() for file in files)


def test_the_import_understands_them(tmp_path: Path) -> None:
    phantom_dicom.write_studies(tmp_path / "dicom", seed=4, classes=("hcc",), shape=SHAPE)
    (folder,) = (tmp_path / "dicom").iterdir()
    study = make_study(np.random.SeedSequence(4, spawn_key=(1,)), "hcc", abdominal_grid(SHAPE))
    first = pydicom.dcmread(next(folder.iterdir()))

    assert first.PatientName == "Phantom^phantom-1.0-4-1"
    import_studies(tmp_path / "dicom", tmp_path / "out", register="none", keep_identity=True, progress=False)
    (case,) = read_dataset(tmp_path / "out")
    assert case.times_s == pytest.approx(study.times_s, abs=0.02)
