"""Where the organs are."""

import numpy as np
import pytest

from scripts.phantom.anatomy import Ellipsoid, draw_anatomy, planning_mesh, smooth_union
from scripts.phantom.grid import Grid, open_mesh

MESH = Grid((64, 56, 24), (6.0, 7.0, 7.0)).coordinates()


@pytest.fixture(scope="module", params=[0, 1, 2])
def anatomy(request):
    return draw_anatomy(np.random.default_rng(request.param), cirrhosis=request.param == 1)


def test_sphere_depth_is_the_distance_to_its_surface():
    sphere = Ellipsoid((1.0, 2.0, 3.0), (5.0, 5.0, 5.0))
    mesh = open_mesh(*np.array([[1.0, 9.0], [2.0, 2.0], [3.0, 3.0]]))
    assert sphere.depth_mm(mesh)[0, 0, 0] == pytest.approx(5.0)
    assert sphere.depth_mm(mesh)[1, 0, 0] == pytest.approx(-3.0)


def test_smooth_union_is_the_maximum_far_from_the_seam():
    first, second = np.float32([10.0, -30.0, 2.0]), np.float32([-30.0, 5.0, 2.0])
    joined = smooth_union(first, second, blend_mm=8.0)
    np.testing.assert_allclose(joined[:2], [10.0, 5.0])
    assert joined[2] > 2.0


def test_liver_is_on_the_patients_right(anatomy):
    liver = anatomy.liver_depth_mm(MESH) > 0
    x = np.broadcast_to(MESH[0], liver.shape)
    assert x[liver].mean() < -25.0
    assert anatomy.spleen.centre_mm[0] > 0


def test_liver_has_a_plausible_volume(anatomy):
    volume_ml = np.count_nonzero(anatomy.liver_depth_mm(MESH) > 0) * 6.0 * 7.0 * 7.0 / 1000
    assert 700 < volume_ml < 2800


def test_liver_lies_inside_the_abdominal_wall(anatomy):
    liver = anatomy.liver_depth_mm(MESH) > 0
    assert np.broadcast_to(anatomy.cavity_depth_mm(MESH), liver.shape)[liver].min() > 0


def test_body_fits_into_the_field_of_view(anatomy):
    skin = anatomy.skin_depth_mm(MESH)
    assert skin[0].max() < 0
    assert skin[:, 0].max() < 0


def test_most_of_the_liver_lies_in_the_planning_mesh(anatomy):
    """Only the left lobe's tip may stick out, where no lesion is placed then."""
    planned = np.count_nonzero(anatomy.liver_depth_mm(planning_mesh()) > 0) * 6.0 * 6.0 * 5.0
    whole = np.count_nonzero(anatomy.liver_depth_mm(MESH) > 0) * 6.0 * 7.0 * 7.0
    assert planned / whole > 0.9
