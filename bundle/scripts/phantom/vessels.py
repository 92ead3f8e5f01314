"""Vessels as tapered tubes: the portal tree and the hepatic veins."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Tube:
    """A straight piece of vessel with a radius at either end, RAS mm."""

    start_mm: tuple[float, float, float]
    end_mm: tuple[float, float, float]
    start_radius_mm: float
    end_radius_mm: float

    def bounds_mm(self, margin_mm: float) -> tuple[np.ndarray, np.ndarray]:
        """Corners of the box that holds the tube."""
        ends = np.array([self.start_mm, self.end_mm])
        reach = max(self.start_radius_mm, self.end_radius_mm) + margin_mm
        return ends.min(axis=0) - reach, ends.max(axis=0) + reach

    def depth_mm(self, mesh: tuple[np.ndarray, np.ndarray, np.ndarray]) -> np.ndarray:
        """Distance inside the tube's wall, negative outside."""
        axis = np.subtract(self.end_mm, self.start_mm)
        offsets = [v - np.float32(s) for v, s in zip(mesh, self.start_mm, strict=True)]
        along = sum(o * np.float32(a) for o, a in zip(offsets, axis, strict=True)) * np.float32(1.0 / (axis**2).sum())
        along = np.clip(along, 0.0, 1.0)
        squared = sum((o - along * np.float32(a)) ** 2 for o, a in zip(offsets, axis, strict=True))
        radius = np.float32(self.start_radius_mm) + along * np.float32(self.end_radius_mm - self.start_radius_mm)
        return radius - np.sqrt(squared)


def portal_tree(rng: np.random.Generator) -> tuple[Tube, ...]:
    """The portal vein from below, its right and left branch, and two further generations."""
    hilum = np.array([-28.0, 8.0, -8.0]) + rng.uniform(-5.0, 5.0, 3)
    trunk = Tube((6.0, -8.0, -50.0), tuple(hilum.tolist()), 7.0, 6.5)
    right = _branches(rng, hilum, np.array([-1.0, 0.05, 0.1]), 38.0, 5.5, generations=3)
    left = _branches(rng, hilum, np.array([0.75, 0.75, 0.45]), 36.0, 4.5, generations=2)
    return (trunk, *right, *left)


def hepatic_veins(rng: np.random.Generator) -> tuple[Tube, ...]:
    """Right, middle and left hepatic vein, fanning out from the vena cava below the dome."""
    junction = np.array([-16.0, -24.0, 52.0]) + rng.uniform(-4.0, 4.0, 3)
    directions = ([-1.0, 0.1, -0.55], [-0.5, 0.85, -0.55], [0.25, 0.95, -0.35])
    return tuple(tube for d in directions for tube in _branches(rng, junction, np.array(d), 42.0, 5.0, generations=3))


def _branches(
    rng: np.random.Generator,
    start: np.ndarray,
    direction: np.ndarray,
    length_mm: float,
    radius_mm: float,
    *,
    generations: int,
) -> list[Tube]:
    direction = direction / np.sqrt((direction**2).sum())
    end = start + direction * length_mm * rng.uniform(0.8, 1.2)
    tubes = [Tube(tuple(start.tolist()), tuple(end.tolist()), radius_mm, radius_mm * 0.75)]
    if generations > 1:
        spread = rng.normal(0.0, 0.45, 3)
        for sign in (1.0, -1.0):
            turned = direction + sign * spread + rng.normal(0.0, 0.15, 3)
            tubes += _branches(rng, end, turned, length_mm * 0.75, radius_mm * 0.68, generations=generations - 1)
    return tubes
