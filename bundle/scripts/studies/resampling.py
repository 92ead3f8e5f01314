"""Brings a phase onto the reference phase's grid: by the geometry alone, or displaced by a smooth field."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from scipy import ndimage

from ..domain.errors import StudyError
from .elastix import thread_count

_SLAB = 8
"""Slices that one thread samples at a time: three coordinates a voxel are six times the image."""


def resample(
    moving: np.ndarray, moving_affine: np.ndarray, fixed_shape: tuple[int, int, int], fixed_affine: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Bring a phase onto the reference grid by the geometry alone.

    Args:
        moving: ``(X, Y, Z)``.
        moving_affine: its voxel to RAS world, mm; any orientation.
        fixed_shape: of the reference grid.
        fixed_affine: likewise.

    Returns:
        The volume ``(X, Y, Z)`` float32, linear interpolation, 0 where it does not reach; and where it does, bool:
        up to the outer faces of its outermost voxels.

    Raises:
        StudyError: not a volume, or an affine without an inverse.
    """
    require_volume("phase", moving, moving_affine)
    require_affine("reference", fixed_affine)
    to_moving = np.linalg.inv(moving_affine) @ fixed_affine
    if moving.shape == tuple(fixed_shape) and np.allclose(to_moving, np.eye(4), atol=1e-4):
        return moving.astype(np.float32), np.ones(moving.shape, bool)
    # Clamping lets the outermost voxels reach as far as their faces; what lies beyond is cut off.
    image = ndimage.affine_transform(
        moving.astype(np.float32), to_moving, output_shape=tuple(fixed_shape), order=1, mode="nearest"
    )
    inside = np.ones(fixed_shape, bool)
    axes = np.ix_(*(np.arange(n, dtype=np.float32) for n in fixed_shape))
    for row, size in zip(to_moving[:3].astype(np.float32), moving.shape, strict=True):
        inside &= within(sum(factor * axis for factor, axis in zip(row[:3], axes, strict=True)) + row[3], size)
    image[~inside] = 0.0
    return image, inside


def resample_displaced(
    moving: np.ndarray,
    moving_affine: np.ndarray,
    fixed_shape: tuple[int, int, int],
    fixed_affine: np.ndarray,
    field_mm: np.ndarray,
    steps: tuple[int, int, int],
) -> np.ndarray:
    """Bring a phase onto the reference grid along a displacement that is known on a part of its voxels.

    Args:
        moving: ``(X, Y, Z)``.
        moving_affine: its voxel to RAS world, mm.
        fixed_shape: of the reference grid.
        fixed_affine: likewise.
        field_mm: ``(x, y, z, 3)`` RAS, at every ``steps``-th voxel of the reference grid; linear between them.
        steps: see ``field_mm``.

    Returns:
        ``(X, Y, Z)`` float32, linear interpolation, 0 where the phase does not reach.
    """
    to_voxels = np.linalg.inv(moving_affine)
    to_moving = (to_voxels @ fixed_affine).astype(np.float32)
    field = field_mm @ to_voxels[:3, :3].T.astype(np.float32)
    along_x, along_y, along_z = (
        linear_weights(np.arange(n) / step, count)
        for n, count, step in zip(fixed_shape, field.shape, steps, strict=False)
    )
    x, y = np.ix_(*(np.arange(n, dtype=np.float32) for n in fixed_shape[:2]))
    image = np.empty(fixed_shape, np.float32)

    def fill(first: int) -> None:
        slab = slice(first, first + _SLAB)
        z = np.arange(fixed_shape[2], dtype=np.float32)[slab]
        position = np.einsum("xyzc,kz->cxyk", field, along_z[slab], optimize=True)
        position = np.einsum("cxyk,jy->cxjk", position, along_y, optimize=True)
        position = np.einsum("cxjk,ix->cijk", position, along_x, optimize=True)
        inside = np.ones(position.shape[1:], bool)
        for axis, (row, size) in enumerate(zip(to_moving[:3], moving.shape, strict=True)):
            position[axis] += (row[0] * x + row[1] * y)[..., None] + (row[2] * z + row[3])
            inside &= within(position[axis], size)
        values = ndimage.map_coordinates(moving, position, np.float32, order=1, mode="nearest")
        image[..., slab] = np.where(inside, values, np.float32(0.0))

    with ThreadPoolExecutor(thread_count()) as pool:
        list(pool.map(fill, range(0, fixed_shape[2], _SLAB)))
    return image


def within(position: np.ndarray, size: int) -> np.ndarray:
    """Whether voxel coordinates lie in a volume, up to its outer faces."""
    return (position >= -0.5) & (position <= size - 0.5)


def require_volume(name: str, volume: np.ndarray, affine: np.ndarray) -> None:
    """Refuse what is no volume with a place.

    Raises:
        StudyError: not three axes, or an affine without an inverse.
    """
    if volume.ndim != 3 or min(volume.shape) < 1:
        msg = f"{name}: an array of shape {volume.shape} is no volume. Give one of three axes, (X, Y, Z)"
        raise StudyError(msg)
    require_affine(name, affine)


def require_affine(name: str, affine: np.ndarray) -> None:
    """Refuse an affine without an inverse.

    Raises:
        StudyError: so it is.
    """
    if affine.shape != (4, 4) or not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        msg = f"{name}: the affine has no inverse, so its place is unknown. Check the file's orientation and spacing"
        raise StudyError(msg)


def linear_weights(places: np.ndarray, count: int) -> np.ndarray:
    """How values between those at 0, 1, … ``count - 1`` are made of them, beyond the last by the same slope.

    Args:
        places: ``(N,)``, 0 or more.
        count: of the values.

    Returns:
        ``(N, count)`` float32.
    """
    weights = np.zeros((len(places), count), np.float32)
    if count == 1:
        weights[:] = 1.0
        return weights
    every, before = np.arange(len(places)), np.minimum(places.astype(int), count - 2)
    weights[every, before] = 1.0 - (places - before)
    weights[every, before + 1] = places - before
    return weights
