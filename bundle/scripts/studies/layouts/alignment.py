"""Brings the phases of a source case onto the reference phase's grid, and says what looks wrong with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...domain.errors import ConfigurationError, StudyError
from ...domain.phases import PHASES, REFERENCE_INDEX, REFERENCE_PHASE
from ..nifti import same_grid
from ..registration import METHODS
from ..registration import register as register_phase
from ..resampling import resample
from .source_case import Volume

LEAST_SHARED = 0.5
"""Share of the reference phase's slices that all phases have to reach."""

_USUAL_LEVELS = (0.8, 2.5)
"""A contrast phase's signal over the pre-contrast one's, over the whole body; outside, the scales differ."""


def require_registration(method: str | None) -> str:
    """The method, ``"none"`` for None.

    Raises:
        ConfigurationError: unknown.
    """
    method = "none" if method is None else str(method).lower()
    if method not in METHODS:
        msg = f"register is {method!r}. Use one of {', '.join(METHODS)}."
        raise ConfigurationError(msg)
    return method


@dataclass(frozen=True, eq=False)
class Aligned:
    """Four phases on one grid.

    Args:
        images: four arrays ``(X, Y, Z)`` in the order of ``PHASES``.
        affine: of the grid.
        slices: those of the reference phase's file that are left.
        remarks: what was done, and what the user should know.
    """

    images: tuple[np.ndarray, ...]
    affine: np.ndarray
    slices: slice
    remarks: tuple[str, ...]

    def cut(self, mask: np.ndarray) -> np.ndarray:
        """A mask of the reference phase's file on this grid."""
        return mask[..., self.slices]


def aligned(phases: Sequence[Volume], *, register: str) -> Aligned:
    """Bring the phases onto the reference phase's grid and cut the slices that one of them does not reach.

    Zeros in one phase would look like contrast agent that came and went, to the network as to the integrity check.

    Args:
        phases: the four, in the order of ``PHASES``, each on its own grid.
        register: one of ``registration.METHODS``; with ``"none"`` a phase on another grid is resampled (linear) to
            where its affine says it lies.

    Raises:
        StudyError: fewer than half of the slices are left.
    """
    fixed = phases[REFERENCE_INDEX]
    images, remarks = [], []
    for name, moving in zip(PHASES, phases, strict=True):
        same = same_grid(moving.data.shape, moving.affine, fixed.data.shape, fixed.affine)
        if name == REFERENCE_PHASE or (same and register == "none"):
            images.append(moving.data)
        elif register == "none":
            image, inside = resample(moving.data, moving.affine, fixed.data.shape, fixed.affine)
            images.append(image)
            remarks.append(f"{name} resampled, shows {inside.mean():.0%} of the reference")
        else:
            image, remark = _registered(moving, fixed, name, method=register)
            images.append(image)
            remarks.append(remark)
    count = fixed.data.shape[2]
    reached = [image.any(axis=(0, 1)) for image in images]
    shared = np.flatnonzero(np.logical_and.reduce(reached))
    absent = [name for name, here in zip(PHASES, reached, strict=True) if not here.all()]
    if len(shared) < LEAST_SHARED * count:
        msg = f"only {len(shared)} of {count} slices are in all phases; {', '.join(absent)} do not reach the others."
        raise StudyError(msg)
    kept = slice(int(shared[0]), int(shared[-1]) + 1)
    if cut := count - (kept.stop - kept.start):
        remarks.append(f"{cut} of {count} slices cut, which {', '.join(absent)} do not reach")
    affine = fixed.affine.copy()
    affine[:3, 3] += affine[:3, 2] * kept.start
    return Aligned(tuple(image[..., kept] for image in images), affine, kept, tuple(remarks))


def scale_remarks(images: Sequence[np.ndarray]) -> list[str]:
    """Contrast phases whose signal shows another intensity scale than the pre-contrast phase's.

    Args:
        images: four arrays ``(X, Y, Z)`` on one grid.
    """
    levels = [_level(image) for image in images]
    remarks = []
    for name, level in zip(PHASES[1:], levels[1:], strict=True):
        ratio = level / levels[0] if levels[0] > 0 else 1.0
        if not _USUAL_LEVELS[0] <= ratio <= _USUAL_LEVELS[1]:
            remarks.append(f"{name} at {ratio:.2f} of the pre-contrast signal: another intensity scale")
    return remarks


def _level(image: np.ndarray) -> float:
    """Median signal of the body: of what is brighter than a tenth of the brightest."""
    coarse = image[::4, ::4].astype(np.float32)
    bright = coarse[coarse > 0.1 * np.quantile(coarse, 0.99)]
    return float(np.median(bright)) if bright.size else 0.0


def _registered(moving: Volume, fixed: Volume, name: str, *, method: str) -> tuple[np.ndarray, str]:
    try:
        result = register_phase(moving.data, moving.affine, fixed.data, fixed.affine, method=method)
    except StudyError as error:
        msg = f"{name}: {error}."
        raise StudyError(msg) from error
    change = f"similarity {result.similarity_before:.3f} to {result.similarity_after:.3f}"
    done = f"{name} registered: {result.method}, {result.displacement_mm[0]:.1f} mm, {change}"
    return result.image, done if result.kept else f"{done}; {method} dropped: {result.reason}"
