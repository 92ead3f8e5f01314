"""Registration: wrong input, known motions, and what is dropped."""

import os

import numpy as np
import pytest
from nibabel.affines import apply_affine
from scipy import ndimage
from scipy.spatial.transform import Rotation

from scripts.domain.errors import ConfigurationError, StudyError
from scripts.phantom.grid import abdominal_grid
from scripts.phantom.subject import make_study
from scripts.studies import registration
from scripts.studies.elastix import NoMotionFoundError
from scripts.studies.registration import Registered, jacobian_determinant, register
from scripts.studies.resampling import resample

SHAPE = (24, 20, 10)


def oblique(spacing_mm=(3.0, 2.5, 6.0), angles_deg=(12.0, -8.0, 20.0), origin_mm=(31.0, -47.0, 83.0), flips=(-1, 1, 1)):
    affine = np.eye(4)
    rotation = Rotation.from_euler("xyz", angles_deg, degrees=True).as_matrix()
    affine[:3, :3] = rotation @ np.diag(np.multiply(flips, spacing_mm))
    affine[:3, 3] = origin_mm
    return affine


def turned(*angles_deg):
    """A rotation of the world about its origin, ``(4, 4)``."""
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", angles_deg, degrees=True).as_matrix()
    return matrix


def moved_by(*shift_mm):
    matrix = np.eye(4)
    matrix[:3, 3] = shift_mm
    return matrix


@pytest.fixture(scope="module")
def volume():
    return ndimage.gaussian_filter(np.random.default_rng(0).random(SHAPE, np.float32), 1.5) * 1000


@pytest.fixture(scope="module")
def phantom():
    """A study of 6 x 6.4 x 5 mm voxels whose phases are 5 mm apart."""
    return make_study(np.random.SeedSequence(3), "hcc", abdominal_grid((64, 60, 32)), shift_mm=5.0)


@pytest.fixture(scope="module")
def deformable(phantom):
    return register(phantom.image[2], phantom.affine, phantom.image[1], phantom.affine, method="deformable")


def assert_moved_by(image: np.ndarray, phantom, shift_mm) -> None:
    """A translation is the geometry alone in a world moved by it."""
    expected, _ = resample(
        phantom.image[2], moved_by(*np.negative(shift_mm)) @ phantom.affine, phantom.image.shape[1:], phantom.affine
    )
    np.testing.assert_allclose(image, expected, atol=0.5)


def error_mm(registered: Registered, shift_mm, inside: np.ndarray) -> float:
    """Median distance from a known shift, in mm."""
    coarse = tuple(slice(None, None, step) for step in registered.steps)
    return float(np.median(np.linalg.norm(registered.field_mm - np.asarray(shift_mm), axis=-1)[inside[coarse] > 0]))


# Wrong input.


@pytest.mark.parametrize("method", ["none", "affine", ""])
def test_another_method_is_refused(volume, method):
    with pytest.raises(ConfigurationError, match=r"is unknown\. Use rigid or deformable, and resample\(\) for none"):
        register(volume, oblique(), volume, oblique(), method=method)


def test_four_axes_are_no_volume(volume):
    with pytest.raises(StudyError, match=r"phase: an array of shape \(1, 24, 20, 10\) is no volume"):
        register(volume[None], oblique(), volume, oblique(), method="rigid")


@pytest.mark.parametrize("spoilt", ["phase", "reference"])
def test_an_affine_without_an_inverse_is_refused(volume, spoilt):
    flat = oblique(spacing_mm=(3.0, 2.5, 0.0))
    affines = (flat, oblique()) if spoilt == "phase" else (oblique(), flat)
    with pytest.raises(StudyError, match=f"{spoilt}: the affine has no inverse"):
        register(volume, affines[0], volume, affines[1], method="rigid")


def test_constant_volumes_and_such_with_holes_in_their_numbers_are_refused(volume):
    holed = volume.copy()
    holed[3, 4, 5] = np.nan
    for spoilt in (np.full(SHAPE, 7.0, np.float32), holed):
        with pytest.raises(StudyError, match="phase: constant or not finite"):
            register(spoilt, oblique(), volume, oblique(), method="rigid")
        with pytest.raises(StudyError, match="reference: constant or not finite"):
            register(volume, oblique(), spoilt, oblique(), method="rigid")


def test_too_few_slices_are_refused(volume):
    with pytest.raises(StudyError, match="too few to register"):
        register(volume[..., :3], oblique(), volume, oblique(), method="rigid")


def test_two_places_of_the_body_are_refused(volume):
    with pytest.raises(StudyError, match="do not overlap"):
        register(volume, moved_by(0.0, 0.0, 500.0) @ oblique(), volume, oblique(), method="rigid")


# Known motions.


def test_breathing_of_the_phantom_is_found(phantom, deformable):
    shift_mm = phantom.truth["shifts_mm"][2]
    assert deformable.method == "deformable"
    assert deformable.kept
    assert deformable.reason == ""
    assert error_mm(deformable, shift_mm, phantom.liver) < 1.5
    assert deformable.similarity_after > deformable.similarity_before
    assert deformable.displacement_mm[0] == pytest.approx(5.0, abs=1.5)
    assert deformable.displacement_mm[0] <= deformable.displacement_mm[1] < 9.0
    assert deformable.image.shape == phantom.image.shape[1:]
    assert deformable.image.dtype == np.float32
    assert 0.9 < deformable.covered <= 1.0


def test_the_registered_phase_is_nearer_to_one_that_never_moved(phantom, deformable):
    still = make_study(np.random.SeedSequence(3), "hcc", abdominal_grid((64, 60, 32)), shift_mm=0.0)
    liver = phantom.liver > 0
    before, after = (
        np.abs(image[liver] - still.image[2][liver]).mean() for image in (phantom.image[2], deformable.image)
    )
    assert after < 0.8 * before


def test_the_same_seed_gives_the_same_bits_writes_nothing_and_says_nothing(
    phantom, deformable, tmp_path, monkeypatch, capfd
):
    monkeypatch.chdir(tmp_path)
    again = register(phantom.image[2], phantom.affine, phantom.image[1], phantom.affine, method="deformable")
    np.testing.assert_array_equal(again.image, deformable.image)
    np.testing.assert_array_equal(again.field_mm, deformable.field_mm)
    assert os.listdir(tmp_path) == []
    assert capfd.readouterr() == ("", "")


def test_another_seed_draws_other_samples(phantom):
    first, second = (
        register(phantom.image[2], phantom.affine, phantom.image[1], phantom.affine, method="rigid", seed=seed)
        for seed in (0, 1)
    )
    assert not np.array_equal(first.field_mm, second.field_mm)
    assert np.abs(first.field_mm - second.field_mm).max() < 2.0


def test_a_shift_in_an_oblique_world_is_found_in_ras(phantom):
    """The phase is stored upside down and with its axes exchanged; its world is moved, and both are turned."""
    world = turned(15.0, -20.0, 25.0)
    shift_mm = np.array([6.0, -9.0, 12.0])
    moving = phantom.image[2].transpose(2, 0, 1)[::-1]
    to_stored = np.array([[0, 0, -1, moving.shape[0] - 1], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]], float)
    moving_affine = moved_by(*shift_mm) @ world @ phantom.affine @ np.linalg.inv(to_stored)
    voxel = (40, 13, 9)
    assert moving[tuple((to_stored @ [*voxel, 1])[:3].astype(int))] == phantom.image[2][voxel]
    registered = register(moving, moving_affine, phantom.image[1], world @ phantom.affine, method="rigid")
    breathing_mm = world[:3, :3] @ phantom.truth["shifts_mm"][2]
    assert registered.method == "rigid"
    assert error_mm(registered, shift_mm + breathing_mm, phantom.liver) < 1.2


def test_a_smooth_deformation_needs_the_b_spline(phantom):
    """The moving volume is the fixed one read at ``x + w(x)``; so what is added to x solves u = -w(x + u)."""
    rng = np.random.default_rng(5)
    shape = phantom.image.shape[1:]
    spacing_mm = np.abs(np.diag(phantom.affine)[:3])
    fixed = phantom.image[1].astype(np.float32)
    w_mm = np.stack([ndimage.gaussian_filter(rng.standard_normal(shape), 45.0 / spacing_mm) for _ in range(3)])
    w_mm *= 8.0 / np.linalg.norm(w_mm, axis=0).max()
    w = w_mm / np.diag(phantom.affine)[:3].reshape(3, 1, 1, 1)
    moving = ndimage.map_coordinates(fixed, np.indices(shape) + w, order=1, mode="nearest")
    u = -w
    for _ in range(5):
        u = -np.stack([ndimage.map_coordinates(c, np.indices(shape) + u, order=1, mode="nearest") for c in w])
    truth_mm = np.moveaxis(u * np.diag(phantom.affine)[:3].reshape(3, 1, 1, 1), 0, -1)
    errors = {
        method: error_mm(
            register(moving, phantom.affine, fixed, phantom.affine, method=method), truth_mm, phantom.liver
        )
        for method in ("rigid", "deformable")
    }
    assert errors["deformable"] < 0.8 * errors["rigid"]


# What is dropped.


class FakeMotion:
    """A motion with a displacement that a test gives, on any grid."""

    def __init__(self, displacement_of_places_mm):
        self.displacement = displacement_of_places_mm

    def displacement_mm(self, shape, affine):
        places_mm = apply_affine(affine, np.moveaxis(np.indices(shape), 0, -1))
        return self.displacement(places_mm).astype(np.float32)


def constant(*shift_mm):
    return FakeMotion(lambda places_mm: np.broadcast_to(np.array(shift_mm, float), places_mm.shape))


def with_motions(monkeypatch, *motions):
    left = list(motions)
    monkeypatch.setattr(registration, "find_motion", lambda *_, **__: left.pop(0))


def of_phantom(phantom, method):
    return register(phantom.image[2], phantom.affine, phantom.image[1], phantom.affine, method=method)


def test_a_registration_that_lowers_the_similarity_is_dropped(phantom, monkeypatch):
    with_motions(monkeypatch, constant(0.0, 25.0, 0.0))
    registered = of_phantom(phantom, "rigid")
    assert registered.method == "none"
    assert not registered.kept
    assert registered.reason.startswith("rigid: the mutual information fell from ")
    assert registered.similarity_after == registered.similarity_before > 0
    assert registered.displacement_mm == (0.0, 0.0)
    assert not registered.field_mm.any()
    np.testing.assert_array_equal(registered.image, phantom.image[2])


def test_a_motion_too_far_to_be_a_breath_is_dropped(phantom, monkeypatch):
    with_motions(monkeypatch, constant(0.0, 0.0, 48.0))
    registered = of_phantom(phantom, "rigid")
    assert registered.method == "none"
    assert registered.reason == "rigid: it would move a twentieth of the body by 48 mm or more"


def test_only_the_b_spline_is_dropped_where_only_it_is_worse(phantom, monkeypatch):
    shift_mm = np.array(phantom.truth["shifts_mm"][2])
    with_motions(monkeypatch, constant(*shift_mm), constant(*np.add(shift_mm, (0.0, 20.0, 0.0))))
    registered = of_phantom(phantom, "deformable")
    assert registered.method == "rigid"
    assert not registered.kept
    assert registered.reason.startswith("deformable: the mutual information fell")
    assert registered.similarity_after > registered.similarity_before
    assert registered.displacement_mm == pytest.approx((5.0, 5.0), abs=0.01)
    assert_moved_by(registered.image, phantom, phantom.truth["shifts_mm"][2])


def test_a_fold_is_dropped(phantom, monkeypatch):
    """A wave in which neighbouring places pass each other: its slope is steeper than -1."""

    def wave(places_mm):
        return np.stack([0 * places_mm[..., 0], 0 * places_mm[..., 0], 15.0 * np.sin(places_mm[..., 2] / 12.0)], -1)

    with_motions(monkeypatch, constant(*phantom.truth["shifts_mm"][2]), FakeMotion(wave))
    registered = of_phantom(phantom, "deformable")
    assert registered.method == "rigid"
    assert "it would fold the body (smallest Jacobian determinant -0." in registered.reason


def test_where_elastix_gives_up_the_geometry_stays(phantom, monkeypatch):
    def gives_up(*_, **__):
        raise NoMotionFoundError("internal error")

    monkeypatch.setattr(registration, "find_motion", gives_up)
    registered = of_phantom(phantom, "deformable")
    assert registered.method == "none"
    assert not registered.kept
    assert registered.reason.startswith("rigid: elastix found no motion")
    np.testing.assert_array_equal(registered.image, phantom.image[2])


def test_where_only_the_b_spline_gives_up_the_rigid_motion_stays(phantom, monkeypatch):
    def gives_up_later(*_, start, **__):
        if start is not None:
            raise NoMotionFoundError("internal error")
        return constant(*phantom.truth["shifts_mm"][2])

    monkeypatch.setattr(registration, "find_motion", gives_up_later)
    registered = of_phantom(phantom, "deformable")
    assert registered.method == "rigid"
    assert registered.reason.startswith("deformable: elastix found no motion")
    assert_moved_by(registered.image, phantom, phantom.truth["shifts_mm"][2])


def test_the_jacobian_of_a_linear_map_on_an_oblique_grid():
    matrix = np.array([[0.1, 0.02, -0.05], [0.0, -0.2, 0.03], [0.04, 0.0, 0.3]])
    places_mm = apply_affine(oblique(), np.moveaxis(np.indices(SHAPE), 0, -1))
    got = jacobian_determinant(places_mm @ matrix.T, oblique())
    np.testing.assert_allclose(got, np.linalg.det(np.eye(3) + matrix), rtol=1e-6)


def test_a_single_slice_has_a_jacobian_too():
    assert jacobian_determinant(np.zeros((4, 5, 1, 3)), oblique()) == pytest.approx(1.0)
