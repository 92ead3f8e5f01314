"""Grids and smooth fields."""

import numpy as np
import pytest

from scripts.phantom.grid import Grid, SmoothField, edge

GRID = Grid((96, 80, 20), (4.0, 4.8, 8.0))


def test_affine_puts_the_centre_at_the_origin():
    centre = GRID.affine @ [47.5, 39.5, 9.5, 1.0]
    np.testing.assert_allclose(centre, [0, 0, 0, 1], atol=1e-12)
    np.testing.assert_allclose(np.diag(GRID.affine)[:3], np.multiply(GRID.spacing_mm, (-1, 1, 1)))


def test_box_holds_the_voxels_between_two_corners():
    box = GRID.box((-10.0, -1e3, 70.0), (10.0, 1e3, 1e3))
    x, y, z = (axis[part] for axis, part in zip(GRID.axes(), box, strict=True))
    assert list(x) == [-10.0, -6.0, -2.0, 2.0, 6.0, 10.0]
    assert len(y) == 80
    assert list(z) == [76.0]


def test_box_outside_is_empty():
    assert GRID.box((500.0,) * 3, (600.0,) * 3)[0] == slice(96, 96)


@pytest.mark.parametrize("smoothness_mm", [3.0, 12.0])
def test_field_has_zero_mean_and_unit_deviation(smoothness_mm):
    half = 40 * smoothness_mm
    field = SmoothField(np.random.default_rng(0), smoothness_mm, (-half / 2,) * 3, (half / 2,) * 3)
    axis = np.arange(-half / 2, half / 2, smoothness_mm / 3)
    values = field.at(*np.ix_(axis, axis, axis))
    # Linear interpolation between lattice points takes a little variance away.
    assert abs(values.mean()) < 0.1
    assert 0.85 < values.std() < 1.1


def test_field_is_the_same_on_every_grid():
    field = SmoothField(np.random.default_rng(0), 20.0)
    coarse, fine = Grid((5, 3, 4), (30.0, 50.0, 20.0)), Grid((15, 9, 12), (10.0, 50.0 / 3, 20.0 / 3))
    # A grid three times as fine has a voxel centre at every coarse one.
    np.testing.assert_allclose(
        field.at(*fine.coordinates())[1::3, 1::3, 1::3], field.at(*coarse.coordinates()), atol=1e-5
    )


def test_field_is_constant_beyond_its_box():
    field = SmoothField(np.random.default_rng(0), 5.0, (-20.0,) * 3, (20.0,) * 3)
    here, there = (field.at(*np.ix_([0.0], [0.0], [z]))[0, 0, 0] for z in (1e3, 2e3))
    assert here == there


def test_edge_is_half_on_the_boundary_and_antisymmetric():
    depth = np.linspace(-3, 3, 13, dtype=np.float32)
    share = edge(depth, 2.0)
    assert share[6] == 0.5
    np.testing.assert_allclose(share + share[::-1], 1.0, atol=1e-6)
    assert share[0] == 0.0
    assert share[-1] == 1.0
    assert np.all(np.diff(share) >= 0)
