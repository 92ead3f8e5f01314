import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.distance import pdist

from scripts.results.components import (
    Component,
    bounding_box,
    centroid_mm,
    component_areas,
    find_components,
    grown,
    label_components,
    max_diameter_mm,
    slice_areas,
)

SPACING_MM = (1.5, 2.0, 4.0)


def component(mask: np.ndarray) -> Component:
    (only,), _ = find_components(mask)
    return only


def drawn(shape, *boxes) -> np.ndarray:
    mask = np.zeros(shape, dtype=bool)
    for box in boxes:
        mask[box] = True
    return mask


def test_an_empty_mask_has_an_empty_box_and_no_component():
    empty = np.zeros((9, 7, 5), dtype=bool)
    assert empty[bounding_box(empty)].size == 0
    assert label_components(empty)[1] == 0
    assert find_components(empty) == ([], 0)


def test_a_box_grows_up_to_the_border_only():
    assert grown((slice(1, 3), slice(4, 6)), (2, 1), (10, 6)) == (slice(0, 5), slice(3, 6))


def test_voxels_that_touch_at_a_corner_are_one_component():
    mask = np.zeros((9, 7, 5), dtype=bool)
    mask[2, 2, 2] = mask[3, 3, 3] = True
    assert len(find_components(mask)[0]) == 1


def test_voxels_with_a_gap_are_two_components():
    mask = np.zeros((9, 7, 5), dtype=bool)
    mask[2, 2, 2] = mask[4, 2, 2] = True
    assert len(find_components(mask)[0]) == 2


def test_labels_equal_those_of_scipy_on_the_whole_array():
    mask = np.random.default_rng(5).random((24, 17, 9)) > 0.93
    labels, count = label_components(mask)
    reference, n = ndimage.label(mask, np.ones((3, 3, 3)))
    assert count == n
    np.testing.assert_array_equal(labels, reference)


def test_components_come_by_falling_size_and_small_ones_are_counted():
    mask = drawn((20, 15, 9), np.s_[1:3, 1, 1], np.s_[10:15, 3:6, 2:4], np.s_[6, 12, 7])
    components, left_out = find_components(mask, min_voxels=2)
    assert [c.voxels for c in components] == [30, 2]
    assert left_out == 1


@pytest.mark.parametrize("slice_axis", [0, 1, 2])
def test_areas_of_a_component_stand_at_its_own_slices(slice_axis):
    mask = drawn((20, 15, 9), np.s_[10:15, 3:6, 2:4])
    areas = component_areas(component(mask), slice_axis, mask.shape[slice_axis])
    np.testing.assert_array_equal(areas, slice_areas(mask, slice_axis))
    assert areas.sum() == 30


def test_a_row_of_pixels_is_as_long_as_its_pixels():
    assert max_diameter_mm(component(drawn((20, 15, 9), np.s_[3:10, 4, 5])), SPACING_MM, 2) == pytest.approx(7 * 1.5)
    assert max_diameter_mm(component(drawn((20, 15, 9), np.s_[3, 4:9, 5])), SPACING_MM, 2) == pytest.approx(5 * 2.0)


def test_a_single_voxel_is_as_long_as_its_longer_side():
    assert max_diameter_mm(component(drawn((20, 15, 9), np.s_[3, 4, 5])), SPACING_MM, 2) == pytest.approx(2.0)


def test_the_diameter_stays_within_a_slice():
    upright = drawn((20, 15, 9), np.s_[3, 4, :])
    assert max_diameter_mm(component(upright), SPACING_MM, 2) == pytest.approx(2.0)
    assert max_diameter_mm(component(upright), SPACING_MM, 0) == pytest.approx(9 * 4.0)


def test_the_diameter_equals_the_largest_distance_between_all_edge_midpoints():
    rng = np.random.default_rng(11)
    mask = ndimage.binary_dilation(rng.random((30, 22, 4)) > 0.995, iterations=3)
    expected = 0.0
    lesion = find_components(mask)[0][0]
    whole = np.zeros_like(mask)
    whole[lesion.box] = lesion.mask
    for k in range(mask.shape[2]):
        i, j = np.nonzero(whole[:, :, k])
        x, y = i * 1.5, j * 2.0
        points = np.concatenate([np.stack(p, 1) for p in ((x - 0.75, y), (x + 0.75, y), (x, y - 1), (x, y + 1))])
        expected = max(expected, pdist(points).max(initial=0.0))
    assert max_diameter_mm(lesion, SPACING_MM, 2) == pytest.approx(expected)


def test_the_centroid_is_in_world_coordinates():
    affine = np.array([[0, -2.0, 0.3, 10], [1.5, 0, 0, -20], [0, 0, 4.0, 5], [0, 0, 0, 1]])
    mask = drawn((20, 15, 9), np.s_[3:6, 4:9, 2:5])
    np.testing.assert_allclose(centroid_mm(component(mask), affine), (affine @ [4, 6, 3, 1])[:3])
