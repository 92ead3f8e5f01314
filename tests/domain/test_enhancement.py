import numpy as np
import pytest
from scipy.spatial import cKDTree

from scripts.domain.enhancement import (
    arterial_hyperenhancement,
    kinetic_rule,
    mean_curve,
    median_curve,
    percentage_signal_ratio,
    psr_delayed,
    psr_portal_venous,
    relative_enhancement,
    ring,
    washout,
)

SHAPE = (24, 20, 10)
SPACING_MM = (1.5, 2.0, 4.0)
LIVER = np.array([100.0, 150.0, 240.0, 200.0])


@pytest.fixture
def image():
    return np.random.default_rng(0).normal(100, 20, (4, *SHAPE)).astype(np.float32)


@pytest.fixture
def lesion():
    mask = np.zeros(SHAPE, dtype=bool)
    mask[9:13, 8:11, 4:6] = True
    return mask


def test_curves_of_nothing_are_no_numbers(image):
    empty = np.zeros(SHAPE, dtype=bool)
    assert np.isnan(mean_curve(image, empty)).all()
    assert np.isnan(median_curve(image, empty)).all()


def test_the_ring_of_nothing_is_empty():
    empty = np.zeros(SHAPE, dtype=bool)
    assert not ring(empty, SPACING_MM, allowed=~empty).any()


@pytest.mark.parametrize("signal", [0.0, -3.0])
def test_ratios_to_no_signal_are_no_numbers(signal):
    assert np.isnan(percentage_signal_ratio(signal, 100.0))
    assert np.isnan(relative_enhancement(np.array([signal, 1.0, 2.0, 3.0]))).all()


def test_curves_are_mean_and_median_under_the_mask(image, lesion):
    voxels = [image[:, i, j, k] for i, j, k in np.argwhere(lesion)]
    np.testing.assert_allclose(mean_curve(image, lesion), np.mean(voxels, axis=0), rtol=1e-6)
    np.testing.assert_allclose(median_curve(image, lesion), np.median(voxels, axis=0), rtol=1e-6)


def test_the_mean_of_many_large_values_keeps_its_precision():
    image = np.full((4, 300, 200, 10), 60000.1, dtype=np.float32)
    mask = np.ones(image.shape[1:], dtype=bool)
    np.testing.assert_allclose(mean_curve(image, mask), float(np.float32(60000.1)), rtol=1e-9)


def test_the_ring_is_all_that_lies_3_to_10_mm_away(lesion):
    allowed = np.random.default_rng(1).random(SHAPE) > 0.2
    voxels = np.argwhere(np.ones(SHAPE, dtype=bool))
    distance_mm = cKDTree(np.argwhere(lesion) * SPACING_MM).query(voxels * SPACING_MM)[0].reshape(SHAPE)
    expected = (distance_mm >= 3.0) & (distance_mm <= 10.0) & allowed
    np.testing.assert_array_equal(ring(lesion, SPACING_MM, allowed=allowed), expected)


def test_the_ring_of_a_lesion_at_the_corner_stays_in_the_image():
    corner = np.zeros(SHAPE, dtype=bool)
    corner[0, 19, 9] = True
    shell = ring(corner, SPACING_MM, allowed=~corner)
    # Along x the voxels at 3.0 to 9.0 mm, along z those at 4 and 8 mm.
    np.testing.assert_array_equal(np.flatnonzero(shell[:, 19, 9]), [2, 3, 4, 5, 6])
    np.testing.assert_array_equal(np.flatnonzero(shell[0, 19]), [7, 8])


def test_the_percentage_signal_ratio_is_above_100_for_a_dark_lesion():
    assert percentage_signal_ratio(80.0, 100.0) == pytest.approx(125.0)
    curve = np.array([90.0, 300.0, 120.0, 160.0])
    assert psr_portal_venous(curve, LIVER) == pytest.approx(200.0)
    assert psr_delayed(curve, LIVER) == pytest.approx(125.0)


def test_relative_enhancement_starts_at_zero():
    np.testing.assert_allclose(relative_enhancement([50, 100, 75, 25]), [0, 1, 0.5, -0.5])


@pytest.mark.parametrize(("arterial", "expected"), [(150.1, True), (150.0, False), (100.0, False)])
def test_hyperenhancement_is_brighter_than_the_ring(arterial, expected):
    assert arterial_hyperenhancement(np.array([90, arterial, 240, 200]), LIVER) is expected


@pytest.mark.parametrize(("delayed", "expected"), [(200 / 1.016, True), (200 / 1.014, False), (200.0, False)])
def test_washout_needs_the_published_margin(delayed, expected):
    assert washout(np.array([90, 300, 240, delayed]), LIVER) is expected


@pytest.mark.parametrize(
    ("arterial", "delayed", "expected"),
    [(300, 150, "hcc"), (300, 250, "hemangioma"), (100, 150, "hemangioma"), (100, 250, "hemangioma")],
)
def test_the_rule_needs_both_signs(arterial, delayed, expected):
    assert kinetic_rule(np.array([90, arterial, 230, delayed]), LIVER) == expected
