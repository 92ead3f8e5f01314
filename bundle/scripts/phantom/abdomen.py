"""Paints the abdomen around and inside the liver."""

from __future__ import annotations

import numpy as np

from .acquisition import Scanner
from .anatomy import Anatomy, Ellipsoid
from .canvas import Canvas
from .grid import SmoothField, edge
from .kinetics import Scan, Tissue

LIVER = Tissue(0.84, 0.28, 0.012, 0.10)
"""A healthy liver; each subject varies around it."""
MUSCLE = Tissue(1.40, 0.10, 0.004, 1.0, density=0.9)
MARROW = Tissue(0.90, 0.12, 0.006, 1.0, density=0.45)
SPLEEN = Tissue(1.35, 0.30, 0.030, 1.0)
SPLEEN_RED_PULP = Tissue(1.35, 0.32, 0.010, 1.0)
CORTEX = Tissue(1.20, 0.35, 0.045, 1.0)
MEDULLA = Tissue(1.60, 0.30, 0.008, 1.0)
BOWEL = Tissue(1.10, 0.22, 0.010, 1.0, density=0.85)
STOMACH_WALL = Tissue(1.10, 0.25, 0.018, 1.0)
STOMACH_FLUID = Tissue(2.80)
CYST = Tissue(3.80, density=1.05)
FAT = Tissue(0.38)
LUNG = Tissue(1.20, density=0.06)


def paint_surroundings(canvas: Canvas, anatomy: Anatomy, scan: Scan, scanner: Scanner) -> None:
    """Everything but the liver: wall, bowel, spine, kidneys, stomach, spleen, lungs."""
    mesh = canvas.grid.coordinates()
    width_mm = max(2.0, 1.2 * canvas.grid.in_plane_mm)
    fat = scan.tissue(FAT) * scanner.fat
    skin_mm = anatomy.skin_depth_mm(mesh)
    cavity = edge(anatomy.cavity_depth_mm(mesh), width_mm)
    canvas.paint(edge(skin_mm, width_mm), fat)
    canvas.paint(edge(skin_mm - np.float32(anatomy.fat_mm), width_mm), scan.tissue(MUSCLE))
    canvas.paint(cavity, fat)
    loops = anatomy.bowel.at(*mesh)
    canvas.paint(cavity * edge(loops - np.float32(0.1), 0.5) * np.float32(0.9), scan.tissue(BOWEL))
    _paint_spine(canvas, anatomy, scan, width_mm)
    for kidney in anatomy.kidneys:
        _paint_layered(canvas, anatomy, kidney, (scan.tissue(CORTEX), scan.tissue(MEDULLA)), 8.0, width_mm)
    _paint_layered(
        canvas, anatomy, anatomy.stomach, (scan.tissue(STOMACH_WALL), scan.tissue(STOMACH_FLUID)), 4.0, width_mm
    )
    canvas.paint(cavity * edge(anatomy.lung_depth_mm(mesh), 5.0), scan.tissue(LUNG))
    _paint_spleen(canvas, anatomy, scan, width_mm)


def _paint_spine(canvas: Canvas, anatomy: Anatomy, scan: Scan, width_mm: float) -> None:
    back_mm = -anatomy.body_mm[1]
    box = canvas.grid.box((-40.0, back_mm, -1e3), (40.0, back_mm + 80.0, 1e3))
    x, y, _ = canvas.grid.coordinates(box)
    shape = canvas.signal[0][box].shape
    for centre_mm, half_width, half_depth, signal in (
        (back_mm + 28.0, 38.0, 16.0, scan.tissue(MUSCLE)),
        (back_mm + 53.0, 20.0, 16.0, scan.tissue(MARROW)),
    ):
        radius = np.sqrt((x / half_width) ** 2 + ((y - np.float32(centre_mm)) / half_depth) ** 2)
        share = edge((np.float32(1.0) - radius) * np.float32(half_depth), width_mm)
        canvas.paint(np.broadcast_to(share, shape), signal, box)


def _paint_layered(
    canvas: Canvas,
    anatomy: Anatomy,
    organ: Ellipsoid,
    signals: tuple[np.ndarray, np.ndarray],
    wall_mm: float,
    width_mm: float,
) -> None:
    box = canvas.grid.box(*_bounds_mm(organ, 12.0))
    mesh = canvas.grid.coordinates(box)
    depth_mm = organ.depth_mm(mesh) + np.float32(3.0) * anatomy.outline.at(*mesh)
    inside = edge(anatomy.cavity_depth_mm(mesh), width_mm)
    canvas.paint(edge(depth_mm, width_mm) * inside, signals[0], box)
    canvas.paint(edge(depth_mm - np.float32(wall_mm), width_mm) * inside, signals[1], box)


def _paint_spleen(canvas: Canvas, anatomy: Anatomy, scan: Scan, width_mm: float) -> None:
    box = canvas.grid.box(*_bounds_mm(anatomy.spleen, 14.0))
    mesh = canvas.grid.coordinates(box)
    depth_mm = anatomy.spleen.depth_mm(mesh) + np.float32(3.0) * anatomy.outline.at(*mesh)
    share = edge(np.minimum(depth_mm, anatomy.cavity_depth_mm(mesh) - np.float32(1.0)), width_mm)
    # The red pulp fills late: the well-known arterial stripes.
    stripes = edge(anatomy.bowel.at(*mesh), 1.5)
    canvas.paint(share, _mixed(scan.tissue(SPLEEN), scan.tissue(SPLEEN_RED_PULP), stripes), box)


class LiverTissue:
    """The liver's parenchyma: texture, perfusion differences and, in cirrhosis, nodules between septa.

    Args:
        rng: source of the parameters and fields.
        cirrhosis: whether the liver is cirrhotic.
    """

    def __init__(self, rng: np.random.Generator, *, cirrhosis: bool) -> None:
        t1_s = float(np.clip(rng.normal(LIVER.t1_s, 0.05), 0.72, 1.0))
        ve = float(np.clip(rng.normal(LIVER.ve, 0.025), 0.22, 0.34))
        fp, fa = (0.0085, 0.22) if cirrhosis else (LIVER.fp, LIVER.fa)
        fp, fa = fp * float(rng.uniform(0.8, 1.25)), fa * float(rng.uniform(0.7, 1.4))
        self.tissue = Tissue(t1_s, ve, fp, fa)
        self.septa = Tissue(t1_s * 1.3, ve * 1.25, fp * 0.75, fa)
        self.hyperperfused = Tissue(t1_s, ve, fp * 1.2, min(0.7, fa + 0.4))
        self.contrast = float(rng.uniform(0.6, 1.0)) if cirrhosis else 0.10
        box = (-180.0, -130.0, -90.0), (100.0, 130.0, 90.0)
        self.texture = SmoothField(rng, 2.8, *box)
        self.perfusion = SmoothField(rng, 14.0, *box)
        # Transient hepatic intensity differences: in some livers, in a part that the field chooses.
        self.threshold = float(rng.choice([1.2, 1.6, 9.0], p=[0.25, 0.25, 0.5]))

    def signal(self, scan: Scan, mesh: tuple[np.ndarray, np.ndarray, np.ndarray]) -> np.ndarray:
        """``(4, X, Y, Z)`` float32."""
        plain, septa = scan.tissue(self.tissue), scan.tissue(self.septa)
        texture = np.clip(np.float32(0.5) + np.float32(0.45) * self.texture.at(*mesh), 0.0, 1.0)
        signal = _mixed(plain, septa, texture * np.float32(self.contrast))
        patches = edge(self.perfusion.at(*mesh) - np.float32(self.threshold), 0.5)
        for phase, extra in enumerate((scan.tissue(self.hyperperfused) - plain).astype(np.float32)):
            signal[phase] += patches * extra
        return signal


def paint_liver(canvas: Canvas, anatomy: Anatomy, parenchyma: LiverTissue, scan: Scan) -> np.ndarray:
    """The liver with its vessels, aorta and vena cava.

    Returns:
        ``(X, Y, Z)`` float32, the liver's share of each voxel.
    """
    grid = canvas.grid
    width_mm = max(3.0, 1.2 * grid.in_plane_mm)
    share = np.zeros(grid.shape, np.float32)
    box = grid.box((-180.0, -130.0, -1e3), (130.0, 130.0, 1e3))
    mesh = grid.coordinates(box)
    share[box] = edge(anatomy.liver_depth_mm(mesh), width_mm)
    canvas.paint(share[box], parenchyma.signal(scan, mesh), box)
    blood = scan.circulation
    draining = blood.venous(parenchyma.tissue)
    for tubes, concentration in (
        (anatomy.hepatic, draining),
        (anatomy.portal, blood.portal),
        ((anatomy.vena_cava,), 0.6 * draining + 0.2 * blood.portal),
        ((anatomy.aorta,), blood.aorta),
    ):
        signal = np.asarray(scan.blood(concentration), np.float32).reshape(4, 1, 1, 1)
        for tube in tubes:
            canvas.paint_fine(
                *tube.bounds_mm(2.0), lambda fine, tube=tube, signal=signal: (edge(tube.depth_mm(fine), 2.0), signal)
            )
    return share


def paint_cyst(canvas: Canvas, cyst: Ellipsoid, scan: Scan) -> None:
    """A simple cyst: dark, sharp, without enhancement."""
    signal = np.asarray(scan.tissue(CYST), np.float32).reshape(4, 1, 1, 1)
    canvas.paint_fine(*_bounds_mm(cyst, 2.0), lambda fine: (edge(cyst.depth_mm(fine), 2.0), signal))


def _bounds_mm(organ: Ellipsoid, margin_mm: float) -> tuple[np.ndarray, np.ndarray]:
    centre, reach = np.asarray(organ.centre_mm), np.asarray(organ.semi_axes_mm) + margin_mm
    return centre - reach, centre + reach


def _mixed(first: np.ndarray, second: np.ndarray, share: np.ndarray) -> np.ndarray:
    """``(4, X, Y, Z)``: ``share`` of the second signal in the first."""
    return np.stack([np.float32(a) + np.float32(b - a) * share for a, b in zip(first, second, strict=True)])
