"""The grid that the network sees: 384 mm in-plane at a fixed number of pixels, every acquired slice."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..domain.study import Study

FIELD_OF_VIEW_MM = 384.0
"""Covered by the network grid in both in-plane directions, centre crop or pad."""


@dataclass(frozen=True)
class NetworkGrid:
    """Brings volumes to the network's slices and back; the centres of both grids coincide.

    In-plane axes keep their ascending order, and through-plane nothing is resampled.

    Args:
        shape: ``(X, Y, Z)`` of the study.
        spacing_mm: voxel size of the study.
        slice_axis: array axis of the acquired slice normal.
        size: pixels along each side of a slice; 256 is 1.5 mm, 128 is 3 mm.
    """

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    slice_axis: int
    size: int

    @classmethod
    def of(cls, study: Study, size: int) -> NetworkGrid:
        """The grid of a study."""
        return cls(study.image.shape[1:], study.spacing_mm, study.slice_axis, size)

    @property
    def in_plane_axes(self) -> tuple[int, int]:
        """The two array axes that a slice keeps, ascending."""
        return tuple(axis for axis in range(3) if axis != self.slice_axis)

    @property
    def pixel_mm(self) -> float:
        """Pixel size of the network grid."""
        return FIELD_OF_VIEW_MM / self.size

    def to_slices(self, volume: np.ndarray) -> np.ndarray:
        """Slices of a raw volume on the network grid; 0, i.e. air, outside the volume.

        Args:
            volume: ``(C, X, Y, Z)``.

        Returns:
            ``(S, C, size, size)`` float32, ``S`` the number of acquired slices.
        """
        slices = np.moveaxis(volume, self.slice_axis + 1, 0)
        return _resampled(slices, *self._to_network)

    def to_volume(self, slices: np.ndarray) -> np.ndarray:
        """A volume from slices on the network grid; 0 outside its field of view.

        Args:
            slices: ``(S, size, size)``, e.g. probabilities.

        Returns:
            ``(X, Y, Z)`` float32.
        """
        return np.moveaxis(_resampled(slices, *self._to_native), 0, self.slice_axis)

    @cached_property
    def _to_network(self) -> tuple[np.ndarray | None, ...]:
        return tuple(
            _resampling_matrix(self.shape[axis], self.spacing_mm[axis], self.size, self.pixel_mm)
            for axis in self.in_plane_axes
        )

    @cached_property
    def _to_native(self) -> tuple[np.ndarray | None, ...]:
        return tuple(
            _resampling_matrix(self.size, self.pixel_mm, self.shape[axis], self.spacing_mm[axis])
            for axis in self.in_plane_axes
        )


def _resampled(slices: np.ndarray, rows: np.ndarray | None, columns: np.ndarray | None) -> np.ndarray:
    """``rows @ slice @ columns.T`` for every slice; None stands for the identity."""
    slices = slices.astype(np.float32, copy=False)
    if rows is not None:
        slices = rows @ slices
    if columns is not None:
        slices = slices @ columns.T
    return np.ascontiguousarray(slices)


def _resampling_matrix(source_size: int, source_mm: float, target_size: int, target_mm: float) -> np.ndarray | None:
    """Linear interpolation from one centred row of samples to another, anti-aliased.

    The triangle filter is as wide as the coarser of the two spacings, so that minifying averages.

    Returns:
        ``(target_size, source_size)`` float32, rows outside the source zero; None for the identity.
    """
    if source_size == target_size and np.isclose(source_mm, target_mm, rtol=1e-5, atol=0):
        return None
    source = (np.arange(source_size) - (source_size - 1) / 2) * source_mm
    target = (np.arange(target_size) - (target_size - 1) / 2) * target_mm
    width = max(source_mm, target_mm)
    weights = np.maximum(0.0, 1.0 - np.abs(target[:, None] - source[None]) / width)
    inside = np.abs(target) <= source_size * source_mm / 2
    weights = np.where(inside[:, None], weights, 0.0)
    total = weights.sum(axis=1, keepdims=True)
    return np.divide(weights, total, out=np.zeros_like(weights), where=total > 0).astype(np.float32)
