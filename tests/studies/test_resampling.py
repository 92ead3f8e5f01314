"""Onto the reference grid: wrong input, parity with nibabel and SciPy, places in mm."""

import nibabel as nib
import numpy as np
import pytest
from nibabel.affines import apply_affine
from nibabel.processing import resample_from_to
from scipy import ndimage
from scipy.spatial.transform import Rotation

from scripts.domain.errors import StudyError
from scripts.studies.resampling import resample, resample_displaced

SHAPE = (24, 20, 10)


def oblique(spacing_mm=(3.0, 2.5, 6.0), angles_deg=(12.0, -8.0, 20.0), origin_mm=(31.0, -47.0, 83.0), flips=(-1, 1, 1)):
    affine = np.eye(4)
    rotation = Rotation.from_euler("xyz", angles_deg, degrees=True).as_matrix()
    affine[:3, :3] = rotation @ np.diag(np.multiply(flips, spacing_mm))
    affine[:3, 3] = origin_mm
    return affine


def over_it(affine, shape):
    """The affine of a grid, moved to 10 mm beside the centre of the volume of SHAPE on the oblique grid."""
    centre_mm, own_mm = (apply_affine(a, (np.array(s) - 1) / 2) for a, s in ((oblique(), SHAPE), (affine, shape)))
    affine = affine.copy()
    affine[:3, 3] += centre_mm - own_mm + (10.0, 0.0, 0.0)
    return affine


@pytest.fixture(scope="module")
def volume():
    return ndimage.gaussian_filter(np.random.default_rng(0).random(SHAPE, np.float32), 1.5) * 1000


@pytest.mark.parametrize("spoilt", ["phase", "reference"])
def test_an_affine_without_an_inverse_is_refused(volume, spoilt):
    flat = oblique(spacing_mm=(3.0, 2.5, 0.0))
    affines = (flat, oblique()) if spoilt == "phase" else (oblique(), flat)
    with pytest.raises(StudyError, match=f"{spoilt}: the affine has no inverse"):
        resample(volume, affines[0], volume.shape, affines[1])


def test_four_axes_are_no_volume(volume):
    with pytest.raises(StudyError, match=r"phase: an array of shape \(1, 24, 20, 10\) is no volume"):
        resample(volume[None], oblique(), SHAPE, oblique())


def test_the_same_grid_keeps_every_bit(volume):
    image, inside = resample(volume, oblique(), SHAPE, oblique())
    np.testing.assert_array_equal(image, volume)
    assert inside.all()


def test_resampling_is_nibabels_where_the_volume_reaches(volume):
    shape = (28, 26, 8)
    fixed_affine = over_it(oblique(spacing_mm=(2.0, 2.0, 5.0), angles_deg=(-5.0, 3.0, 0.0), flips=(1, -1, 1)), shape)
    image, inside = resample(volume, oblique(), shape, fixed_affine)
    expected = resample_from_to(nib.Nifti1Image(volume, oblique()), (shape, fixed_affine), order=1, cval=-1.0)
    between_centres = np.asarray(expected.dataobj) >= 0
    assert image.dtype == np.float32
    assert 0.05 < between_centres.mean() < 0.95
    assert inside[between_centres].all()
    np.testing.assert_allclose(image[between_centres], np.asarray(expected.dataobj)[between_centres], rtol=1e-3)
    assert not image[~inside].any()


def test_it_reaches_as_far_as_the_faces_of_the_outermost_voxels(volume):
    fixed_affine = oblique(spacing_mm=(2.0, 2.0, 5.0), angles_deg=(-5.0, 3.0, 0.0))
    _, inside = resample(volume, oblique(), SHAPE, fixed_affine)
    index = apply_affine(np.linalg.inv(oblique()) @ fixed_affine, np.moveaxis(np.indices(SHAPE), 0, -1))
    expected = np.all(np.abs(index - (np.array(SHAPE) - 1) / 2) <= np.array(SHAPE) / 2, axis=-1)
    assert 0.1 < expected.mean() < 0.95
    np.testing.assert_array_equal(inside, expected)


def test_a_marker_is_found_again_in_mm(volume):
    marked = np.zeros(SHAPE, np.float32)
    marked[17, 6, 4] = 1.0
    fixed_affine = oblique(spacing_mm=(1.0, 1.0, 2.0), angles_deg=(0.0, 0.0, 0.0), origin_mm=(0.0, 0.0, 0.0))
    place_mm = apply_affine(oblique(), (17, 6, 4))
    fixed_affine[:3, 3] = place_mm - fixed_affine[:3, :3] @ (10.0, 9.0, 8.0)
    image, _ = resample(marked, oblique(), (21, 19, 17), fixed_affine)
    assert np.unravel_index(image.argmax(), image.shape) == (10, 9, 8)
    assert image.max() == pytest.approx(1.0, abs=1e-4)


def test_no_displacement_is_the_geometry_alone(volume):
    shape = (28, 26, 19)
    fixed_affine = over_it(oblique(spacing_mm=(2.0, 2.0, 3.0), angles_deg=(-5.0, 3.0, 0.0), flips=(1, -1, 1)), shape)
    expected, inside = resample(volume, oblique(), shape, fixed_affine)
    got = resample_displaced(volume, oblique(), shape, fixed_affine, np.zeros((10, 7, 19, 3), np.float32), (3, 4, 1))
    assert got.dtype == np.float32
    assert 0.05 < inside.mean() < 0.95
    np.testing.assert_array_equal(got != 0, expected != 0)
    np.testing.assert_allclose(got, expected, atol=0.05)


@pytest.mark.parametrize("steps", [(1, 1, 1), (3, 4, 1), (24, 2, 3)])
def test_a_displacement_is_read_at_the_displaced_places(volume, steps):
    """A field that is linear in the voxel index, known on some voxels, is known on all; independent: SciPy in mm."""
    shape = (20, 18, 9)
    fixed_affine = over_it(oblique(spacing_mm=(2.0, 2.0, 5.0), angles_deg=(-5.0, 3.0, 0.0), flips=(1, -1, 1)), shape)
    index = np.moveaxis(np.indices(shape), 0, -1)
    slopes = np.array([[0.2, 0.1, 0.0], [0.1, -0.3, 0.4], [0.0, 0.2, 0.5]])
    # One known voxel along an axis tells of no change along it.
    slopes[0] *= steps[0] < shape[0]
    field_mm = (index @ slopes + (4.0, -3.0, 7.0)).astype(np.float32)
    known = field_mm[tuple(slice(None, None, step) for step in steps)]
    got = resample_displaced(volume, oblique(), shape, fixed_affine, known, steps)
    places_mm = apply_affine(fixed_affine, index) + field_mm
    position = np.moveaxis(apply_affine(np.linalg.inv(oblique()), places_mm), -1, 0)
    expected = ndimage.map_coordinates(volume, position, order=1, mode="nearest")
    sizes = np.array(SHAPE).reshape(3, 1, 1, 1)
    inside = np.all((position > -0.49) & (position < sizes - 0.51), axis=0)
    outside = np.any((position < -0.51) | (position > sizes - 0.49), axis=0)
    assert inside.any()
    assert outside.any()
    np.testing.assert_allclose(got[inside], expected[inside], rtol=1e-3)
    assert not got[outside].any()
