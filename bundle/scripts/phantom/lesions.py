"""Hepatocellular carcinoma and hemangioma: size, shape, and where in the lesion the contrast agent goes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .grid import SmoothField, edge
from .kinetics import Tissue

DIAMETERS_MM = (8.0, 60.0)
MEDIAN_DIAMETER_MM = 31.0
SUPPLY_BINS = np.linspace(0.0, 1.0, 17)
"""Levels of arterial supply for which a lesion's signal is simulated."""


@dataclass(frozen=True, eq=False)
class Lesion:
    """One lesion.

    Args:
        tumour_class: one of ``CLASSES``.
        subtype: ``"typical"`` or the way in which it is not.
        diameter_mm: longest diameter of the ellipsoid that it fills.
        centre_mm: RAS.
        semi_axes_mm: of the ellipsoid.
        rotation: ``(3, 3)`` RAS to the ellipsoid's axes.
        lobulation: how far its outline recedes from the ellipsoid, as a share of the radius.
        outline: field of the outline.
        interior: field of the supply inside.
        tissues: one tissue per level of ``SUPPLY_BINS``.
        capsule: tissue of the capsule, or None.
        capsule_mm: its thickness.
        supply: baseline, gain of the interior field, loss toward the centre; see ``supply_map``.
    """

    tumour_class: str
    subtype: str
    diameter_mm: float
    centre_mm: np.ndarray
    semi_axes_mm: np.ndarray
    rotation: np.ndarray
    lobulation: float
    outline: SmoothField
    interior: SmoothField
    tissues: tuple[Tissue, ...]
    capsule: Tissue | None
    capsule_mm: float
    supply: tuple[float, float, float]

    @property
    def atypical(self) -> bool:
        """Whether it lacks its class's textbook signs."""
        return self.subtype != "typical"

    def depth_mm(self, mesh: tuple[np.ndarray, np.ndarray, np.ndarray]) -> np.ndarray:
        """Distance inside the outline, ``(X, Y, Z)`` float32."""
        offsets = self._offsets(mesh)
        squared = np.float32(0.0)
        for row, semi_axis in zip(self.rotation, self.semi_axes_mm, strict=True):
            along = sum(np.float32(r) * o for r, o in zip(row, offsets, strict=True)) * np.float32(1.0 / semi_axis)
            squared = squared + along * along
        # The outline only recedes, so that the longest diameter is never exceeded.
        recession = np.clip(np.float32(0.5) + np.float32(0.4) * self.outline.at(*offsets), 0.0, 1.0)
        radius = np.float32(self.semi_axes_mm.mean())
        return (np.float32(1.0) - np.float32(self.lobulation) * recession - np.sqrt(squared)) * radius

    def supply_map(self, mesh: tuple[np.ndarray, np.ndarray, np.ndarray], depth_mm: np.ndarray) -> np.ndarray:
        """Arterial supply 0-1 of every voxel, ``(X, Y, Z)`` float32.

        A hemangioma fills from nodules at its edge (high gain at the rim, large loss inward); a hepatocellular
        carcinoma is a mosaic without that gradient.
        """
        baseline, gain, loss = (np.float32(v) for v in self.supply)
        inward = np.clip(depth_mm * np.float32(1.0 / (0.35 * self.diameter_mm)), 0.0, 1.0)
        return np.clip(baseline + gain * self.interior.at(*self._offsets(mesh)) - loss * inward, 0.0, 1.0)

    def capsule_share(self, depth_mm: np.ndarray, width_mm: float) -> np.ndarray:
        """Share of the capsule in every voxel: a shell inside the outline."""
        return edge(np.float32(self.capsule_mm) - depth_mm, width_mm)

    def _offsets(self, mesh: tuple[np.ndarray, np.ndarray, np.ndarray]) -> tuple[np.ndarray, ...]:
        return tuple(v - np.float32(c) for v, c in zip(mesh, self.centre_mm, strict=True))


def draw_diameter(rng: np.random.Generator) -> float:
    """Longest diameter, log-normal within ``DIAMETERS_MM``."""
    lower, upper = DIAMETERS_MM
    # The outline recedes by up to a quarter, and the lesion must not end up below the lower limit.
    while True:
        diameter = MEDIAN_DIAMETER_MM * float(np.exp(0.42 * rng.normal()))
        if lower * 1.25 <= diameter <= upper:
            return round(diameter, 2)


def draw_lesion(rng: np.random.Generator, tumour_class: str, diameter_mm: float, centre_mm: np.ndarray) -> Lesion:
    """Draw one lesion of a class at a place."""
    kind = _draw_hcc if tumour_class == "hcc" else _draw_hemangioma
    semi_axes_mm = diameter_mm / 2.0 * np.array([1.0, rng.uniform(0.8, 1.0), rng.uniform(0.75, 0.95)])
    reach = (-diameter_mm / 2 - 8.0,) * 3, (diameter_mm / 2 + 8.0,) * 3
    outline = SmoothField(rng, max(2.5, 0.16 * diameter_mm), *reach)
    return kind(
        rng,
        diameter_mm=diameter_mm,
        centre_mm=centre_mm,
        semi_axes_mm=semi_axes_mm,
        rotation=np.round(_rotation(rng), 6),
        outline=outline,
        reach=reach,
    )


def _draw_hcc(rng: np.random.Generator, *, diameter_mm: float, reach: tuple, **shape: object) -> Lesion:
    subtype = str(rng.choice(["typical", "no_washout", "weak_arterial"], p=[0.82, 0.10, 0.08]))
    t1_s = float(np.clip(rng.normal(1.15, 0.25), 0.8, 1.9))
    ve = float(np.clip(rng.normal(0.232, 0.022), 0.18, 0.29))
    fp, fa = float(0.031 * np.exp(0.25 * rng.normal())), float(rng.uniform(0.7, 0.95))
    if subtype == "no_washout":
        ve = float(rng.uniform(0.36, 0.48))
    if subtype == "weak_arterial":
        fp, fa = float(rng.uniform(0.009, 0.013)), float(rng.uniform(0.25, 0.45))
    tissues = tuple(
        Tissue(t1_s * (1.25 - 0.3 * u), ve * (0.85 + 0.2 * u), fp * (0.35 + 0.8 * u), fa, 0.5) for u in SUPPLY_BINS
    )
    # A capsule grows with the tumour; small ones rarely have one.
    has_capsule = rng.uniform() < (0.8 if diameter_mm > 20.0 else 0.3)
    return Lesion(
        tumour_class="hcc",
        subtype=subtype,
        diameter_mm=diameter_mm,
        lobulation=float(rng.uniform(0.04, 0.12)),
        interior=SmoothField(rng, max(2.0, 0.09 * diameter_mm), *reach),
        tissues=tissues,
        capsule=Tissue(t1_s, 0.42, 0.006, 0.5, 1.0) if has_capsule else None,
        capsule_mm=min(2.6, diameter_mm * float(rng.uniform(0.05, 0.08))),
        supply=(0.6, 0.35, 0.0),
        **shape,
    )


def _draw_hemangioma(rng: np.random.Generator, *, diameter_mm: float, reach: tuple, **shape: object) -> Lesion:
    flash = 0.35 if diameter_mm < 22.0 else 0.05
    subtype = str(rng.choice(["typical", "flash_filling", "sclerosed"], p=[0.92 - flash, flash, 0.08]))
    t1_s = float(np.clip(rng.normal(1.85, 0.45), 1.1, 3.2))
    ve = float(np.clip(rng.normal(0.46, 0.06), 0.32, 0.6))
    rim_fp, core_fp = float(0.045 * np.exp(0.25 * rng.normal())), float(0.0025 * np.exp(0.6 * rng.normal()))
    supply = (float(rng.uniform(0.45, 0.75)), 0.38, float(rng.uniform(0.5, 0.9)))
    if subtype == "flash_filling":
        t1_s, ve, supply = float(rng.uniform(1.2, 1.8)), float(rng.uniform(0.26, 0.38)), (0.85, 0.1, 0.0)
    if subtype == "sclerosed":
        t1_s, ve, rim_fp, core_fp = float(rng.uniform(1.0, 1.5)), float(rng.uniform(0.2, 0.3)), 0.015, 0.003
    fp = core_fp * (rim_fp / core_fp) ** SUPPLY_BINS
    return Lesion(
        tumour_class="hemangioma",
        subtype=subtype,
        diameter_mm=diameter_mm,
        lobulation=float(rng.uniform(0.12, 0.25)),
        interior=SmoothField(rng, max(2.5, 0.13 * diameter_mm), *reach),
        tissues=tuple(Tissue(t1_s, ve, float(f), 0.95) for f in fp),
        capsule=None,
        capsule_mm=0.0,
        supply=supply,
        **shape,
    )


def _rotation(rng: np.random.Generator) -> np.ndarray:
    """A uniformly distributed rotation, from a unit quaternion."""
    w, x, y, z = (q := rng.normal(size=4)) / np.sqrt((q**2).sum())
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
