from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from scipy.interpolate import RegularGridInterpolator

from scripts.domain.errors import ConfigurationError, StudyError
from scripts.studies.layouts.alignment import aligned, require_registration, scale_remarks
from scripts.studies.layouts.source_case import Volume
from scripts.studies.registration import Registered


@pytest.fixture
def volumes(anatomy, oblique):
    image, _ = anatomy()
    return [Volume(phase, oblique) for phase in image]


def shifted(volume, offset_mm):
    affine = volume.affine.copy()
    affine[:3, 3] += offset_mm
    return Volume(volume.data, affine)


def test_an_unknown_method_is_refused():
    with pytest.raises(ConfigurationError, match=r"register is 'affine'. Use one of none, rigid, deformable"):
        require_registration("affine")


def test_a_phase_elsewhere_is_refused(volumes):
    volumes[2] = shifted(volumes[2], volumes[2].affine[:3, 2] * 7)
    with pytest.raises(StudyError, match=r"^only 3 of 10 slices are in all phases; portal_venous do not reach"):
        aligned(volumes, register="none")


def test_methods():
    assert [require_registration(method) for method in (None, "none", "Rigid")] == ["none", "none", "rigid"]


def test_phases_on_one_grid_stay_as_they_are(volumes, oblique):
    result = aligned(volumes, register="none")
    for image, volume in zip(result.images, volumes, strict=True):
        np.testing.assert_array_equal(image, volume.data)
    np.testing.assert_array_equal(result.affine, oblique)
    assert result.remarks == ()


def test_a_phase_on_another_grid_is_interpolated_where_its_affine_puts_it(volumes, anatomy, oblique):
    coarse, _ = anatomy(shape=(17, 23, 8))
    affine = oblique.copy()
    affine[:3, :3] = oblique[:3, :3] @ np.diag([1.4, 0.85, 1.3])
    affine[:3, 3] += (0.7, -1.1, 2.0)
    volumes[3] = Volume(coarse[3], affine)
    result = aligned(volumes, register="none")
    assert result.remarks == ("delayed resampled, shows 96% of the reference",)
    points = np.stack(np.indices(volumes[1].data.shape), axis=-1)
    indices = nib.affines.apply_affine(np.linalg.inv(affine) @ oblique, points)
    grid = [np.arange(size) for size in coarse[3].shape]
    expected = RegularGridInterpolator(grid, coarse[3], bounds_error=False, fill_value=np.nan)(indices)
    inside = np.isfinite(expected)
    assert inside.mean() > 0.7
    np.testing.assert_allclose(result.images[3][inside], expected[inside], atol=0.02)


def test_slices_that_a_phase_does_not_reach_are_cut(volumes, oblique):
    volumes[0] = shifted(volumes[0], oblique[:3, 2] * 3)
    volumes[3] = shifted(volumes[3], oblique[:3, 2] * -2)
    result = aligned(volumes, register="none")
    assert result.slices == slice(3, 8)
    assert result.remarks == (
        "pre resampled, shows 70% of the reference",
        "delayed resampled, shows 80% of the reference",
        "5 of 10 slices cut, which pre, delayed do not reach",
    )
    np.testing.assert_allclose(result.affine @ [3, 4, 0, 1], oblique @ [3, 4, 3, 1])
    np.testing.assert_array_equal(result.images[1], volumes[1].data[..., 3:8])
    np.testing.assert_allclose(result.images[0], volumes[0].data[..., :5], atol=0.02)
    np.testing.assert_array_equal(result.cut(np.arange(10)[None, None]), np.arange(3, 8)[None, None])


def test_another_intensity_scale_is_said(anatomy):
    image, _ = anatomy()
    assert scale_remarks(image) == []
    halved = [image[0], image[1] / 2, image[2], image[3] * 4]
    assert [remark.split(" at ")[0] for remark in scale_remarks(halved)] == ["arterial", "delayed"]
    assert "arterial at 0.5" in scale_remarks(halved)[0]


def test_a_phase_that_cannot_be_registered_is_named(volumes):
    volumes[3] = shifted(volumes[3], (900, 0, 0))
    with pytest.raises(StudyError, match=r"^delayed: the phase and the reference phase's body do not overlap"):
        aligned([volumes[1], volumes[1], volumes[1], volumes[3]], register="rigid")


def test_each_phase_is_registered_to_the_arterial_one(volumes, monkeypatch):
    seen = []

    def register(moving, moving_affine, fixed, fixed_affine, *, method):
        seen.append((moving.mean(), fixed.mean(), method))
        kept = len(seen) != 2
        return Registered(
            image=moving + 1,
            method="rigid" if kept else "none",
            kept=kept,
            reason="" if kept else "it got worse",
            similarity_before=0.3,
            similarity_after=0.5 if kept else 0.3,
            displacement_mm=(4.0, 7.0) if kept else (0.0, 0.0),
            covered=1.0,
            field_mm=np.zeros((1, 1, 1, 3), np.float32),
            steps=(1, 1, 1),
        )

    monkeypatch.setattr("scripts.studies.layouts.alignment.register_phase", register)
    result = aligned(volumes, register="rigid")
    assert [pair[0] for pair in seen] == [volumes[k].data.mean() for k in (0, 2, 3)]
    assert {pair[1:] for pair in seen} == {(volumes[1].data.mean(), "rigid")}
    np.testing.assert_array_equal(result.images[1], volumes[1].data)
    np.testing.assert_array_equal(result.images[2], volumes[2].data + 1)
    assert list(result.remarks) == [
        "pre registered: rigid, 4.0 mm, similarity 0.300 to 0.500",
        "portal_venous registered: none, 0.0 mm, similarity 0.300 to 0.300; rigid dropped: it got worse",
        "delayed registered: rigid, 4.0 mm, similarity 0.300 to 0.500",
    ]


def test_registration_brings_a_shifted_phase_back(anatomy, oblique):
    pytest.importorskip("itk")
    image, _ = anatomy(shape=(64, 56, 24))
    affine = oblique @ np.diag([1.0, 1.0, 0.6, 1.0])
    volumes = [Volume(phase, affine) for phase in image]
    volumes[2] = shifted(volumes[2], (0, 0, 9))
    before = aligned(volumes, register="none")
    after = aligned(volumes, register="rigid")
    inside = np.s_[:, :, 6:18]

    def error(result):
        first = result.slices.start
        truth = image[2][inside].astype(float)
        return np.abs(result.images[2][..., 6 - first : 18 - first] - truth).mean()

    assert error(after) < 0.5 * error(before)
    assert any(remark.startswith("portal_venous registered: rigid, ") for remark in after.remarks)
