"""An answer on the grid of whichever series was asked for, of a tilted study from DICOM, and the way back."""

from dataclasses import replace
from pathlib import Path

import nibabel as nib
import nrrd as pynrrd
import numpy as np
import pytest
from nibabel.affines import apply_affine

from lib.answers import write_answer
from lib.drawn_mask import read_mask
from lib.grids import reference_grid
from lib.studies.study import OpenStudy, ViewerGrid

_FINER, _SHIFTED, _TURNED, _OBLIQUE = "1.2.1", "1.2.2", "1.2.3", "1.2.4"


@pytest.fixture(scope="module")
def study(dicom_study: OpenStudy) -> OpenStudy:
    """With series beside its own whose grids differ as those of phases do: finer, shifted, turned, at another angle."""
    (columns, rows, slices), affine = (lambda grid: (grid.shape, grid.affine))(dicom_study.grid(None))
    oblique = np.eye(4)
    oblique[:3, :3] = [[np.cos(0.1), -np.sin(0.1), 0], [np.sin(0.1), np.cos(0.1), 0], [0, 0, 1]]
    others = {
        _FINER: ViewerGrid((2 * columns, 2 * rows, slices), affine @ _scaled(0.5, 0.5, 1.0, start=(-0.25, -0.25, 0.0))),
        _SHIFTED: ViewerGrid((columns + 6, rows - 3, slices + 2), affine @ _scaled(1, 1, 1, start=(-4, 2, -1))),
        _TURNED: ViewerGrid((rows, columns, slices), affine @ np.eye(4)[:, [1, 0, 2, 3]]),
        _OBLIQUE: ViewerGrid((columns, rows, slices), affine @ oblique),
    }
    return replace(dicom_study, series={**dicom_study.series, **others})


def _scaled(*factors: float, start: tuple[float, float, float]) -> np.ndarray:
    affine = np.diag([*factors, 1.0])
    affine[:3, 3] = start
    return affine


def _read(file: Path) -> tuple[np.ndarray, np.ndarray]:
    """Voxels and affine as a program of others reads them."""
    if file.suffix == ".nrrd":
        voxels, header = pynrrd.read(str(file))
        affine = np.eye(4)
        affine[:3, :3], affine[:3, 3] = header["space directions"].T, header["space origin"]
        return voxels, np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    image = nib.load(file)
    return np.asarray(image.dataobj), image.affine


@pytest.mark.parametrize("extension", [".nrrd", ".nii.gz"])
def test_every_voxel_is_that_of_its_place_in_the_body(study, draw, extension):
    mask = draw(study)
    _, reference = reference_grid(study)
    for series, grid in study.series.items():
        file = write_answer(mask, study, series, extension=extension)
        try:
            voxels, affine = _read(file)
        finally:
            file.unlink()
        assert voxels.shape == grid.shape
        np.testing.assert_allclose(affine, grid.affine, atol=1e-3)
        place = apply_affine(np.linalg.inv(reference) @ grid.affine, np.argwhere(np.ones(grid.shape, bool)))
        clear = (np.abs(place - np.floor(place) - 0.5) > 1e-3).all(axis=1)
        index = np.floor(place + 0.5).astype(int)
        inside = (index >= 0).all(axis=1) & (index < mask.shape).all(axis=1)
        expected = np.zeros(len(place), np.uint8)
        expected[inside] = mask[tuple(index[inside].T)]
        assert set(expected) == {0, 1, 2}
        np.testing.assert_array_equal(voxels.ravel()[clear], expected[clear])


@pytest.mark.parametrize("series", [_FINER, _SHIFTED, _TURNED])
@pytest.mark.parametrize("kind", ["file", "bytes"])
def test_what_was_shown_comes_back_as_it_was(study, draw, series, kind):
    file = write_answer(draw(study), study, series, extension=".nrrd")
    try:
        content = file.read_bytes() if kind == "file" else _read(file)[0].tobytes(order="F")
    finally:
        file.unlink()
    np.testing.assert_array_equal(read_mask(content, study, series), draw(study))
