from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from scripts.studies.layout import read_dataset
from scripts.studies.network_grid import FIELD_OF_VIEW_MM, NetworkGrid
from scripts.studies.reading import read_study

GRIDS = [
    NetworkGrid((96, 80, 20), (3.0, 2.5, 6.0), 2, 128),  # axial, anisotropic
    NetworkGrid((96, 80, 20), (3.0, 2.5, 6.0), 2, 256),
    NetworkGrid((256, 250, 12), (1.5, 1.5, 5.0), 2, 128),  # minified twice
    NetworkGrid((97, 18, 81), (2.1, 7.0, 2.6), 1, 128),  # coronal, odd sizes
    NetworkGrid((16, 75, 110), (6.5, 2.2, 1.9), 0, 128),  # sagittal
    NetworkGrid((120, 90, 10), (4.2, 4.0, 8.0), 2, 128),  # larger than the field of view: cropped
]


def _centred_mm(size: int, spacing_mm: float) -> np.ndarray:
    return (np.arange(size) - (size - 1) / 2) * spacing_mm


def _blob(grid: NetworkGrid, at_mm: tuple[float, float, float], sigma_mm: float) -> np.ndarray:
    """A Gaussian in the mm of the volume's own axes, origin in its centre."""
    axes = [_centred_mm(n, d) - m for n, d, m in zip(grid.shape, grid.spacing_mm, at_mm, strict=True)]
    x, y, z = np.meshgrid(*axes, indexing="ij")
    return np.exp(-(x**2 + y**2 + z**2) / (2 * sigma_mm**2)).astype(np.float32)


@pytest.mark.parametrize("grid", GRIDS)
def test_a_marker_keeps_its_place_in_mm_there_and_back(grid: NetworkGrid) -> None:
    at_mm = (-31.0, 22.0, 17.0)
    # Narrow: two native voxels in-plane, so that a shift by half a voxel would show.
    marker = _blob(grid, at_mm, sigma_mm=5.0)
    slices = grid.to_slices(marker[None])
    count = grid.shape[grid.slice_axis]
    assert slices.shape == (count, 1, grid.size, grid.size)
    centre = ndimage.center_of_mass(slices[:, 0])
    spacing_mm = (grid.spacing_mm[grid.slice_axis], grid.pixel_mm, grid.pixel_mm)
    sizes = (count, grid.size, grid.size)
    found_mm = [(c - (n - 1) / 2) * d for c, n, d in zip(centre, sizes, spacing_mm, strict=True)]
    expected_mm = [at_mm[axis] for axis in (grid.slice_axis, *grid.in_plane_axes)]
    np.testing.assert_allclose(found_mm[1:], expected_mm[1:], atol=0.25 * grid.pixel_mm)
    back = grid.to_volume(slices[:, 0])
    assert back.shape == grid.shape
    moved = np.subtract(ndimage.center_of_mass(back), ndimage.center_of_mass(marker))
    np.testing.assert_allclose(moved, 0.0, atol=0.1)


@pytest.mark.parametrize("grid", GRIDS)
def test_a_smooth_blob_survives_the_round_trip(grid: NetworkGrid) -> None:
    blob = _blob(grid, (12.0, -18.0, 9.0), sigma_mm=25.0)
    back = grid.to_volume(grid.to_slices(blob[None])[:, 0])
    assert np.abs(back - blob).max() < 0.02


@pytest.mark.parametrize("grid", GRIDS)
def test_a_constant_stays_constant_inside_and_is_air_outside(grid: NetworkGrid) -> None:
    slices = grid.to_slices(np.full((2, *grid.shape), 7.0, np.float32))
    pixel_mm = np.abs(_centred_mm(grid.size, grid.pixel_mm))
    inside = [pixel_mm <= grid.shape[axis] * grid.spacing_mm[axis] / 2 for axis in grid.in_plane_axes]
    expected = np.where(np.logical_and.outer(*inside), 7.0, 0.0)
    np.testing.assert_allclose(slices, np.broadcast_to(expected, slices.shape), atol=1e-5)


@pytest.mark.parametrize(("shape", "slice_axis"), [((128, 128, 9), 2), ((128, 9, 128), 1), ((9, 128, 128), 0)])
def test_a_study_on_the_network_grid_already_is_copied_bit_by_bit(shape: tuple[int, ...], slice_axis: int) -> None:
    spacing_mm = tuple(5.0 if axis == slice_axis else 3.0 for axis in range(3))
    grid = NetworkGrid(shape, spacing_mm, slice_axis, 128)
    image = np.random.default_rng(0).normal(size=(4, *shape)).astype(np.float32)
    slices = grid.to_slices(image)
    np.testing.assert_array_equal(slices[3], image.take(3, axis=slice_axis + 1))
    np.testing.assert_array_equal(grid.to_volume(slices[:, 2]), image[2])


def test_equal_spacing_only_pads_or_crops() -> None:
    image = np.random.default_rng(0).normal(size=(1, 96, 140, 3)).astype(np.float32)
    slices = NetworkGrid((96, 140, 3), (3.0, 3.0, 5.0), 2, 128).to_slices(image)
    np.testing.assert_array_equal(slices[1, 0, 16:112], image[0, :, 6:134, 1])
    assert not slices[:, :, :16].any()
    assert not slices[:, :, 112:].any()


def test_minifying_averages_instead_of_skipping() -> None:
    rng = np.random.default_rng(0)
    grid = NetworkGrid((256, 256, 4), (1.5, 1.5, 5.0), 2, 64)
    slices = grid.to_slices(rng.normal(size=(1, *grid.shape)).astype(np.float32))
    # White noise under a triangle filter four samples wide either way: Σw² = 1/4 · (2/3 + 1/(3·16)) per axis.
    expected = (2 / 3 + 1 / 48) / 4
    assert slices[:, :, 4:-4, 4:-4].std() == pytest.approx(expected, rel=0.05)


def test_axes_keep_their_ascending_order() -> None:
    image = np.zeros((1, 64, 10, 48), np.float32)
    image[0, 5, 7, 40] = 1.0
    slices = NetworkGrid((64, 10, 48), (6.0, 8.0, 8.0), 1, 64).to_slices(image)[:, 0]
    where = np.unravel_index(np.argmax(slices), slices.shape)
    assert where[:2] == (7, 5)
    assert where[2] == pytest.approx((40 - 23.5) * 8.0 / 6.0 + 31.5, abs=1.0)


def test_a_marker_of_an_oblique_study_comes_back_to_its_world_place(dataset_dir: Path) -> None:
    study = read_study(read_dataset(dataset_dir)[0])
    grid = NetworkGrid.of(study, 128)
    assert grid.pixel_mm == FIELD_OF_VIEW_MM / 128
    lesion = (study.label > 0).astype(np.float32)
    back = grid.to_volume(grid.to_slices(lesion[None])[:, 0]) >= 0.5
    world = [nib.affines.apply_affine(study.affine, np.argwhere(mask).mean(axis=0)) for mask in (lesion > 0, back)]
    np.testing.assert_allclose(world[0], world[1], atol=0.5 * min(study.spacing_mm))
    assert 2 * (back & (lesion > 0)).sum() / (back.sum() + lesion.sum()) > 0.9
