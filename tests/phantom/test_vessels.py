"""Tubes and trees of them."""

import numpy as np
import pytest

from scripts.phantom.vessels import Tube, hepatic_veins, portal_tree

TUBE = Tube((0.0, 0.0, -10.0), (0.0, 0.0, 10.0), 4.0, 2.0)


@pytest.mark.parametrize(
    ("point", "depth_mm"),
    [((0, 0, -10), 4.0), ((0, 0, 0), 3.0), ((5, 0, 0), -2.0), ((3, 4, 10), -3.0), ((0, 0, 16), -4.0)],
)
def test_depth(point, depth_mm):
    mesh = np.ix_(*([np.float32(v)] for v in point))
    assert TUBE.depth_mm(mesh)[0, 0, 0] == pytest.approx(depth_mm, abs=1e-5)


def test_bounds_hold_the_wall():
    lower, upper = TUBE.bounds_mm(1.0)
    np.testing.assert_allclose(lower, [-5, -5, -15])
    np.testing.assert_allclose(upper, [5, 5, 15])


@pytest.mark.parametrize("tree", [portal_tree, hepatic_veins])
def test_trees_taper_and_hang_together(tree):
    tubes = tree(np.random.default_rng(0))
    ends = {tube.end_mm for tube in tubes}
    starts = [tube.start_mm for tube in tubes]
    assert all(tube.end_radius_mm < tube.start_radius_mm for tube in tubes)
    assert all(start in ends or starts.count(start) > 1 or start == starts[0] for start in starts)
