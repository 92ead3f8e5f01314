"""Breathing, noise and timing."""

import numpy as np
import pytest

from scripts.domain.phases import REFERENCE_INDEX
from scripts.phantom.acquisition import MAX_SHIFT_MM, SCANNERS, acquire, displaced, draw_acquisition, rician
from scripts.phantom.grid import Grid

SPACING_MM = (2.0, 3.0, 5.0)


@pytest.fixture
def volume():
    return np.random.default_rng(0).random((9, 8, 7), np.float32)


def test_no_shift_keeps_the_volume(volume):
    np.testing.assert_array_equal(displaced(volume, np.zeros(3), SPACING_MM), volume)


def test_whole_voxels_move_the_contents(volume):
    moved = displaced(volume, np.array([4.0, -3.0, 5.0]), SPACING_MM)
    np.testing.assert_allclose(moved[2:, :-1, 1:], volume[:-2, 1:, :-1], rtol=1e-6)


def test_half_a_voxel_averages_neighbours(volume):
    moved = displaced(volume, np.array([1.0, 0.0, 0.0]), SPACING_MM)
    np.testing.assert_allclose(moved[1:], (volume[1:] + volume[:-1]) / 2, rtol=1e-5)


def test_rician_moments():
    """E[M^2] = A^2 + 2 sigma^2; the Rayleigh mean is sigma * sqrt(pi / 2)."""
    rng = np.random.default_rng(0)
    for amplitude in (0.0, 5.0, 50.0):
        drawn = rician(rng, np.full((80, 80, 40), amplitude, np.float32), 3.0, 100.0) / 100.0
        assert (drawn**2).mean() == pytest.approx(amplitude**2 + 18.0, rel=0.02)
    assert rician(rng, np.zeros((80, 80, 40), np.float32), 3.0, 100.0).mean() / 100 == pytest.approx(
        3.0 * np.sqrt(np.pi / 2), rel=0.01
    )


@pytest.mark.parametrize("site", SCANNERS)
def test_draws_keep_their_promises(site):
    for seed in range(30):
        acquisition = draw_acquisition(np.random.default_rng(seed), SCANNERS[site])
        assert np.linalg.norm(acquisition.shifts_mm, axis=1).max() <= MAX_SHIFT_MM + 1e-3
        assert not acquisition.shifts_mm[REFERENCE_INDEX].any()
        assert np.all(np.diff(acquisition.true_times_s) > 0)
        assert acquisition.true_times_s[0] == 0.0
        assert np.all(acquisition.gains / acquisition.gains.mean() > 0.8)


def test_a_given_shift_changes_nothing_else():
    drawn, forced, still = (
        draw_acquisition(np.random.default_rng(4), SCANNERS["site-b"], shift_mm=length) for length in (None, 5.0, 0.0)
    )
    moving = [phase for phase in range(4) if phase != REFERENCE_INDEX]
    np.testing.assert_allclose(np.linalg.norm(forced.shifts_mm[moving], axis=1), 5.0, atol=2e-3)
    for phase in moving:
        length = np.linalg.norm(drawn.shifts_mm[phase])
        np.testing.assert_allclose(forced.shifts_mm[phase] / 5.0, drawn.shifts_mm[phase] / length, atol=2e-3)
    assert not forced.shifts_mm[REFERENCE_INDEX].any()
    assert not still.shifts_mm.any()
    assert drawn.true_times_s == forced.true_times_s == still.true_times_s
    np.testing.assert_array_equal(drawn.gains, forced.gains)


def test_a_larger_voxel_is_less_noisy():
    noise = []
    for grid in (Grid((64, 64, 8), (1.5, 1.5, 5.0)), Grid((64, 64, 8), (3.0, 3.0, 5.0))):
        acquisition = draw_acquisition(np.random.default_rng(0), SCANNERS["site-a"])
        air = acquire(np.random.default_rng(1), np.zeros((4, *grid.shape), np.float32), grid, acquisition)
        assert air.dtype == np.int16
        noise.append(air[0].mean())
    assert noise[0] / noise[1] == pytest.approx(2.0, rel=0.03)
