"""Painting tissues over one another with partial volume."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..domain.phases import PHASES
from .grid import Grid, open_mesh

Box = tuple[slice, slice, slice]
Mesh = tuple[np.ndarray, np.ndarray, np.ndarray]

EVERYWHERE: Box = (slice(None),) * 3
_FINE_MM = 2.0


class Canvas:
    """The noise-free signal of a study, ``(4, X, Y, Z)`` float32, onto which tissues are painted in order.

    Args:
        grid: where it lies.
    """

    def __init__(self, grid: Grid) -> None:
        self.grid = grid
        self.signal = np.zeros((len(PHASES), *grid.shape), np.float32)

    def paint(self, share: np.ndarray, signal: np.ndarray, box: Box = EVERYWHERE) -> None:
        """Cover what is there by a tissue.

        Args:
            share: ``(X, Y, Z)`` of the box, the tissue's share of each voxel, 0-1.
            signal: ``(4,)``, or ``(4, X, Y, Z)`` of the box.
            box: part of the grid.
        """
        for phase, value in enumerate(np.asarray(signal, np.float32)):
            view = self.signal[phase][box]
            view += share * (value - view)

    def paint_fine(
        self, lower_mm: np.ndarray, upper_mm: np.ndarray, tissue: Callable[[Mesh], tuple[np.ndarray, np.ndarray]]
    ) -> tuple[Box, np.ndarray]:
        """Paint a small structure supersampled to about 2 mm, so that thick slices average over it.

        Args:
            lower_mm: corner of the structure's box.
            upper_mm: opposite corner.
            tissue: gives share ``(x, y, z)`` and signal ``(4, x, y, z)`` on a fine mesh.

        Returns:
            The box on the grid and the share ``(X, Y, Z)`` in it.
        """
        box = self.grid.box(lower_mm, upper_mm)
        factors = tuple(max(1, int(np.ceil(d / _FINE_MM))) for d in self.grid.spacing_mm)
        fine_axes = []
        for axis, part, factor, spacing in zip(self.grid.axes(), box, factors, self.grid.spacing_mm, strict=True):
            offsets = ((np.arange(factor) + 0.5) / factor - 0.5) * spacing
            fine_axes.append((axis[part][:, None] + offsets).ravel())
        share, signal = tissue(open_mesh(*fine_axes))
        coarse_share = block_mean(share, factors)
        for phase in range(len(PHASES)):
            view = self.signal[phase][box]
            view *= np.float32(1.0) - coarse_share
            view += block_mean(share * signal[phase], factors)
        return box, coarse_share


def block_mean(volume: np.ndarray, factors: tuple[int, int, int]) -> np.ndarray:
    """Mean of each block of ``factors`` voxels, ``(X, Y, Z)``."""
    for axis, factor in enumerate(factors):
        if factor > 1:
            index = [slice(None)] * 3
            parts = []
            for start in range(factor):
                index[axis] = slice(start, None, factor)
                parts.append(volume[tuple(index)])
            # A plain chain of additions: the same bits on every machine.
            volume = sum(parts[1:], parts[0]) * np.float32(1.0 / factor)
    return volume
