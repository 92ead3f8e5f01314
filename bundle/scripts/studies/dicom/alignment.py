"""Brings one phase of a study onto the grid of the reference phase, or refuses it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...domain.errors import StudyError
from ..registration import Registered, register
from ..resampling import resample
from .coverage import LEAST_SHARE, Coverage, coverage
from .pixels import read_volume
from .stack import Stack
from .vocabulary import in_words

_INT16 = np.iinfo(np.int16)


@dataclass(frozen=True, eq=False)
class Volume:
    """One acquired phase.

    Args:
        phase: its name.
        data: ``(columns, rows, slices)`` float32, raw units.
        affine: ``(4, 4)`` to RAS world, mm.
        stored_dtype: int16 where the scanner's values are whole numbers that it holds, else float32.
    """

    phase: str
    data: np.ndarray
    affine: np.ndarray
    stored_dtype: type[np.generic]


@dataclass(frozen=True, eq=False)
class Aligned:
    """A phase on the reference grid.

    Args:
        image: on the reference grid, raw units, 0 where the phase shows nothing; int16 or float32.
        unmoved: the same without registration; None where there was none.
        coverage: how much of the reference the phase shows.
        registration: None where there was none.
    """

    image: np.ndarray
    unmoved: np.ndarray | None
    coverage: Coverage
    registration: Registered | None


def read_phase(phase: str, stack: Stack) -> Volume:
    """Read a phase's stack.

    Args:
        phase: its name, for messages.
        stack: without faults.

    Raises:
        StudyError: unusable pixel data, or every voxel the same.
    """
    data = read_volume(stack)
    low, high = float(data.min()), float(data.max())
    if not np.isfinite([low, high]).all():
        msg = f"{in_words(phase)}: holds voxels that are no numbers. Export the series again"
        raise StudyError(msg)
    if low == high:
        msg = f"{in_words(phase)}: constant volume: every voxel is {low:g}. Export the series again"
        raise StudyError(msg)
    whole = _INT16.min <= low and high <= _INT16.max and np.array_equal(data, np.rint(data))
    return Volume(phase, data, stack.affine, np.int16 if whole else np.float32)


def align(moving: Volume, reference: Volume, *, method: str) -> Aligned:
    """Bring a phase onto the reference grid.

    Values between voxels are rounded to the step in which the scanner stored its own.

    Args:
        moving: the phase.
        reference: the arterial phase.
        method: one of ``registration.METHODS``.

    Raises:
        StudyError: the phase shows less than half of the reference, or cannot be registered at all.
    """
    covered = coverage(moving.data.shape, moving.affine, reference.data.shape, reference.affine)
    if covered.share < LEAST_SHARE:
        msg = (
            f"{in_words(moving.phase)}: shows only {covered}. Choose another series for it with --phases, or leave the "
            "study out"
        )
        raise StudyError(msg)
    plainly = moving.data, moving.affine, reference.data.shape, reference.affine
    if method == "none":
        return Aligned(as_stored(resample(*plainly)[0], moving.stored_dtype), None, covered, None)
    try:
        moved = register(moving.data, moving.affine, reference.data, reference.affine, method=method)
    except StudyError as error:
        msg = f"{in_words(moving.phase)}: {error}"
        raise StudyError(msg) from error
    return Aligned(as_stored(moved.image, moving.stored_dtype), resample(*plainly)[0], covered, moved)


def as_stored(image: np.ndarray, dtype: type[np.generic]) -> np.ndarray:
    """An image in the type in which it is written."""
    if dtype is np.float32:
        return image.astype(np.float32, copy=False)
    rounded = np.rint(image)
    return np.clip(rounded, _INT16.min, _INT16.max, out=rounded).astype(np.int16)
