"""Label masks between the reference grid and a phase's own, along the displacement that the registration found."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from nibabel.affines import apply_affine
from scipy import ndimage

from .displacement import NODE_MM, Displacement
from .resampling import resample_displaced

_SAMPLES = 5
"""Places along each edge of a mask's box that say where the box comes to lie."""

_MOST_SAMPLES = 4096
"""Voxels of a lesion that are asked where they come to lie."""

_MOST_LESIONS = 200
"""What is in more pieces is speckle; each for itself would take long, so it moves as one."""

_AROUND = 3
"""Voxels around a lesion in which its outline may come to lie."""

_SMOOTH_VOXELS = 0.5
"""Voxels make steps of an outline, and all steps of one face would move together, or not at all."""

_BEYOND_MM = np.float32(1024.0)
"""Deeper than any lesion."""

_CONNECTED = np.ones((3, 3, 3), bool)

_Way = Callable[[np.ndarray], np.ndarray]


def mask_on_phase(
    mask: np.ndarray, affine: np.ndarray, *, shape: tuple[int, int, int], target: np.ndarray, displacement: Displacement
) -> np.ndarray:
    """A mask of the reference where the phase shows what it covers.

    What moves is the outline, as distances from it: voxels that are copied would move by whole slices only. A lesion
    keeps its volume, and be it a single voxel; only what leaves the grid is lost.

    Args:
        mask: ``(X, Y, Z)`` of whole numbers, 0 outside of lesions.
        affine: of the mask, voxel to RAS world, mm.
        shape: of the phase's grid, or of any other in its scanner coordinates.
        target: affine of that grid.
        displacement: of the phase.

    Returns:
        ``shape``, the mask's type; 0 where the reference does not reach.
    """
    return _Move(affine, shape, target, displacement.to_reference, displacement.to_phase)(mask)


def mask_on_reference(
    mask: np.ndarray, affine: np.ndarray, *, shape: tuple[int, int, int], target: np.ndarray, displacement: Displacement
) -> np.ndarray:
    """A mask that was drawn over the phase on the reference grid; the way back of ``mask_on_phase``."""
    return _Move(affine, shape, target, displacement.to_phase, displacement.to_reference)(mask)


class _Move:
    """From one grid to another.

    Args:
        affine: of the mask's grid, voxel to RAS world, mm.
        shape: of the other grid.
        target: its affine.
        source_of: where in the mask's world a place of the other's lies.
        target_of: the way back.
    """

    def __init__(
        self, affine: np.ndarray, shape: tuple[int, int, int], target: np.ndarray, source_of: _Way, target_of: _Way
    ) -> None:
        self._affine, self._shape, self._target = affine, shape, target
        self._source_of, self._target_of = source_of, target_of

    def __call__(self, mask: np.ndarray) -> np.ndarray:
        moved = np.zeros(self._shape, mask.dtype)
        deepest = np.full(self._shape, -np.inf, np.float32)
        for value in np.unique(mask[mask > 0]):
            numbered, count = ndimage.label(mask == value, _CONNECTED)
            if count > _MOST_LESIONS:
                numbered = (mask == value).astype(np.uint8)
            for number, box in enumerate(ndimage.find_objects(numbered), start=1):
                self._put(numbered[box] == number, box, value, moved, deepest)
        return moved

    def _put(
        self, lesion: np.ndarray, box: tuple[slice, ...], value: int, moved: np.ndarray, deepest: np.ndarray
    ) -> None:
        """Move one lesion; where two meet, a voxel is that one's in which it lies deeper."""
        own = _corner(self._affine, box)
        reached = self._reached(lesion, own)
        volume_voxels = reached * np.count_nonzero(lesion) * abs(np.linalg.det(own) / np.linalg.det(self._target))
        target = self._box(lesion.shape, own) if reached else None
        if target is None:
            return
        depth_mm = self._depth(lesion, own, target)
        count = min(max(1, round(volume_voxels)), np.count_nonzero(depth_mm > -_BEYOND_MM))
        if count == 0:
            return
        least_mm = np.partition(depth_mm, -count, axis=None)[-count]
        taken = (depth_mm >= least_mm) & (depth_mm > deepest[target])
        moved[target][taken] = value
        deepest[target][taken] = depth_mm[taken]

    def _reached(self, lesion: np.ndarray, affine: np.ndarray) -> float:
        """Share of a lesion that lies in the target."""
        voxels = np.argwhere(lesion)
        index = self._index(apply_affine(affine, voxels[:: max(1, len(voxels) // _MOST_SAMPLES)]))
        return float(((index >= -0.5) & (index < np.array(self._shape) - 0.5)).all(axis=1).mean())

    def _box(self, shape: tuple[int, ...], affine: np.ndarray) -> tuple[slice, ...] | None:
        """The part of the target that a box of voxels can reach, as elsewhere is no work to do; None where none."""
        index = self._index(apply_affine(affine, _lattice(np.linspace(-0.5, n - 0.5, _SAMPLES) for n in shape)))
        index, margin = index.reshape(-1, 3), NODE_MM / np.linalg.norm(self._target[:3, :3], axis=0)
        first = np.maximum(np.floor(index.min(axis=0) - margin), 0).astype(int)
        last = np.minimum(np.ceil(index.max(axis=0) + margin) + 1, self._shape).astype(int)
        return None if (first >= last).any() else tuple(slice(*ends) for ends in zip(first, last, strict=True))

    def _depth(self, lesion: np.ndarray, own: np.ndarray, target: tuple[slice, ...]) -> np.ndarray:
        """How deep the voxels of a part of the target lie in a lesion, mm; below 0 outside."""
        affine, shape = _corner(self._target, target), tuple(part.stop - part.start for part in target)
        steps = tuple(max(1, int(NODE_MM / mm)) for mm in np.linalg.norm(affine[:3, :3], axis=0))
        places_mm = apply_affine(affine, _lattice(np.arange(0, n, step) for n, step in zip(shape, steps, strict=True)))
        field_mm = (self._source_of(places_mm) - places_mm).astype(np.float32)
        around = np.pad(lesion, _AROUND)
        own, spacing_mm = _corner(own, (slice(-_AROUND, None),) * 3), np.linalg.norm(own[:3, :3], axis=0)
        inwards, outwards = (ndimage.distance_transform_edt(part, spacing_mm) for part in (around, ~around))
        half_mm = spacing_mm.min() / 2  # the outline runs between the voxels' centres
        depth_mm = ndimage.gaussian_filter(np.where(around, inwards - half_mm, half_mm - outwards), _SMOOTH_VOXELS)
        # What the resampling does not reach becomes 0, which must be far outside.
        depth_mm = (depth_mm + _BEYOND_MM).astype(np.float32)
        return resample_displaced(depth_mm, own, shape, affine, field_mm, steps) - _BEYOND_MM

    def _index(self, places_mm: np.ndarray) -> np.ndarray:
        """Voxel coordinates of the target for places of the mask's world."""
        return apply_affine(np.linalg.inv(self._target), self._target_of(places_mm))


def _corner(affine: np.ndarray, box: tuple[slice, ...]) -> np.ndarray:
    """The affine of a part of a grid."""
    affine = affine.copy()
    affine[:3, 3] = apply_affine(affine, [part.start for part in box])
    return affine


def _lattice(axes: Iterable[np.ndarray]) -> np.ndarray:
    """``(a, b, c, 3)``: every combination of the coordinates along three axes."""
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
