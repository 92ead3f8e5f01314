from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from scripts.studies.dicom.coverage import coverage

SHAPE = (24, 20, 10)
SPACING_MM = (3.0, 2.5, 6.0)


@pytest.fixture
def affine() -> np.ndarray:
    """Left, posterior, superior, tilted."""
    affine = np.eye(4)
    rotation = Rotation.from_euler("xz", [12, 7], degrees=True).as_matrix()
    affine[:3, :3] = rotation @ np.diag([-SPACING_MM[0], -SPACING_MM[1], SPACING_MM[2]])
    affine[:3, 3] = (130.0, 95.0, -240.0)
    return affine


def moved(affine: np.ndarray, voxels: tuple[float, float, float]) -> np.ndarray:
    """The same grid with its first voxel elsewhere."""
    shifted = affine.copy()
    shifted[:3, 3] += affine[:3, :3] @ np.array(voxels)
    return shifted


def test_no_overlap_at_all(affine: np.ndarray) -> None:
    found = coverage(SHAPE, moved(affine, (0, 0, 50)), SHAPE, affine)
    assert found.share == 0.0
    assert found.missing_mm == {}


def test_the_same_grid_covers_everything(affine: np.ndarray) -> None:
    found = coverage(SHAPE, affine, SHAPE, affine)
    assert (found.share, found.missing_mm) == (1.0, {})
    assert str(found) == "100 % of the arterial volume"


@pytest.mark.parametrize(
    ("voxels", "side", "missing_mm"),
    [
        ((0, 0, 2), "feet", 12.0),
        ((0, 0, -3), "head", 18.0),
        ((4, 0, 0), "right", 12.0),
        ((-4, 0, 0), "left", 12.0),
        ((0, 2, 0), "front", 5.0),
        ((0, -2, 0), "back", 5.0),
    ],
)
def test_the_side_that_is_missing(
    voxels: tuple[int, int, int], side: str, missing_mm: float, affine: np.ndarray
) -> None:
    found = coverage(SHAPE, moved(affine, voxels), SHAPE, affine)
    assert found.missing_mm == {side: missing_mm}
    axis = int(np.argmax(np.abs(voxels)))
    assert found.share == pytest.approx(1 - abs(voxels[axis]) / SHAPE[axis], abs=1e-4)
    assert str(found).endswith(f"missing {missing_mm:.0f} mm at the {side}")


def test_a_larger_and_coarser_volume_covers_a_smaller_one(affine: np.ndarray) -> None:
    large = np.diag([-10.0, -10.0, 10.0, 1.0])
    large[:3, 3] = (250, 250, -400)
    assert coverage((50, 50, 40), large, SHAPE, affine).share == 1.0


def test_a_fine_grid_is_sampled_within_a_per_cent(affine: np.ndarray) -> None:
    fine = affine @ np.diag([0.1, 0.1, 1.0, 1.0])
    found = coverage((240, 200, 10), moved(fine, (60, 0, 0)), (240, 200, 10), fine)
    assert found.share == pytest.approx(0.75, abs=0.01)
