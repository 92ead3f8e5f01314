"""The simulated reader."""

import numpy as np

from scripts.engines.refinement_clicks import Click, depth_inside, errors_of, next_click
from scripts.results.components import find_components

SPACING_MM = (3.0, 2.0, 5.0)


def box(*spans, shape=(20, 18, 8)):
    mask = np.zeros(shape, dtype=bool)
    mask[tuple(slice(*span) for span in spans)] = True
    return mask


def test_nothing_wrong_no_click():
    truth = box((2, 6), (3, 8), (1, 4))
    assert next_click(truth, truth, SPACING_MM) is None


def test_a_missed_lesion_is_clicked_in_its_middle():
    truth = box((2, 9), (3, 14), (1, 6))
    click = next_click(truth, np.zeros_like(truth), SPACING_MM)
    assert click.lesion
    # The middle along the thinnest direction, in mm.
    assert truth[click.index]
    assert click.index[0] == 5


def test_a_false_lesion_is_clicked_as_none():
    false = box((2, 9), (3, 14), (1, 6))
    click = next_click(np.zeros_like(false), false, SPACING_MM)
    assert not click.lesion
    assert false[click.index]


def test_the_largest_error_comes_first():
    truth, predicted = box((0, 8), (0, 8), (0, 4)), box((10, 14), (10, 14), (0, 4))
    errors = errors_of(truth, predicted)
    assert [missed for _, missed in errors] == [True, False]
    assert [component.voxels for component, _ in errors] == [256, 64]


def test_no_voxel_is_clicked_twice():
    truth = box((2, 5), (3, 6), (1, 4))
    nothing = np.zeros_like(truth)
    made = []
    for _ in range(27):
        made.append(next_click(truth, nothing, SPACING_MM, made))
    assert len({click.index for click in made}) == 27
    assert next_click(truth, nothing, SPACING_MM, made) is None


def test_depth_counts_millimetres_and_clicks_made_before():
    truth = box((2, 5), (3, 6), (1, 4))
    component = find_components(truth)[0][0]
    depth_mm = depth_inside(component, SPACING_MM)
    # The middle voxel is two steps of 2 mm from outside.
    assert depth_mm[1, 1, 1] == depth_mm.max() == 4.0
    assert depth_inside(component, SPACING_MM, [Click((3, 4, 2), True)])[1, 1, 1] == 0.0
