"""The clicks of a request."""

from __future__ import annotations

import numpy as np
import pytest

from lib.clicks import read_clicks
from lib.errors import BadRequestError


@pytest.mark.parametrize(
    "points",
    ["10,10,10", {"x": 1}, [10, 10, 10], [[10, 10]], [[1, 2, 3, 4]], [["1", "2", "3"]], [[True, 1, 1]], [[1, 2, None]]],
)
def test_what_is_no_point_is_refused(opened, points):
    with pytest.raises(BadRequestError, match="no list of points"):
        read_clicks({"foreground": points}, opened, None)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_no_number_is_refused(opened, value):
    with pytest.raises(BadRequestError, match="no list of points"):
        read_clicks({"background": [[value, 1, 1]]}, opened, None)


@pytest.mark.parametrize("point", [[-1, 5, 5], [96, 5, 5], [5, 80, 5], [5, 5, 1e9]])
def test_a_point_outside_the_image_is_refused(opened, point):
    with pytest.raises(BadRequestError, match="outside the image of 96 x 80 x 20"):
        read_clicks({"hcc": [point]}, opened, "arterial")


def test_too_many_points_are_refused(opened):
    with pytest.raises(BadRequestError, match="more than"):
        read_clicks({"foreground": [[1, 1, 1]] * 200, "background": [[1, 1, 1]] * 100}, opened, None)


def test_an_unknown_unit_is_refused(opened):
    with pytest.raises(BadRequestError, match="points_in"):
        read_clicks({"foreground": [[1, 1, 1]], "points_in": "inches"}, opened, None)


def test_no_points_are_no_clicks(opened):
    assert read_clicks({"foreground": [], "background": None, "label": "hcc"}, opened, None) == []


def test_deepgrow_clients_name_the_class_in_label(opened):
    clicks = read_clicks({"foreground": [[1, 2, 3]], "background": [[4, 5, 6]], "label": "hcc"}, opened, None)
    assert [(click.lesion, click.tumour_class) for click in clicks] == [(True, "hcc"), (False, None)]


def test_deepedit_clients_name_points_by_class(opened):
    clicks = read_clicks(
        {"hemangioma": [[1, 2, 3]], "hcc": [[4, 5, 6]], "background": [], "label": "hcc"}, opened, None
    )
    assert [(click.lesion, click.tumour_class) for click in clicks] == [(True, "hemangioma"), (True, "hcc")]


@pytest.mark.parametrize("name", ["lesion", "background", None, "/tmp/tmpabc.nii.gz"])
def test_other_labels_are_no_class(opened, name):
    assert read_clicks({"foreground": [[1, 2, 3]], "label": name}, opened, None)[0].tumour_class is None


def test_voxels_are_of_the_series_that_is_shown(opened):
    at = {
        name: read_clicks({"foreground": [[10, 20, 5]]}, opened, name)[0].world_mm for name in ("arterial", "delayed")
    }
    mirrored = read_clicks({"foreground": [[96 - 1 - 10, 20, 20 - 1 - 5]]}, opened, "delayed")[0].world_mm
    assert np.linalg.norm(np.subtract(at["arterial"], at["delayed"])) > 50
    np.testing.assert_allclose(mirrored, at["arterial"])
    # 3D Slicer shows the reference phase's file.
    assert read_clicks({"foreground": [[10, 20, 5]]}, opened, None)[0].world_mm == at["arterial"]


def test_millimetres_are_taken_as_they_are(opened):
    click = read_clicks({"foreground": [[-10.5, 20, 30]], "points_in": "mm"}, opened, "delayed")[0]
    assert click.world_mm == (-10.5, 20.0, 30.0)
