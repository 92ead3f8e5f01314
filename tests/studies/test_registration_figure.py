"""The before/after picture: tiles, orientation and aspect, and what it says."""

import io

import matplotlib.pyplot as plt
import numpy as np
import pytest

from scripts.studies.registration import Registered
from scripts.studies.registration_figure import checkerboard, draw_registration

SHAPE = (24, 20, 10)
AFFINE = np.array([[-3.0, 0.0, 0.0, 30.0], [0.0, 2.5, 0.0, -20.0], [0.0, 0.0, 6.0, 5.0], [0.0, 0.0, 0.0, 1.0]])


@pytest.fixture
def volumes():
    """The reference, and the phase before and after: three levels of grey in which only one voxel is bright."""
    fixed, before, after = (np.full(SHAPE, value, np.float32) for value in (10.0, 20.0, 30.0))
    for volume in (fixed, before, after):
        volume[2:-2, 2:-2, 1:-1] += 100.0 * np.random.default_rng(0).random((20, 16, 8), np.float32)
    return fixed, before, after


def registered(image, **changes):
    facts = {
        "method": "deformable",
        "kept": True,
        "reason": "",
        "similarity_before": 0.51,
        "similarity_after": 0.62,
        "displacement_mm": (3.24, 7.9),
        "covered": 0.97,
        "field_mm": np.zeros((*SHAPE, 3), np.float32),
        "steps": (1, 1, 1),
    }
    return Registered(image=image, **(facts | changes))


def texts(figure):
    return " | ".join([t.get_text() for t in figure.texts] + [a.get_title() for a in figure.axes])


def test_tiles_alternate():
    tiles = checkerboard(np.zeros((6, 5)), np.ones((6, 5)), np.array([2.0, 3.0]))
    expected = [[0, 0, 0, 1, 1], [0, 0, 0, 1, 1], [1, 1, 1, 0, 0], [1, 1, 1, 0, 0], [0, 0, 0, 1, 1], [0, 0, 0, 1, 1]]
    np.testing.assert_array_equal(tiles, expected)


def test_a_tile_smaller_than_a_pixel_is_a_pixel():
    np.testing.assert_array_equal(checkerboard(np.zeros((2, 2)), np.ones((2, 2)), np.array([0.1, 0.1])), 1 - np.eye(2))


def test_it_shows_two_slices_before_and_after_in_their_physical_aspect(volumes):
    figure = draw_registration(volumes[0], AFFINE, volumes[1], registered(volumes[2]), phase="delayed")
    shapes = [axes.images[0].get_array().shape for axes in figure.axes]
    assert shapes == [(10, 24), (10, 24), (20, 24), (20, 24)]
    assert [axes.get_aspect() for axes in figure.axes] == pytest.approx([2.0, 2.0, 2.5 / 3.0, 2.5 / 3.0])


def test_before_and_after_share_the_reference_tiles_and_nothing_else(volumes):
    moved = volumes[1][::-1]
    figure = draw_registration(volumes[0], AFFINE, volumes[1], registered(moved), phase="delayed")
    before, after = (figure.axes[i].images[0].get_array() for i in (2, 3))
    same = before == after
    assert 0.4 < same.mean() < 0.9


def test_the_patients_right_is_on_the_left_and_the_head_on_top(volumes):
    """The affine is LAS: low x is the patient's right. A bright block there, at the top."""
    fixed = np.zeros(SHAPE, np.float32)
    fixed[:6, :, 7:] = 100.0
    figure = draw_registration(fixed, AFFINE, fixed, registered(fixed), phase="pre")
    coronal = np.asarray(figure.axes[0].images[0].get_array())
    assert coronal[:3, :6].min() == 1.0
    assert coronal[:, 6:].max() == 0.0
    assert coronal[3:].max() == 0.0


def test_any_stored_orientation_gives_the_same_picture(volumes):
    figure = draw_registration(volumes[0], AFFINE, volumes[1], registered(volumes[2]), phase="delayed")
    turned = [v.transpose(2, 0, 1)[::-1] for v in volumes]
    to_old = np.array([[0, 1, 0, 0], [0, 0, 1, 0], [-1, 0, 0, SHAPE[2] - 1], [0, 0, 0, 1]], float)
    other = draw_registration(turned[0], AFFINE @ to_old, turned[1], registered(turned[2]), phase="delayed")
    for first, second in zip(figure.axes, other.axes, strict=True):
        np.testing.assert_array_equal(first.images[0].get_array(), second.images[0].get_array())


def test_it_says_the_numbers(volumes):
    figure = draw_registration(volumes[0], AFFINE, volumes[1], registered(volumes[2]), phase="portal_venous")
    said = texts(figure)
    assert "portal_venous on the reference phase" in said
    assert "mutual information 0.510 to 0.620 nats" in said
    assert "displacement 3.2 mm (95 %: 7.9 mm)" in said
    assert "97% of the body" in said
    assert "after: deformable" in said
    assert "dropped" not in said


def test_it_says_what_was_dropped(volumes):
    reason = "deformable: it would fold the body (smallest Jacobian determinant -0.12)"
    result = registered(volumes[2], method="rigid", kept=False, reason=reason)
    said = texts(draw_registration(volumes[0], AFFINE, volumes[1], result, phase="pre")).replace("\n", " ")
    assert f"dropped: {reason}" in said
    assert "after: rigid" in said


def test_an_empty_volume_can_be_drawn(volumes):
    nothing = np.zeros(SHAPE, np.float32)
    figure = draw_registration(nothing, AFFINE, nothing, registered(nothing), phase="pre")
    assert len(figure.axes) == 4


def test_it_is_saved_without_pyplot(volumes):
    figure = draw_registration(volumes[0], AFFINE, volumes[1], registered(volumes[2]), phase="pre")
    figure.savefig(file := io.BytesIO(), format="png")
    assert file.getvalue().startswith(b"\x89PNG")
    assert plt.get_fignums() == []
