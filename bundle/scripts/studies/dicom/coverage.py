"""How much of the reference phase another phase shows, by their positions in the scanner."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from nibabel.orientations import aff2axcodes

LEAST_SHARE = 0.5
"""A phase that shows less of the reference is refused."""

_SAMPLES = 96
"""Points along an axis; a denser grid would not change a share that is read in per cent."""

_ENDS = {
    "R": ("left", "right"),
    "L": ("right", "left"),
    "A": ("back", "front"),
    "P": ("front", "back"),
    "S": ("feet", "head"),
    "I": ("head", "feet"),
}


@dataclass(frozen=True)
class Coverage:
    """What of the reference grid lies inside another phase.

    Args:
        share: of the grid's volume, 0-1.
        missing_mm: how far the other phase falls short, by the side of the body; only sides where it does.
    """

    share: float
    missing_mm: dict[str, float]

    def __str__(self) -> str:
        missing = ", ".join(f"{length:.0f} mm at the {side}" for side, length in self.missing_mm.items())
        return f"{100 * self.share:.0f} % of the arterial volume{f', missing {missing}' if missing else ''}"


def coverage(
    shape: tuple[int, int, int],
    affine: np.ndarray,
    reference_shape: tuple[int, int, int],
    reference_affine: np.ndarray,
) -> Coverage:
    """How much of the reference a phase shows.

    Args:
        shape: of the phase.
        affine: ``(4, 4)`` voxel to RAS world, mm.
        reference_shape: of the reference phase.
        reference_affine: likewise.
    """
    samples = [np.linspace(0, size - 1, min(size, _SAMPLES)).round() for size in reference_shape]
    points = np.stack(np.meshgrid(*samples, indexing="ij"), axis=-1)
    to_phase = np.linalg.inv(affine) @ reference_affine
    indices = points @ to_phase[:3, :3].T + to_phase[:3, 3]
    # A voxel reaches half its size beyond its centre.
    inside = ((indices > -0.5 - 1e-3) & (indices < np.array(shape) - 0.5 + 1e-3)).all(axis=-1)
    spacing_mm = np.linalg.norm(reference_affine[:3, :3], axis=0)
    missing_mm = {}
    for axis, code in enumerate(aff2axcodes(reference_affine)):
        planes = inside.mean(axis=tuple(other for other in range(3) if other != axis)) >= LEAST_SHARE
        if not planes.any():
            continue
        first, last = samples[axis][planes][[0, -1]]
        low, high = _ENDS[code]
        for side, count in ((low, first), (high, reference_shape[axis] - 1 - last)):
            if count > 0:
                missing_mm[side] = round(float(count * spacing_mm[axis]), 1)
    return Coverage(round(float(inside.mean()), 4), missing_mm)
