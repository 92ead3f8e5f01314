"""Tissues around and inside the liver."""

import numpy as np
import pytest

from scripts.phantom.abdomen import LIVER, LiverTissue, paint_cyst, paint_liver, paint_surroundings
from scripts.phantom.acquisition import SCANNERS
from scripts.phantom.anatomy import Ellipsoid, draw_anatomy
from scripts.phantom.canvas import Canvas
from scripts.phantom.grid import abdominal_grid
from scripts.phantom.kinetics import Circulation, Scan

GRID = abdominal_grid((64, 56, 16))
SCANNER = SCANNERS["site-a"]


@pytest.fixture(scope="module")
def scan():
    return Scan(Circulation(), SCANNER.sequence, SCANNER.times_s)


@pytest.fixture(scope="module")
def painted(scan):
    rng = np.random.default_rng(0)
    anatomy = draw_anatomy(rng, cirrhosis=False)
    canvas = Canvas(GRID)
    paint_surroundings(canvas, anatomy, scan, SCANNER)
    share = paint_liver(canvas, anatomy, LiverTissue(rng, cirrhosis=False), scan)
    return canvas, anatomy, share


def test_air_stays_dark(painted):
    canvas, anatomy, _ = painted
    outside = np.broadcast_to(anatomy.skin_depth_mm(GRID.coordinates()) < -10, GRID.shape)
    assert not canvas.signal[:, outside].any()


def test_liver_looks_like_liver(painted, scan):
    canvas, _, share = painted
    seen = np.median(canvas.signal[:, share > 0.99], axis=1)
    np.testing.assert_allclose(seen, scan.tissue(LIVER), rtol=0.25)


def test_suppressed_fat_is_darker_than_muscle(painted, scan):
    canvas, anatomy, _ = painted
    depth = np.broadcast_to(anatomy.skin_depth_mm(GRID.coordinates()), GRID.shape)
    fat = canvas.signal[0][(depth > 3) & (depth < anatomy.fat_mm - 3)]
    muscle = canvas.signal[0][(depth > anatomy.fat_mm + 4) & (depth < anatomy.fat_mm + 8)]
    assert np.median(fat) < np.median(muscle)


def test_cirrhosis_is_seen_in_the_texture(scan):
    mesh = GRID.coordinates()
    deviation = {
        cirrhosis: (s := LiverTissue(np.random.default_rng(1), cirrhosis=cirrhosis).signal(scan, mesh)[3]).std()
        / s.mean()
        for cirrhosis in (False, True)
    }
    assert deviation[True] > 2 * deviation[False]


def test_cyst_does_not_enhance(scan):
    canvas = Canvas(GRID)
    canvas.signal[:] = 50.0
    paint_cyst(canvas, Ellipsoid((-60.0, 0.0, 0.0), (30.0, 30.0, 30.0)), scan)
    inside = canvas.signal[:, GRID.shape[0] // 2 - 10, GRID.shape[1] // 2, GRID.shape[2] // 2]
    assert inside.max() < 15
    np.testing.assert_allclose(inside, inside[0], rtol=1e-5)
