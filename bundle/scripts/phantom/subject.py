"""One phantom subject: drawn, painted, acquired."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..domain.classes import LABELS, NO_LESION
from ..domain.enhancement import mean_curve
from .abdomen import LiverTissue, paint_cyst, paint_liver, paint_surroundings
from .acquisition import SCANNERS, acquire, draw_acquisition
from .anatomy import Anatomy, Ellipsoid, draw_anatomy, planning_mesh
from .canvas import Canvas
from .grid import Grid, edge
from .kinetics import Circulation, Scan
from .lesions import SUPPLY_BINS, Lesion, draw_diameter, draw_lesion

VERSION = "1.0"
"""Version of the generator: any change of the arrays that it makes bumps it and voids earlier results."""

CIRRHOSIS_SHARE = {"hcc": 0.75, "hemangioma": 0.15, NO_LESION: 0.35}
_GAP_MM = 14.0


@dataclass(frozen=True, eq=False)
class PhantomStudy:
    """One acquired study and its truth.

    Args:
        image: ``(4, X, Y, Z)`` int16, raw scanner units.
        label: ``(X, Y, Z)`` uint8 of ``LABELS`` values.
        liver: ``(X, Y, Z)`` uint8, the liver with everything in it.
        affine: voxel to RAS world, mm.
        times_s: phase times as the study states them.
        site: scanner preset.
        tumour_class: one of ``CLASSES`` or ``"none"``.
        truth: JSON-ready description with the latent, noise-free lesion curves.
    """

    image: np.ndarray
    label: np.ndarray
    liver: np.ndarray
    affine: np.ndarray
    times_s: tuple[float, float, float, float]
    site: str
    tumour_class: str
    truth: dict[str, Any]


def make_study(
    seed: np.random.SeedSequence, tumour_class: str, grid: Grid, *, shift_mm: float | None = None
) -> PhantomStudy:
    """Make one subject's study.

    Args:
        seed: everything random follows from it.
        tumour_class: one of ``CLASSES`` or ``"none"``.
        grid: voxel grid.
        shift_mm: how far every phase but the reference is displaced by breathing; drawn by default, and nothing else
            of the study depends on it.
    """
    plan_rng, scan_rng = (np.random.default_rng(s) for s in seed.spawn(2))
    anatomy = draw_anatomy(plan_rng, cirrhosis=bool(plan_rng.uniform() < CIRRHOSIS_SHARE[tumour_class]))
    parenchyma = LiverTissue(plan_rng, cirrhosis=anatomy.cirrhosis)
    lesions, cysts = _place(plan_rng, tumour_class, anatomy)
    site = str(plan_rng.choice(sorted(SCANNERS)))
    acquisition = draw_acquisition(plan_rng, SCANNERS[site], shift_mm=shift_mm)
    circulation = Circulation(
        cardiac_output_ml_s=float(plan_rng.uniform(80.0, 120.0)), gut_transit_s=float(plan_rng.uniform(11.0, 19.0))
    )
    scan = Scan(circulation, acquisition.scanner.sequence, acquisition.true_times_s)

    canvas = Canvas(grid)
    paint_surroundings(canvas, anatomy, scan, acquisition.scanner)
    liver_share = paint_liver(canvas, anatomy, parenchyma, scan)
    for cyst in cysts:
        paint_cyst(canvas, cyst, scan)
    masks = [_paint_lesion(canvas, lesion, anatomy, scan) for lesion in lesions]
    label = np.zeros(grid.shape, np.uint8)
    for mask in masks:
        label[mask] = LABELS[tumour_class]
    truth = {
        "version": VERSION,
        "cirrhosis": anatomy.cirrhosis,
        "cysts": len(cysts),
        "true_times_s": [round(float(t), 3) for t in acquisition.true_times_s],
        "shifts_mm": [grid.world_mm(shift) for shift in acquisition.shifts_mm],
        "gains": acquisition.gains.tolist(),
        "lesions": [_describe(lesion, mask, canvas.signal) for lesion, mask in zip(lesions, masks, strict=True)],
    }
    return PhantomStudy(
        image=acquire(scan_rng, canvas.signal, grid, acquisition),
        label=label,
        liver=((liver_share > 0.5) | (label > 0)).astype(np.uint8),
        affine=grid.affine,
        times_s=tuple(float(t) for t in acquisition.recorded_times_s),
        site=site,
        tumour_class=tumour_class,
        truth=truth,
    )


def _place(rng: np.random.Generator, tumour_class: str, anatomy: Anatomy) -> tuple[list[Lesion], list[Ellipsoid]]:
    """Draw lesions, the largest first, then cysts, each inside the liver and clear of the others."""
    mesh = planning_mesh()
    depth_mm = anatomy.liver_depth_mm(mesh)
    points = np.stack(np.broadcast_arrays(*mesh), axis=-1)

    def free_place(radius_mm: float) -> np.ndarray:
        """A random centre; the clearance is given up step by step where the liver is too small for it."""
        for inside in (0.8, 0.5, 0.2, -1.0):
            candidates = np.flatnonzero((depth_mm > inside * radius_mm) & (clearance_mm > radius_mm + _GAP_MM))
            if candidates.size:
                return points.reshape(-1, 3)[rng.choice(candidates)].astype(np.float64)
        return np.array(anatomy.lobes[0].centre_mm)

    def occupy(centre_mm: np.ndarray, radius_mm: float) -> np.ndarray:
        distance_mm = np.sqrt(sum((v - np.float32(c)) ** 2 for v, c in zip(mesh, centre_mm, strict=True)))
        return np.minimum(clearance_mm, distance_mm - np.float32(radius_mm))

    clearance_mm = np.full(depth_mm.shape, 1e3, np.float32)
    lesions, cysts = [], []
    if tumour_class != NO_LESION:
        count = int(rng.choice([1, 2, 3], p=[0.7, 0.2, 0.1]))
        for diameter_mm in sorted((draw_diameter(rng) for _ in range(count)), reverse=True):
            lesions.append(draw_lesion(rng, tumour_class, diameter_mm, free_place(diameter_mm / 2)))
            clearance_mm = occupy(lesions[-1].centre_mm, diameter_mm / 2)
    for _ in range(int(rng.choice([0, 1, 2, 3], p=[0.6, 0.2, 0.12, 0.08]))):
        radius_mm = float(rng.uniform(3.0, 11.0))
        centre_mm = free_place(radius_mm)
        semi_axes_mm = tuple((radius_mm * rng.uniform(0.85, 1.0, 3)).tolist())
        cysts.append(Ellipsoid(tuple(centre_mm.tolist()), semi_axes_mm))
        clearance_mm = occupy(centre_mm, radius_mm)
    return lesions, cysts


def _paint_lesion(canvas: Canvas, lesion: Lesion, anatomy: Anatomy, scan: Scan) -> np.ndarray:
    """Paint one lesion; returns its mask ``(X, Y, Z)``, the voxels that it fills by half, or else the most."""
    table = np.stack([scan.tissue(tissue) for tissue in lesion.tissues], axis=1)
    capsule = None if lesion.capsule is None else scan.tissue(lesion.capsule)
    reach_mm = lesion.diameter_mm / 2 + 3.0

    def tissue(mesh: tuple[np.ndarray, np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        depth_mm = lesion.depth_mm(mesh)
        share = edge(depth_mm, 2.5) * edge(anatomy.liver_depth_mm(mesh), 3.0)
        supply = lesion.supply_map(mesh, depth_mm)
        signal = np.stack([np.interp(supply, SUPPLY_BINS, row).astype(np.float32) for row in table])
        if capsule is not None:
            shell = lesion.capsule_share(depth_mm, 1.5)
            for phase, value in enumerate(capsule):
                signal[phase] += shell * (np.float32(value) - signal[phase])
        return share, signal

    box, share = canvas.paint_fine(lesion.centre_mm - reach_mm, lesion.centre_mm + reach_mm, tissue)
    mask = np.zeros(canvas.grid.shape, bool)
    # On a coarse grid a small lesion may fill no voxel by half, and must not vanish.
    mask[box] = share > min(0.5, 0.99 * float(share.max(initial=0.0)))
    return mask


def _describe(lesion: Lesion, mask: np.ndarray, signal: np.ndarray) -> dict[str, Any]:
    return {
        "subtype": lesion.subtype,
        "atypical": lesion.atypical,
        "diameter_mm": lesion.diameter_mm,
        "centre_mm": [round(c, 2) for c in Grid.world_mm(lesion.centre_mm)],
        "capsule": lesion.capsule is not None,
        "voxels": int(mask.sum()),
        "latent_curve": [round(float(v), 3) for v in mean_curve(signal, mask)] if mask.any() else None,
    }
