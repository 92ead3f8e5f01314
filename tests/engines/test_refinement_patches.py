"""Patches around clicks."""

import numpy as np
import pytest

from scripts.engines.refinement_clicks import Click
from scripts.engines.refinement_patches import LIKENESS, NEARNESS_MM, cut, guidance, origin_around, origins_over, say
from scripts.networks.refinement import GUIDANCE

PATCH = (4, 8, 12)


@pytest.mark.parametrize(
    ("centre", "expected"),
    [((5, 20, 30), (3, 16, 24)), ((0, 0, 0), (0, 0, 0)), ((9, 39, 59), (6, 32, 48)), ((-3, 99, 20.4), (0, 32, 14))],
)
def test_a_patch_stays_inside(centre, expected):
    assert origin_around(centre, (10, 40, 60), PATCH) == expected


def test_a_volume_smaller_than_the_patch_is_filled_with_zeros():
    volume = np.ones((2, 3, 5, 6), dtype=np.float16)
    origin = origin_around((1, 2, 3), volume.shape[1:], PATCH)
    patch = cut(volume, origin, PATCH)
    assert origin == (0, 0, 0)
    assert patch.shape == (2, *PATCH)
    assert patch.dtype == np.float32
    assert patch.sum() == volume.sum()


def test_cut_takes_what_lies_there():
    volume = np.arange(2 * 10 * 40 * 60, dtype=np.float32).reshape(2, 10, 40, 60)
    np.testing.assert_array_equal(cut(volume, (3, 16, 24), PATCH), volume[:, 3:7, 16:24, 24:36])


def test_nearness_marks_each_kind_of_click_in_its_channel():
    spacing_mm = (5.0, 3.0, 2.0)
    clicks = [Click((4, 18, 30), True), Click((5, 20, 25), False)]
    channels = guidance(np.zeros((4, *PATCH), np.float32), clicks, (3, 16, 24), spacing_mm)
    assert channels.shape == (len(GUIDANCE), *PATCH)
    assert channels[0, 1, 2, 6] == 1.0 == channels[:2].max()
    assert np.unravel_index(channels[1].argmax(), PATCH) == (2, 4, 1)
    # Millimetres, not voxels: three columns of 2 mm are as far as two rows of 3 mm.
    assert channels[0, 1, 2, 9] == pytest.approx(channels[0, 1, 4, 6])
    assert channels[0, 1, 4, 6] == pytest.approx(np.exp(-6.0 / NEARNESS_MM))
    # Everywhere the larger channel is that of the nearer click.
    assert channels[:2].min() > 0.0


def test_likeness_is_that_of_the_tissue_at_the_click():
    image = np.zeros((4, *PATCH), np.float32)
    image[1, :, :, 6:] = 1.0
    lesion = guidance(image, [Click((4, 18, 33), True)], (3, 16, 24), (5.0, 3.0, 2.0))
    assert lesion[2, 0, 3, 11] == pytest.approx(1.0)
    assert lesion[2, 0, 3, 0] == pytest.approx(np.exp(-0.5 / LIKENESS**2))
    assert not lesion[3].any()
    none = guidance(image, [Click((4, 18, 33), False)], (3, 16, 24), (5.0, 3.0, 2.0))
    assert np.array_equal(none[3], lesion[2])


def test_a_click_outside_the_patch_is_near_and_like_nothing():
    image = np.ones((4, *PATCH), np.float32)
    channels = guidance(image, [Click((40, 18, 33), True)], (3, 16, 24), (5.0, 3.0, 2.0))
    assert 0.0 < channels[0].max() < 0.1
    assert not channels[2:].any()


def test_without_clicks_no_guidance():
    assert not guidance(np.ones((4, *PATCH), np.float32), [], (0, 0, 0), (5.0, 3.0, 3.0)).any()


def test_a_patch_says_less_at_its_border():
    weight = say((12, 32, 32))
    assert weight[6, 16, 16] == 1.0
    assert 0.0 < weight[0, 0, 0] < weight[0, 16, 16] < 1.0
    np.testing.assert_allclose(weight, weight[::-1, ::-1, ::-1])


def test_a_small_region_needs_one_patch_and_a_large_one_overlapping_patches():
    small = (slice(2, 6), slice(10, 30), slice(40, 60))
    assert len(origins_over(small, (30, 128, 128))) == 1
    large = (slice(2, 25), slice(10, 100), slice(40, 60))
    origins = origins_over(large, (30, 128, 128))
    covered = np.zeros((30, 128, 128), dtype=bool)
    for z, y, x in origins:
        covered[z : z + 12, y : y + 32, x : x + 32] = True
    assert covered[large].all()
