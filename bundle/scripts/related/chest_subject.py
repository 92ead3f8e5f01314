"""One subject of the chest phantom: lungs with vessels in a thorax, and nodules or ground-glass opacities in them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import ndimage

from .chest_classes import NORMAL

VERSION = "1.0"

AIR_HU, LUNG_HU, FAT_HU, TISSUE_HU, HEART_HU, BONE_HU = -1000.0, -850.0, -100.0, 40.0, 50.0, 350.0
VESSEL_HU, NODULE_HU, GROUND_GLASS_HU = 20.0, 20.0, -550.0

_SLICE_MM = 8.0
_FIELD_OF_VIEW_MM = 384.0
_RADIUS_MM = {"nodule": (5.0, 16.0), "ground_glass": (14.0, 34.0)}
_NUMBER = {"nodule": (2, 6), "ground_glass": (1, 4)}
_GAP_MM = 6.0
_VESSELS = 60
_LEAST_PIXELS = 3
"""A lesion is marked in a slice where it covers at least so many pixels."""


@dataclass(frozen=True, eq=False)
class ChestGrid:
    """Voxels of a phantom: the field of view is 384 mm wide, slices lie 8 mm apart.

    Args:
        shape: ``(X, Y, Z)`` voxels right-left, posterior-anterior, inferior-superior.
    """

    shape: tuple[int, int, int]

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Voxel size; in-plane voxels are square."""
        pixel_mm = _FIELD_OF_VIEW_MM / max(self.shape[:2])
        return pixel_mm, pixel_mm, _SLICE_MM

    @property
    def affine(self) -> np.ndarray:
        """``(4, 4)`` voxel to world in mm, RAS, the origin in the middle."""
        affine = np.diag([*self.spacing_mm, 1.0])
        affine[:3, 3] = [-(n - 1) / 2 * mm for n, mm in zip(self.shape, self.spacing_mm, strict=True)]
        return affine

    @cached_property
    def mesh_mm(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """World coordinates along each axis, ready to broadcast to ``shape``."""
        axes = [(np.arange(n) - (n - 1) / 2) * mm for n, mm in zip(self.shape, self.spacing_mm, strict=True)]
        return tuple(axis.astype(np.float32) for axis in np.meshgrid(*axes, indexing="ij", sparse=True))


@dataclass(frozen=True, eq=False)
class ChestSubject:
    """A phantom study.

    Args:
        image: ``(X, Y, Z)`` int16, HU.
        lesions: ``(X, Y, Z)`` uint8, the number of the lesion from 1 on; 0 elsewhere.
    """

    image: np.ndarray
    lesions: np.ndarray


def make_subject(rng: np.random.Generator, kind: str, grid: ChestGrid) -> ChestSubject:
    """Draw a subject.

    Args:
        rng: source of everything random.
        kind: one of ``CLASSES``.
        grid: where.
    """
    image, lung = _thorax(rng, grid)
    _add_vessels(image, lung, rng, grid)
    lesions = np.zeros(grid.shape, dtype=np.uint8)
    if kind != NORMAL:
        for number, share in enumerate(_lesion_shares(rng, kind, lung, grid), start=1):
            _blend(image, share, _tissue(rng, kind, grid))
            lesions[share > 0.5] = number
        _drop_traces(lesions)
    noise = ndimage.gaussian_filter(rng.standard_normal(grid.shape, dtype=np.float32), (0.6, 0.6, 0))
    image += rng.uniform(15.0, 35.0) * noise / noise.std()
    return ChestSubject(image.clip(AIR_HU, 3000).round().astype(np.int16), lesions)


def _thorax(rng: np.random.Generator, grid: ChestGrid) -> tuple[np.ndarray, np.ndarray]:
    """Body, ribs, spine, heart and lungs; returns the image in HU and the lungs' share of each voxel."""
    x, y, z = grid.mesh_mm
    scale = rng.uniform(0.92, 1.06)
    width, depth = 168 * scale * rng.uniform(0.95, 1.03), 112 * scale * rng.uniform(0.94, 1.05)
    image = np.full(grid.shape, AIR_HU, dtype=np.float32)
    body = _inside(np.hypot(x / width, y / depth) * np.ones_like(z), depth, grid)
    _blend(image, body, FAT_HU)
    wall = _inside(np.hypot(x / (width - 14), y / (depth - 12)) * np.ones_like(z), depth, grid)
    _blend(image, wall, TISSUE_HU)
    angle = np.arctan2(y / depth, x / width)
    phase = rng.uniform(0, 2 * np.pi)
    ribs = np.cos(7 * angle + 0.12 * z + phase) > 0.55
    shell = np.hypot(x / (width - 18), y / (depth - 16))
    _blend(image, (np.abs(shell - 0.97) < 0.035) * ribs * 1.0, BONE_HU)
    spine = _inside(np.hypot(x / 17, (y + 0.72 * depth) / 19) * np.ones_like(z), 17, grid)
    _blend(image, spine, BONE_HU)
    lungs = np.zeros(grid.shape, dtype=np.float32)
    for side in (-1, 1):
        centre = side * 0.45 * width + rng.uniform(-4, 4), rng.uniform(0, 8), rng.uniform(-8, 8)
        axes = 0.345 * width * rng.uniform(0.94, 1.04), 0.72 * depth * rng.uniform(0.94, 1.04), rng.uniform(105, 125)
        lungs = np.maximum(lungs, _inside(_distance(grid, centre, axes), min(axes), grid))
    heart_axes = np.array([62, 55, 50]) * scale * rng.uniform(0.9, 1.05)
    heart = _inside(_distance(grid, (-18, 18, -45), heart_axes), 50, grid)
    lungs = lungs * (1 - heart) * wall
    _blend(image, lungs, LUNG_HU + 30 * _field(rng, grid, 25.0))
    _blend(image, heart * wall * (1 - spine), HEART_HU)
    aorta = _inside(np.hypot(x + 22, y + 0.52 * depth) / 12 * np.ones_like(z), 12, grid)
    _blend(image, aorta, HEART_HU)
    lungs *= 1 - aorta
    return image, lungs


def _add_vessels(image: np.ndarray, lung: np.ndarray, rng: np.random.Generator, grid: ChestGrid) -> None:
    """Short tubes of every direction, which in a slice look like small nodules."""
    places = np.argwhere(lung > 0.9)
    for _ in range(_VESSELS):
        centre = places[rng.integers(len(places))] @ np.diag(grid.spacing_mm) + grid.affine[:3, 3]
        direction = rng.standard_normal(3)
        direction /= np.linalg.norm(direction)
        radius, half_length = rng.uniform(0.8, 2.6), rng.uniform(8.0, 25.0)
        box, (x, y, z) = _box(grid, centre, half_length + 4)
        along = sum(d * (axis - c) for d, axis, c in zip(direction, (x, y, z), centre, strict=True))
        away = np.sqrt(np.maximum(sum((a - c) ** 2 for a, c in zip((x, y, z), centre, strict=True)) - along**2, 0))
        share = _inside(away / radius, radius, grid) * (np.abs(along) < half_length) * lung[box]
        _blend(image[box], share.astype(np.float32), VESSEL_HU)


def _lesion_shares(rng: np.random.Generator, kind: str, lung: np.ndarray, grid: ChestGrid) -> list[np.ndarray]:
    """The share of each voxel that each lesion covers, inside the lungs.

    Centres keep the sum of their radii and a gap apart; the rough outlines of ground-glass opacities may still touch.
    """
    least, most = _RADIUS_MM[kind]
    least = max(least, 1.3 * grid.spacing_mm[0])
    most = max(most, least)
    low, high = _NUMBER[kind]
    places = np.argwhere(lung > 0.95)
    shares: list[np.ndarray] = []
    taken: list[tuple[np.ndarray, float]] = []
    for _ in range(int(rng.integers(low, high + 1))):
        radius = float(np.exp(rng.uniform(np.log(least), np.log(most))))
        for _ in range(50):
            centre = places[rng.integers(len(places))] @ np.diag(grid.spacing_mm) + grid.affine[:3, 3]
            if all(np.linalg.norm(centre - other) > radius + r + _GAP_MM for other, r in taken):
                break
        else:
            continue
        share = _lesion_share(rng, kind, centre, radius, grid) * (lung > 0.5)
        taken.append((centre, radius))
        shares.append(share.astype(np.float32))
    return shares


def _lesion_share(
    rng: np.random.Generator, kind: str, centre: np.ndarray, radius: float, grid: ChestGrid
) -> np.ndarray:
    stretch = rng.uniform(0.8, 1.25, size=3)
    roughness, coarseness = (0.12, 0.7) if kind == "nodule" else (0.35, 0.5)
    distance = _distance(grid, centre, radius * stretch) + roughness * _field(rng, grid, coarseness * radius)
    return _inside(distance, radius, grid)


def _tissue(rng: np.random.Generator, kind: str, grid: ChestGrid) -> np.ndarray | float:
    if kind == "nodule":
        return NODULE_HU + rng.uniform(-40, 40)
    return GROUND_GLASS_HU + rng.uniform(-80, 60) + 60 * _field(rng, grid, 5.0)


def _drop_traces(lesions: np.ndarray) -> None:
    """Unmark, in place, what of a lesion is too small in a slice to be seen there."""
    for index in range(lesions.shape[2]):
        counts = np.bincount(lesions[:, :, index].ravel())
        for number in np.flatnonzero(counts[1:] < _LEAST_PIXELS) + 1:
            lesions[:, :, index][lesions[:, :, index] == number] = 0


def _distance(grid: ChestGrid, centre: tuple[float, ...] | np.ndarray, axes: tuple[float, ...] | np.ndarray):
    """Distance from an ellipsoid's centre in units of its radius."""
    return np.sqrt(sum(((v - c) / a) ** 2 for v, c, a in zip(grid.mesh_mm, centre, axes, strict=True)))


def _inside(distance: np.ndarray, radius_mm: float, grid: ChestGrid) -> np.ndarray:
    """Share of a voxel inside a shape, from the distance in units of its radius: the outline is one pixel wide."""
    return np.clip(0.5 + (1 - distance) * radius_mm / grid.spacing_mm[0], 0, 1).astype(np.float32)


def _blend(image: np.ndarray, share: np.ndarray, value: np.ndarray | float) -> None:
    image += share * (value - image)


def _field(rng: np.random.Generator, grid: ChestGrid, width_mm: float) -> np.ndarray:
    """Smooth noise of mean 0 and standard deviation 1."""
    noise = rng.standard_normal(grid.shape, dtype=np.float32)
    smooth = ndimage.gaussian_filter(noise, [width_mm / mm for mm in grid.spacing_mm], mode="wrap")
    return (smooth - smooth.mean()) / max(float(smooth.std()), 1e-6)


def _box(grid: ChestGrid, centre: np.ndarray, half_mm: float) -> tuple[tuple[slice, ...], tuple[np.ndarray, ...]]:
    """The voxels within ``half_mm`` of a point along each axis, and their coordinates."""
    index = (centre - grid.affine[:3, 3]) / grid.spacing_mm
    reach = half_mm / np.array(grid.spacing_mm)
    box = tuple(
        slice(max(0, int(np.floor(i - r))), min(n, int(np.ceil(i + r)) + 1))
        for i, r, n in zip(index, reach, grid.shape, strict=True)
    )
    mesh = [
        np.take(axis, range(s.start, s.stop), axis=k) for k, (axis, s) in enumerate(zip(grid.mesh_mm, box, strict=True))
    ]
    return box, tuple(mesh)
