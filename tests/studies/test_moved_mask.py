"""Masks along a displacement: nothing to move, known motions on other grids, small lesions, the way there and back."""

import numpy as np
import pytest
from nibabel.affines import apply_affine
from scipy import ndimage
from scipy.spatial.transform import Rotation

from scripts.studies.displacement import NODE_MM, Displacement
from scripts.studies.moved_mask import mask_on_phase, mask_on_reference

SHAPE = (80, 70, 30)


def oblique(spacing_mm=(2.0, 2.2, 5.0), angles_deg=(12.0, -8.0, 20.0), flips=(-1, 1, 1), centre_mm=(0.0, 0.0, 0.0)):
    affine = np.eye(4)
    rotation = Rotation.from_euler("xyz", angles_deg, degrees=True).as_matrix()
    affine[:3, :3] = rotation @ np.diag(np.multiply(flips, spacing_mm))
    affine[:3, 3] = centre_mm - affine[:3, :3] @ (np.array(SHAPE) - 1) / 2
    return affine


def displaced(motion) -> Displacement:
    """A motion of places, known on nodes around the whole of the grids below."""
    affine = np.diag([NODE_MM, NODE_MM, NODE_MM, 1.0])
    affine[:3, 3] = -12 * NODE_MM
    places_mm = apply_affine(affine, np.moveaxis(np.indices((25, 25, 25)), 0, -1))
    return Displacement((motion(places_mm) - places_mm).astype(np.float32), affine)


def by(*shift_mm):
    return displaced(lambda places_mm: places_mm + shift_mm)


def rigid(places_mm):
    return places_mm @ Rotation.from_euler("xyz", (2.0, -1.5, 3.0), degrees=True).as_matrix().T + (4.0, -6.0, 9.0)


def twist(places_mm):
    """Turned about the body's axis by an angle that changes along it; the opposite angle is the way back."""
    x, y, z = np.moveaxis(places_mm, -1, 0)
    angle = 0.12 * np.sin(z / 60.0)
    return np.stack([x * np.cos(angle) - y * np.sin(angle), x * np.sin(angle) + y * np.cos(angle), z], -1)


def untwist(places_mm):
    return twist(places_mm * (1, -1, 1)) * (1, -1, 1)


def ball(affine, centre_mm, radius_mm, shape=SHAPE, where=lambda places_mm: places_mm):
    """Voxels whose place, or where that is found, lies in a ball."""
    places_mm = where(apply_affine(affine, np.moveaxis(np.indices(shape), 0, -1)))
    return np.linalg.norm(places_mm - centre_mm, axis=-1) <= radius_mm


LESIONS = (((20.0, -25.0, 10.0), 16.0, 2), ((-30.0, 28.0, -24.0), 13.0, 1))


def drawn(affine, shape=SHAPE, where=lambda places_mm: places_mm):
    mask = np.zeros(shape, np.uint8)
    for centre_mm, radius_mm, value in LESIONS:
        mask[ball(affine, centre_mm, radius_mm, shape, where)] = value
    return mask


def dice(one, other):
    return 2 * np.count_nonzero(one & other) / (np.count_nonzero(one) + np.count_nonzero(other))


# Nothing to move.


def test_an_empty_mask_stays_empty():
    empty = np.zeros(SHAPE, np.uint8)
    for move in (mask_on_phase, mask_on_reference):
        moved = move(empty, oblique(), shape=(10, 11, 12), target=oblique(), displacement=by(5.0, 0.0, 0.0))
        assert moved.shape == (10, 11, 12)
        assert moved.dtype == np.uint8
        assert not moved.any()


def test_what_lies_outside_the_other_grid_is_left_out():
    far = oblique(centre_mm=(0.0, 0.0, 900.0))
    for move in (mask_on_phase, mask_on_reference):
        moved = move(drawn(oblique()), oblique(), shape=SHAPE, target=far, displacement=by(5.0, 0.0, 0.0))
        assert not moved.any()


def test_no_motion_on_the_same_grid_changes_nothing():
    mask = drawn(oblique())
    for move in (mask_on_phase, mask_on_reference):
        moved = move(mask, oblique(), shape=SHAPE, target=oblique(), displacement=by(0.0, 0.0, 0.0))
        np.testing.assert_array_equal(moved, mask)


# Known motions.


def test_a_shift_by_whole_voxels_is_exact_and_its_sign_is_the_phase_s():
    affine = oblique()
    mask, shift = drawn(affine), np.array([3, -2, 1])
    moved = mask_on_phase(mask, affine, shape=SHAPE, target=affine, displacement=by(*(affine[:3, :3] @ shift)))
    np.testing.assert_array_equal(moved, np.roll(mask, shift, (0, 1, 2)))
    back = mask_on_reference(moved, affine, shape=SHAPE, target=affine, displacement=by(*(affine[:3, :3] @ shift)))
    np.testing.assert_array_equal(back, mask)


PHASE_GRIDS = {
    "the same": (SHAPE, oblique()),
    "finer": ((170, 160, 60), oblique((1.1, 1.1, 2.6), (0.0, 0.0, 0.0), (-1, -1, 1), (90.0, 80.0, -70.0))),
    "turned": ((84, 76, 32), oblique((2.1, 2.1, 4.6), (-6.0, 9.0, 4.0), (1, 1, -1), (3.0, 4.0, 5.0))),
}


def centred(shape, affine):
    affine = affine.copy()
    affine[:3, 3] = -affine[:3, :3] @ (np.array(shape) - 1) / 2
    return affine


@pytest.mark.parametrize("grid", PHASE_GRIDS)
@pytest.mark.parametrize(("motion", "back"), [(rigid, None), (twist, untwist)])
def test_the_mask_lies_where_the_motion_takes_the_lesion(motion, back, grid):
    shape, affine = PHASE_GRIDS[grid]
    affine = centred(shape, affine)
    displacement = displaced(motion)
    moved = mask_on_phase(drawn(oblique()), oblique(), shape=shape, target=affine, displacement=displacement)
    # The truth needs no fixed-point iteration: the inverse is known in closed form.
    turn = Rotation.from_euler("xyz", (2.0, -1.5, 3.0), degrees=True).as_matrix()
    truth = drawn(affine, shape, back or (lambda places_mm: (places_mm - (4.0, -6.0, 9.0)) @ turn))
    again = mask_on_reference(moved, affine, shape=SHAPE, target=oblique(), displacement=displacement)
    for _, _, value in LESIONS:
        before, there, back_again = drawn(oblique()) == value, moved == value, again == value
        assert dice(there, truth == value) > 0.9
        expected = motion(apply_affine(oblique(), ndimage.center_of_mass(before)))
        assert np.linalg.norm(apply_affine(affine, ndimage.center_of_mass(there)) - expected) < 0.7
        assert dice(back_again, before) > 0.95


# Small lesions.


@pytest.mark.parametrize("factor", [1, 2, 3])
def test_no_lesion_is_lost_between_the_voxels(factor):
    """Single voxels at every place between those of a coarser grid, where most of them are nearest to none."""
    affine = oblique()
    coarse = affine @ np.diag([factor, factor, 1, 1])
    mask = np.zeros(SHAPE, np.uint8)
    mask[8:72:15, 8:60:16, 4:26:7] = 2
    mask[8, 8, 4] = 1
    displacement = by(1.3, -2.2, 1.7)
    shape = tuple(-(-n // f) for n, f in zip(SHAPE, (factor, factor, 1), strict=True))
    moved = mask_on_phase(mask, affine, shape=shape, target=coarse, displacement=displacement)
    assert ndimage.label(moved, np.ones((3, 3, 3)))[1] == np.count_nonzero(mask) > 60
    assert np.count_nonzero(moved == 1) == 1
    there = displacement.to_phase(apply_affine(affine, np.argwhere(mask)))
    nearest = np.rint(apply_affine(np.linalg.inv(coarse), there)).astype(int)
    near = ndimage.binary_dilation(moved, np.ones((3, 3, 3)))
    assert near[tuple(nearest.T)].all()


def test_a_lesion_that_leaves_the_grid_is_not_put_back_on_its_edge():
    affine = oblique()
    mask = np.zeros(SHAPE, np.uint8)
    mask[40, 35, 0] = 1
    moved = mask_on_phase(
        mask, affine, shape=SHAPE, target=affine, displacement=by(*(affine[:3, :3] @ (0.0, 0.0, -2.0)))
    )
    assert not moved.any()


@pytest.mark.parametrize("radius_mm", [3.0, 5.0, 8.0])
def test_a_small_lesion_keeps_its_volume_and_its_place(radius_mm):
    """Between slices of 5 mm, where copied voxels would be off by half of that."""
    affine, random = oblique((1.5, 1.5, 5.0)), np.random.default_rng(1)
    for _ in range(5):
        lesion = ball(affine, random.uniform(-20, 20, 3), radius_mm).astype(np.uint8)
        shift_mm = random.uniform(-8, 8, 3)
        moved = mask_on_phase(lesion, affine, shape=SHAPE, target=affine, displacement=by(*shift_mm))
        assert abs(int(moved.sum()) - int(lesion.sum())) <= max(1, 0.1 * lesion.sum())
        centres = [apply_affine(affine, ndimage.center_of_mass(each)) for each in (lesion, moved)]
        assert np.linalg.norm(centres[1] - centres[0] - shift_mm) < 2.0
        back = mask_on_reference(moved, affine, shape=SHAPE, target=affine, displacement=by(*shift_mm))
        assert dice(back > 0, lesion > 0) > 0.6  # of a few voxels


def test_speckle_moves_as_one_and_in_time():
    affine = oblique()
    mask = (np.random.default_rng(2).random(SHAPE) > 0.98).astype(np.uint8)
    assert ndimage.label(mask, np.ones((3, 3, 3)))[1] > 200
    moved = mask_on_phase(
        mask, affine, shape=SHAPE, target=affine, displacement=by(*(affine[:3, :3] @ (0.0, 2.0, 0.0)))
    )
    np.testing.assert_array_equal(moved[:, 2:], mask[:, :-2])
