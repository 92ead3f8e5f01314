import dataclasses

import numpy as np
import pytest

from scripts.domain.study import Study


@pytest.fixture
def study():
    a = np.deg2rad(25.0)
    turn = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([0.8, 1.2, 5.0])
    affine[:3, 3] = (10.0, -20.0, 30.0)
    return Study(
        case="a",
        image=np.arange(4 * 6 * 5 * 3, dtype=np.float32).reshape(4, 6, 5, 3),
        affine=affine,
        available=(True, True, False, True),
        times_s=(0.0, 30.0, 70.0, 180.0),
        offset=10.0,
        scale=4.0,
    )


def test_is_frozen(study):
    with pytest.raises(dataclasses.FrozenInstanceError):
        study.case = "b"


def test_spacing_and_volume_come_from_the_affine_however_it_is_turned(study):
    assert study.spacing_mm == pytest.approx((0.8, 1.2, 5.0))
    assert study.voxel_ml == pytest.approx(0.8 * 1.2 * 5.0 / 1000)


def test_a_mirrored_affine_has_the_same_spacing_and_volume(study):
    mirrored = dataclasses.replace(study, affine=study.affine @ np.diag([-1.0, 1.0, 1.0, 1.0]))
    assert mirrored.spacing_mm == pytest.approx(study.spacing_mm)
    assert mirrored.voxel_ml == pytest.approx(study.voxel_ml)


def test_normalised_intensity_can_be_given_back(study):
    np.testing.assert_allclose(study.normalised(1) * study.scale + study.offset, study.image[1])
    assert study.normalised(1).dtype == np.float32


def test_missing_phases_have_their_names(study):
    assert study.missing() == ("portal_venous",)
