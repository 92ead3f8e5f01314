"""Size, shape and supply of the lesions."""

import numpy as np
import pytest

from scripts.phantom.grid import open_mesh
from scripts.phantom.lesions import DIAMETERS_MM, draw_diameter, draw_lesion

AXIS = np.arange(-40.0, 40.0, 1.0)


def drawn(tumour_class, count, diameter_mm=30.0):
    return [draw_lesion(np.random.default_rng(seed), tumour_class, diameter_mm, np.zeros(3)) for seed in range(count)]


def test_diameters_keep_to_their_range():
    rng = np.random.default_rng(0)
    diameters = np.array([draw_diameter(rng) for _ in range(2000)])
    assert diameters.min() >= DIAMETERS_MM[0]
    assert diameters.max() <= DIAMETERS_MM[1]
    assert 25 < np.median(diameters) < 35


@pytest.mark.parametrize("tumour_class", ["hcc", "hemangioma"])
def test_outline_never_exceeds_the_longest_diameter(tumour_class):
    for lesion in drawn(tumour_class, 4):
        mesh = open_mesh(AXIS, AXIS, AXIS)
        inside = lesion.depth_mm(mesh) > 0
        radius = np.sqrt(sum(v**2 for v in mesh))[inside].max()
        assert 9.0 < radius <= 15.0 + 1e-3


def test_volume_is_near_the_ellipsoids():
    for lesion in drawn("hcc", 4):
        volume = np.count_nonzero(lesion.depth_mm(open_mesh(AXIS, AXIS, AXIS)) > 0)
        whole = 4 / 3 * np.pi * lesion.semi_axes_mm.prod()
        assert 0.65 < volume / whole <= 1.01


@pytest.mark.parametrize(("tumour_class", "lowest", "highest"), [("hcc", 0.10, 0.20), ("hemangioma", 0.15, 0.20)])
def test_share_of_atypical_lesions(tumour_class, lowest, highest):
    rng = np.random.default_rng(3)
    lesions = [draw_lesion(rng, tumour_class, draw_diameter(rng), np.zeros(3)) for _ in range(1200)]
    # Two standard errors of 1200 draws.
    assert lowest - 0.02 <= np.mean([lesion.atypical for lesion in lesions]) <= highest + 0.02


def test_hemangioma_is_supplied_at_its_edge():
    """Nodules with gaps between them at the rim, and on average less toward the centre."""
    mesh = open_mesh(AXIS, AXIS, AXIS)
    rims, cores = [], []
    for lesion in [lesion for lesion in drawn("hemangioma", 12) if lesion.subtype == "typical"]:
        depth = lesion.depth_mm(mesh)
        supply = lesion.supply_map(mesh, depth)
        rim = supply[(depth > 0) & (depth < 3)]
        assert rim.std() > 0.15
        rims.append(rim.mean())
        cores.append(supply[depth > 8].mean())
    assert np.mean(rims) > 1.5 * np.mean(cores)


def test_carcinoma_is_a_mosaic_without_gradient():
    mesh = open_mesh(AXIS, AXIS, AXIS)
    for lesion in drawn("hcc", 4):
        depth = lesion.depth_mm(mesh)
        supply = lesion.supply_map(mesh, depth)
        assert supply[(depth > 0) & (depth < 3)].mean() == pytest.approx(supply[depth > 6].mean(), abs=0.15)
        assert supply[depth > 0].std() > 0.15


def test_only_carcinomas_have_capsules_and_small_ones_rarely():
    assert not any(lesion.capsule for lesion in drawn("hemangioma", 20))
    rng = np.random.default_rng(0)
    large, small = (
        np.mean([bool(draw_lesion(rng, "hcc", diameter_mm, np.zeros(3)).capsule) for _ in range(300)])
        for diameter_mm in (40.0, 12.0)
    )
    # Drawn with probability 0.8 and 0.3; three standard errors.
    assert large == pytest.approx(0.8, abs=0.09)
    assert small == pytest.approx(0.3, abs=0.1)


def test_capsule_is_a_shell():
    lesion = next(lesion for lesion in drawn("hcc", 20, 40.0) if lesion.capsule)
    share = lesion.capsule_share(np.float32([0.2, lesion.capsule_mm, 10.0]), 1.5)
    np.testing.assert_allclose(share, [1.0, 0.5, 0.0], atol=0.01)


def test_rotation_is_orthonormal():
    rotation = drawn("hcc", 1)[0].rotation
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-5)
    assert np.linalg.det(rotation) == pytest.approx(1.0, abs=1e-5)
