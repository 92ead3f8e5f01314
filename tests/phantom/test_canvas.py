"""Painting with partial volume."""

import numpy as np
import pytest

from scripts.phantom.canvas import Canvas, block_mean
from scripts.phantom.grid import Grid

GRID = Grid((12, 10, 6), (4.0, 3.0, 8.0))


def test_paint_mixes_by_share():
    canvas = Canvas(GRID)
    canvas.paint(np.full(GRID.shape, 1.0, np.float32), np.array([10.0, 20.0, 30.0, 40.0]))
    canvas.paint(np.full(GRID.shape, 0.25, np.float32), np.array([50.0, 20.0, 10.0, 0.0]))
    np.testing.assert_allclose(canvas.signal[:, 3, 4, 5], [20.0, 20.0, 25.0, 30.0])


def test_block_mean_averages_blocks():
    volume = np.random.default_rng(0).random((6, 4, 9), np.float32)
    expected = volume.reshape(3, 2, 4, 1, 3, 3).mean(axis=(1, 3, 5))
    np.testing.assert_allclose(block_mean(volume, (2, 1, 3)), expected, rtol=1e-6)


def test_thick_slices_average_over_a_thin_structure():
    """A slab of 2 mm fills a quarter of an 8 mm slice."""
    canvas = Canvas(GRID)
    canvas.signal[:] = 8.0

    def slab(mesh):
        share = np.broadcast_to(np.abs(mesh[2] - 3.0) < 1.0, np.broadcast_shapes(*(m.shape for m in mesh)))
        return share.astype(np.float32), np.full((4, 1, 1, 1), 40.0, np.float32)

    box, share = canvas.paint_fine(np.full(3, -100.0), np.full(3, 100.0), slab)
    assert share.shape == GRID.shape
    assert box == tuple(slice(0, n) for n in GRID.shape)
    np.testing.assert_allclose(share[0, 0], [0, 0, 0, 0.25, 0, 0], atol=1e-6)
    np.testing.assert_allclose(canvas.signal[2, 1, 1], [8, 8, 8, 16, 8, 8], rtol=1e-6)


def test_structure_outside_the_grid_changes_nothing():
    canvas = Canvas(GRID)
    _, share = canvas.paint_fine(
        np.full(3, 500.0), np.full(3, 510.0), lambda mesh: (np.ones((0, 0, 0)), np.ones((4, 1, 1, 1)))
    )
    assert share.size == 0
    assert not canvas.signal.any()


@pytest.mark.parametrize("factors", [(1, 1, 1), (2, 1, 1)])
def test_block_mean_keeps_a_constant(factors):
    np.testing.assert_allclose(block_mean(np.full((4, 3, 2), 7.0, np.float32), factors), 7.0)
