"""The shapes of the upper abdomen, in mm and independent of any voxel grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .grid import SmoothField, open_mesh
from .vessels import Tube, hepatic_veins, portal_tree

Mesh = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Ellipsoid:
    """An axis-aligned ellipsoid in RAS mm."""

    centre_mm: tuple[float, float, float]
    semi_axes_mm: tuple[float, float, float]

    def depth_mm(self, mesh: Mesh) -> np.ndarray:
        """Distance inside the surface (negative outside), exact for a sphere."""
        squared = sum(((v - c) / a) ** 2 for v, c, a in zip(mesh, self.centre_mm, self.semi_axes_mm, strict=True))
        return (np.float32(1.0) - np.sqrt(squared)) * np.float32(min(self.semi_axes_mm))


@dataclass(frozen=True, eq=False)
class Anatomy:
    """One subject's organs.

    Args:
        body_mm: half width and half depth of the skin's outline.
        fat_mm: thickness of the subcutaneous fat.
        lung_base_mm: height of the lungs' base at the body's axis.
        lobes: ellipsoids whose union is the liver before its outline is made uneven.
        spleen: organ.
        stomach: organ.
        kidneys: right and left.
        aorta: vessel.
        vena_cava: vessel.
        portal: vessels in the liver.
        hepatic: vessels in the liver.
        outline: unevenness of the organs' outlines, unit variance.
        bowel: field that folds the bowel.
        cirrhosis: whether the liver is cirrhotic.
    """

    body_mm: tuple[float, float]
    fat_mm: float
    lung_base_mm: float
    lobes: tuple[Ellipsoid, ...]
    spleen: Ellipsoid
    stomach: Ellipsoid
    kidneys: tuple[Ellipsoid, Ellipsoid]
    aorta: Tube
    vena_cava: Tube
    portal: tuple[Tube, ...]
    hepatic: tuple[Tube, ...]
    outline: SmoothField
    bowel: SmoothField
    cirrhosis: bool

    def skin_depth_mm(self, mesh: Mesh) -> np.ndarray:
        """Distance inside the skin; a superellipse in the axial plane, the same at every height."""
        half_width, half_depth = self.body_mm
        x, y, _ = mesh
        u, v = (x / half_width) ** 2, (y / half_depth) ** 2
        # sqrt(sqrt(.)) of fourth powers blended with a plain ellipse: flatter than an ellipse in front and back.
        radius = np.float32(0.5) * (np.sqrt(u + v) + np.sqrt(np.sqrt(u * u + v * v)))
        return (np.float32(1.0) - radius) * np.float32(min(self.body_mm))

    def cavity_depth_mm(self, mesh: Mesh) -> np.ndarray:
        """Distance inside the abdominal wall's muscles."""
        return self.skin_depth_mm(mesh) - np.float32(self.fat_mm + 12.0)

    def lung_depth_mm(self, mesh: Mesh) -> np.ndarray:
        """Distance above the diaphragm; the recesses reach down along the wall."""
        x, y, z = mesh
        radius_squared = (x / self.body_mm[0]) ** 2 + (y / self.body_mm[1]) ** 2
        return z - np.float32(self.lung_base_mm) + np.float32(70.0) * radius_squared

    def liver_depth_mm(self, mesh: Mesh) -> np.ndarray:
        """Distance inside the liver's capsule: smooth union of the lobes, uneven, inside the cavity."""
        first, second = (lobe.depth_mm(mesh) for lobe in self.lobes)
        depth = smooth_union(first, second, blend_mm=15.0)
        depth = depth + np.float32(5.0) * self.outline.at(*mesh)
        return np.minimum(depth, self.cavity_depth_mm(mesh) - np.float32(2.0))


def smooth_union(first: np.ndarray, second: np.ndarray, *, blend_mm: float) -> np.ndarray:
    """Union of two depths whose seam is rounded (polynomial smooth maximum)."""
    overlap = np.maximum(np.float32(blend_mm) - np.abs(first - second), 0.0)
    return np.maximum(first, second) + overlap * overlap * np.float32(0.25 / blend_mm)


def draw_anatomy(rng: np.random.Generator, *, cirrhosis: bool) -> Anatomy:
    """Draw one subject's anatomy; the patient's right is at low x."""

    def jitter(*values: float, by: float = 0.08) -> tuple[float, ...]:
        return tuple((np.asarray(values) * (1.0 + by * rng.uniform(-1.0, 1.0, len(values)))).tolist())

    def moved(*values: float, by_mm: float = 6.0) -> tuple[float, ...]:
        return tuple((np.asarray(values) + by_mm * rng.uniform(-1.0, 1.0, len(values))).tolist())

    body_mm = jitter(168.0, 118.0)
    fat_mm = float(rng.uniform(8.0, 22.0))
    # A cirrhotic liver has a small right and a large left lobe, and a large spleen.
    right, left, spleen = (0.90, 1.12, 1.2) if cirrhosis else (1.0, 1.0, 1.0)
    right_lobe = Ellipsoid(moved(-68.0, 8.0, -5.0), jitter(72.0 * right, 82.0 * right, 76.0 * right))
    left_lobe = Ellipsoid(moved(5.0, 48.0, 15.0), jitter(68.0 * left, 38.0 * left, 42.0 * left))
    outline = SmoothField(rng, 18.0)
    bowel = SmoothField(rng, 9.0)
    aorta = Tube(moved(14.0, -42.0, -90.0, by_mm=3.0), moved(10.0, -40.0, 90.0, by_mm=3.0), 10.0, 11.0)
    vena_cava = Tube(moved(-18.0, -34.0, -90.0, by_mm=3.0), moved(-14.0, -22.0, 90.0, by_mm=3.0), 11.0, 12.0)
    return Anatomy(
        body_mm=body_mm,
        fat_mm=fat_mm,
        lung_base_mm=float(rng.uniform(55.0, 75.0)),
        lobes=(right_lobe, left_lobe),
        spleen=Ellipsoid(moved(98.0, -35.0, 10.0), jitter(24.0 * spleen, 46.0 * spleen, 44.0 * spleen)),
        stomach=Ellipsoid(moved(70.0, 35.0, 0.0), jitter(42.0, 36.0, 48.0, by=0.2)),
        kidneys=(
            Ellipsoid(moved(-52.0, -58.0, -62.0), jitter(27.0, 24.0, 50.0)),
            Ellipsoid(moved(60.0, -58.0, -48.0), jitter(27.0, 24.0, 50.0)),
        ),
        aorta=aorta,
        vena_cava=vena_cava,
        portal=portal_tree(rng),
        hepatic=hepatic_veins(rng),
        outline=outline,
        bowel=bowel,
        cirrhosis=cirrhosis,
    )


def planning_mesh() -> Mesh:
    """A 6 mm mesh over the liver's surroundings, on which lesions and cysts are placed at any voxel size."""
    return open_mesh(np.arange(-168.0, 90.0, 6.0), np.arange(-108.0, 109.0, 6.0), np.arange(-70.0, 71.0, 5.0))
