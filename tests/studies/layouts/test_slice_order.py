from __future__ import annotations

import numpy as np
import pytest

from scripts.studies.layouts.slice_order import compare, put_right, reversed_slices
from scripts.studies.layouts.source_case import Volume

SHAPE = (40, 32, 20)


@pytest.fixture
def phases(anatomy):
    image, _ = anatomy(shape=SHAPE)
    affine = np.diag([-2.0, -2.5, 4.0, 1.0])
    affine[:3, 3] = (40, 35, -60)
    return [Volume(phase, affine) for phase in image]


def moved(volume, z_mm):
    affine = volume.affine.copy()
    affine[2, 3] += z_mm
    return Volume(volume.data, affine)


def flipped(volume):
    return Volume(volume.data[..., ::-1], volume.affine)


def same(one, other):
    np.testing.assert_array_equal(one.data, other.data)
    np.testing.assert_allclose(one.affine, other.affine)


def test_phases_in_one_order_stay_as_they_are(phases):
    right, flags, orders = put_right(phases, 1)
    assert flags == [False] * 4
    assert orders[1] is None
    for one, other in zip(right, phases, strict=True):
        same(one, other)


def test_the_shift_along_the_slices_is_found(phases):
    order = compare(moved(phases[3], 12.0), phases[1])
    assert order.stored.shift_mm == pytest.approx(-12.0, abs=2.0)
    assert not order.is_reversed


def test_one_reversed_phase_is_put_right(phases):
    right, flags, _ = put_right([phases[0], phases[1], flipped(phases[2]), phases[3]], 1)
    assert flags == [False, False, True, False]
    same(right[2], phases[2])


def test_the_reference_reversed_is_put_right_and_not_the_others(phases):
    right, flags, _ = put_right([phases[0], flipped(phases[1]), phases[2], phases[3]], 1)
    assert flags == [False, True, False, False]
    for one, other in zip(right, phases, strict=True):
        same(one, other)


def test_slices_that_go_down_from_the_first_one(phases):
    # The first slice is the highest and its position is right, but the step is written as if they went up.
    top = moved(flipped(phases[0]), 4.0 * (SHAPE[2] - 1))
    right, flags, _ = put_right([top, *phases[1:]], 1)
    assert flags[0]
    same(right[0], phases[0])


def test_another_grid_is_compared_in_mm(phases, anatomy):
    image, _ = anatomy(shape=(30, 40, 11))
    span = np.array(SHAPE) - 1
    affine = np.diag([*(phases[0].affine.diagonal()[:3] * span / (np.array((30, 40, 11)) - 1)), 1.0])
    affine[:3, 3] = phases[0].affine[:3, 3]
    order = compare(Volume(image[0], affine), phases[1])
    assert not order.is_reversed
    assert abs(order.stored.shift_mm) <= 4.0
    assert compare(Volume(image[0][..., ::-1], affine), phases[1]).is_reversed


def test_all_four_reversed_cannot_be_told(phases):
    _, flags, _ = put_right([flipped(phase) for phase in phases], 1)
    assert flags == [False] * 4


def test_reversing_twice_changes_nothing(phases):
    for about_first in (False, True):
        once = reversed_slices(phases[0], about_first=about_first)
        np.testing.assert_array_equal(once.data[..., 0], phases[0].data[..., -1])
    same(reversed_slices(reversed_slices(phases[0], about_first=False), about_first=False), phases[0])


def test_about_the_first_slice_that_slice_stays_in_place(phases):
    turned = reversed_slices(phases[0], about_first=True)
    last = turned.affine @ [0, 0, SHAPE[2] - 1, 1]
    np.testing.assert_allclose(last, phases[0].affine @ [0, 0, 0, 1])
    np.testing.assert_array_equal(turned.data[..., -1], phases[0].data[..., 0])
