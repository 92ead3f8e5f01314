"""Finds phases whose slices are stored in the opposite order to the others', by what the images show.

Only the order relative to the other phases can be seen: a study in which all are reversed looks sound.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import affine_transform

from .source_case import Volume

MARGIN = 0.1
"""How much better a reversed phase has to correlate before it counts as stored in reverse."""

_IN_PLANE = 32
"""Samples along each in-plane axis; anatomy is told from the coarse outline."""

_LEAST_OVERLAP = 0.5
"""Share of the shorter stack that has to overlap; less correlates by chance."""


@dataclass(frozen=True)
class Match:
    """How a phase fits the reference.

    Args:
        correlation: of the overlapping slices, at the best shift.
        shift_mm: along the slice normal from where the affine puts the phase to where it fits best.
    """

    correlation: float
    shift_mm: float


@dataclass(frozen=True)
class SliceOrder:
    """What a comparison of two phases says.

    Args:
        stored: the match as stored.
        backwards: the match with the slices reversed between the same two ends.
    """

    stored: Match
    backwards: Match

    @property
    def is_reversed(self) -> bool:
        """Whether the phase fits clearly better in reverse."""
        return self.backwards.correlation > self.stored.correlation + MARGIN


def compare(moving: Volume, fixed: Volume) -> SliceOrder:
    """Compare a phase with the reference in both slice orders.

    Args:
        moving: axes parallel to the fixed volume's, third axis along the slice normal.
        fixed: the reference.
    """
    step_mm = float(abs(fixed.affine[2, 2]))
    reference, reference_start = _coarse(fixed, fixed, step_mm)
    phase, start = _coarse(moving, fixed, step_mm)
    stored, backwards = (
        _best(order, start, reference, reference_start, step_mm) for order in (phase, phase[..., ::-1])
    )
    return SliceOrder(stored, backwards)


def reversed_slices(volume: Volume, *, about_first: bool) -> Volume:
    """The volume with its slices in the opposite order.

    Args:
        volume: third axis along the slice normal.
        about_first: whether the first slice keeps its place and the others go the other way; otherwise the two ends
            keep theirs.
    """
    affine = volume.affine.copy()
    if about_first:
        affine[:3, 3] -= affine[:3, 2] * (volume.data.shape[2] - 1)
    return Volume(volume.data[..., ::-1], affine)


def put_right(phases: Sequence[Volume], reference: int) -> tuple[list[Volume], list[bool], list[SliceOrder | None]]:
    """Reverse the phases that are stored in the opposite order to most.

    Args:
        phases: all there.
        reference: index of the phase that the others are compared with.

    Returns:
        The phases, which of them were reversed, and the comparisons (None for the reference).
    """
    fixed = phases[reference]
    orders = [None if index == reference else compare(phase, fixed) for index, phase in enumerate(phases)]
    flags = [order is not None and order.is_reversed for order in orders]
    if all(flag for index, flag in enumerate(flags) if index != reference):
        # All the others agree with each other, so it is the reference that is the wrong way round.
        flags = [index == reference for index in range(len(phases))]
    right = [
        _nearest_reversed(phase, fixed if index != reference else phases[reference - 1]) if flag else phase
        for index, (phase, flag) in enumerate(zip(phases, flags, strict=True))
    ]
    return right, flags, orders


def _nearest_reversed(phase: Volume, other: Volume) -> Volume:
    """Reversed the way that puts it nearer to where the other shows the same anatomy."""
    ways = [reversed_slices(phase, about_first=about_first) for about_first in (False, True)]
    return min(ways, key=lambda way: abs(compare(way, other).stored.shift_mm))


def _coarse(volume: Volume, grid: Volume, step_mm: float) -> tuple[np.ndarray, float]:
    """The volume at few points in the grid's plane and every ``step_mm`` of its own slices, and its lowest slice's z.

    Both affines are diagonal, so each axis is on its own.
    """
    shape, scales, starts = [], [], []
    for axis in range(2):
        size = grid.data.shape[axis]
        first, last = grid.affine[axis, 3], grid.affine[axis, 3] + grid.affine[axis, axis] * (size - 1)
        shape.append(min(_IN_PLANE, size))
        step = (last - first) / (shape[axis] - 1)
        scales.append(step / volume.affine[axis, axis])
        starts.append((first - volume.affine[axis, 3]) / volume.affine[axis, axis])
    spacing_mm = volume.affine[2, 2]
    ends = sorted((volume.affine[2, 3], volume.affine[2, 3] + spacing_mm * (volume.data.shape[2] - 1)))
    shape.append(int((ends[1] - ends[0]) / step_mm) + 1)
    scales.append(step_mm / spacing_mm)
    starts.append((ends[0] - volume.affine[2, 3]) / spacing_mm)
    sampled = affine_transform(
        volume.data.astype(np.float32), np.array(scales), np.array(starts), tuple(shape), order=1, mode="constant"
    )
    return sampled, float(ends[0])


def _best(moving: np.ndarray, start: float, fixed: np.ndarray, fixed_start: float, step_mm: float) -> Match:
    """The shift along the slices at which two stacks correlate best."""
    least = max(2, int(np.ceil(_LEAST_OVERLAP * min(moving.shape[2], fixed.shape[2]))))
    best = Match(-1.0, 0.0)
    for first in range(least - moving.shape[2], fixed.shape[2] - least + 1):
        low, high = max(first, 0), min(first + moving.shape[2], fixed.shape[2])
        here = _correlation(moving[..., low - first : high - first], fixed[..., low:high])
        if here > best.correlation:
            best = Match(here, fixed_start + first * step_mm - start)
    return best


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    one, other = one - one.mean(), other - other.mean()
    norm = float(np.sqrt((one**2).sum() * (other**2).sum()))
    return float((one * other).sum()) / norm if norm > 0 else -1.0
