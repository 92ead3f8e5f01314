"""The voxel grid of a phantom study, and smooth random fields that do not depend on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ..domain.errors import ConfigurationError

FIELD_OF_VIEW_MM = (384.0, 384.0, 160.0)
"""The anatomy is drawn in mm around the centre of this box; a coarser grid covers the same box."""


@dataclass(frozen=True)
class Grid:
    """An axis-aligned voxel grid centred on the anatomy, stored from the patient's right to the left (LAS+).

    Anatomical coordinates in this room follow the array: x grows to the patient's left.

    Args:
        shape: voxels from right to left, posterior to anterior, inferior to superior.
        spacing_mm: voxel size.
    """

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]

    @property
    def affine(self) -> np.ndarray:
        """``(4, 4)`` voxel to RAS world, mm; RAS grows to the patient's right, the array to the left."""
        affine = np.diag([*self.spacing_mm, 1.0])
        affine[:3, 3] = [axis[0] for axis in self.axes()]
        affine[0] *= -1.0
        return affine

    @staticmethod
    def world_mm(point_mm: Sequence[float]) -> list[float]:
        """A point or displacement of this room as RAS world coordinates."""
        x, y, z = (float(v) for v in point_mm)
        return [-x, y, z]

    @property
    def in_plane_mm(self) -> float:
        """The coarser of the two in-plane voxel sizes."""
        return max(self.spacing_mm[:2])

    def axes(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Voxel centres along each axis, mm, float64."""
        return tuple((np.arange(n) - (n - 1) / 2.0) * d for n, d in zip(self.shape, self.spacing_mm, strict=True))

    def box(self, lower_mm: np.ndarray, upper_mm: np.ndarray) -> tuple[slice, slice, slice]:
        """Slices of the voxels whose centres lie between two corners; may be empty."""
        return tuple(
            slice(int(np.searchsorted(axis, low)), int(np.searchsorted(axis, high, side="right")))
            for axis, low, high in zip(self.axes(), lower_mm, upper_mm, strict=True)
        )

    def coordinates(self, box: tuple[slice, slice, slice] | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Open mesh ``(X, 1, 1), (1, Y, 1), (1, 1, Z)`` of voxel centres in mm, float32."""
        axes = self.axes() if box is None else [axis[s] for axis, s in zip(self.axes(), box, strict=True)]
        return open_mesh(*axes)


def abdominal_grid(shape: Sequence[int], spacing_mm: Sequence[float] | None = None) -> Grid:
    """A grid that covers the abdomen.

    Args:
        shape: voxels right-left, posterior-anterior, inferior-superior.
        spacing_mm: voxel size; by default the shape covers ``FIELD_OF_VIEW_MM``.

    Raises:
        ConfigurationError: not three sensible numbers, or the grid is smaller than the abdomen.
    """
    if not _are_three(shape, int) or min(shape) < 8:
        msg = f"shape is {shape}; it must be three whole numbers of at least 8 voxels."
        raise ConfigurationError(msg)
    if spacing_mm is None:
        return Grid(tuple(shape), tuple(extent / n for extent, n in zip(FIELD_OF_VIEW_MM, shape, strict=True)))
    if not _are_three(spacing_mm, (int, float)) or not all(d > 0 for d in spacing_mm):
        msg = f"spacing_mm is {spacing_mm}; it must be three numbers above 0."
        raise ConfigurationError(msg)
    covered_mm = [n * d for n, d in zip(shape, spacing_mm, strict=True)]
    if any(covered < 0.95 * needed for covered, needed in zip(covered_mm, FIELD_OF_VIEW_MM, strict=True)):
        covered, needed = (" x ".join(f"{v:.0f}" for v in extent) for extent in (covered_mm, FIELD_OF_VIEW_MM))
        msg = (
            f"shape {list(shape)} at spacing_mm {list(spacing_mm)} covers {covered} mm, less than the abdomen's "
            f"{needed} mm. Leave spacing_mm out, or make it larger."
        )
        raise ConfigurationError(msg)
    return Grid(tuple(shape), tuple(float(d) for d in spacing_mm))


def _are_three(values: object, kind: type | tuple[type, ...]) -> bool:
    return isinstance(values, Sequence) and len(values) == 3 and all(isinstance(v, kind) for v in values)


def open_mesh(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One-dimensional coordinates as broadcastable float32 arrays."""
    return np.ix_(x.astype(np.float32), y.astype(np.float32), z.astype(np.float32))


class SmoothField:
    """A Gaussian random field of zero mean and unit standard deviation in a box, drawn on a coarse lattice.

    The lattice is fixed in mm, so the same seed gives the same field at any voxel size. Only additions and
    multiplications touch it, so that two machines agree on every bit that is written.

    Args:
        rng: source of the noise.
        smoothness_mm: standard deviation of the Gaussian that the noise is filtered with.
        lower_mm: corner of the box.
        upper_mm: opposite corner.
    """

    _STEPS = 1.5  # lattice points per standard deviation

    def __init__(
        self,
        rng: np.random.Generator,
        smoothness_mm: float,
        lower_mm: tuple[float, float, float] = tuple(-v / 2 for v in FIELD_OF_VIEW_MM),
        upper_mm: tuple[float, float, float] = tuple(v / 2 for v in FIELD_OF_VIEW_MM),
    ) -> None:
        self._step_mm = smoothness_mm / self._STEPS
        self._lower_mm = lower_mm
        size = [int((high - low) / self._step_mm) + 2 for low, high in zip(lower_mm, upper_mm, strict=True)]
        noise = rng.standard_normal(size, dtype=np.float32)
        field = ndimage.gaussian_filter(noise, self._STEPS, mode="reflect", truncate=3.0)
        # The variance that the separable kernel leaves, known beforehand: no sum over the field is needed.
        kernel = ndimage.gaussian_filter1d(np.eye(1, 31, 15), self._STEPS, truncate=3.0)
        self._values = field / np.float32(round(float((kernel**2).sum()) ** 1.5, 6))

    def at(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Values at an open mesh in mm, ``(X, Y, Z)`` float32; constant beyond the box."""
        values = self._values
        for axis in (2, 1, 0):  # the longest axes last: least work
            coordinate = (x, y, z)[axis].ravel()
            values = self._interpolated(values, coordinate, axis)
        return values

    def _interpolated(self, values: np.ndarray, coordinate: np.ndarray, axis: int) -> np.ndarray:
        last = values.shape[axis] - 1
        position = np.clip((coordinate - self._lower_mm[axis]) / self._step_mm, 0.0, last)
        below = np.minimum(position.astype(np.intp), last - 1)
        weight = (position - below).astype(np.float32).reshape([-1 if a == axis else 1 for a in range(3)])
        lower = values.take(below, axis=axis)
        return lower + (values.take(below + 1, axis=axis) - lower) * weight


def edge(depth_mm: np.ndarray, width_mm: float) -> np.ndarray:
    """Smooth step from 0 outside to 1 inside over a width: the partial volume of a boundary."""
    t = np.clip(depth_mm * np.float32(1.0 / width_mm) + np.float32(0.5), 0.0, 1.0)
    return t * t * (np.float32(3.0) - np.float32(2.0) * t)
