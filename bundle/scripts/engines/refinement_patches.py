"""Patches around clicks on the network grid: where they lie, what guides the network in them, how they join."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from ..networks.refinement import GUIDANCE
from .refinement_clicks import Click

PATCH = (12, 32, 32)
"""Slices, rows and columns; 60 x 96 x 96 mm at slices of 5 mm and pixels of 3 mm."""

NEARNESS_MM = 12.0
"""Nearness falls to 1/e over this distance from a click."""

LIKENESS = 0.4
"""Likeness falls like a Gaussian of this standard deviation, normalised intensity, over all phases together."""

_FADE = (2, 4, 4)
"""Over so many voxels from its border a patch's say fades out."""

Origin = tuple[int, int, int]


def origin_around(centre: Sequence[float], shape: Sequence[int], patch: Sequence[int] = PATCH) -> Origin:
    """The first voxel of the patch around a place, moved so that as much of it as can be lies in the volume.

    Args:
        centre: ``(slice, row, column)``.
        shape: of the volume.
        patch: of the patch.
    """
    return tuple(
        int(np.clip(round(c) - p // 2, 0, max(0, n - p))) for c, p, n in zip(centre, patch, shape, strict=True)
    )


def cut(volume: np.ndarray, origin: Origin, patch: Sequence[int] = PATCH) -> np.ndarray:
    """The patch ``(C, *patch)`` of a volume ``(C, S, H, W)``, float32; 0 beyond the volume."""
    inside = volume[(slice(None), *(slice(o, o + p) for o, p in zip(origin, patch, strict=True)))]
    missing = [(0, p - n) for p, n in zip(patch, inside.shape[1:], strict=True)]
    return np.pad(inside.astype(np.float32), [(0, 0), *missing])


def guidance(image: np.ndarray, clicks: Sequence[Click], origin: Origin, spacing_mm: Sequence[float]) -> np.ndarray:
    """What clicks say about every pixel of a patch.

    Nearness is 1 on a click and falls exponentially with the distance from the nearest one. Likeness compares the
    pixel's four intensities with those at the click, means over 3 x 3 pixels; the most alike click counts.

    Args:
        image: ``(4, *patch)`` normalised.
        clicks: with ``(slice, row, column)`` of the volume as index; those outside the patch reach into it by their
            nearness only.
        origin: of the patch.
        spacing_mm: between slices, rows and columns.

    Returns:
        ``(4, *patch)`` float32, in the order of ``GUIDANCE``.
    """
    shape = image.shape[1:]
    channels = np.zeros((len(GUIDANCE), *shape), dtype=np.float32)
    smooth = ndimage.uniform_filter(image, (1, 1, 3, 3)) if clicks else image
    for click in clicks:
        square = [
            ((np.arange(n, dtype=np.float32) + np.float32(o - c)) * np.float32(mm)) ** 2
            for c, o, mm, n in zip(click.index, origin, spacing_mm, shape, strict=True)
        ]
        distance_mm = np.sqrt(square[0][:, None, None] + square[1][:, None] + square[2])
        near = channels[0 if click.lesion else 1]
        np.maximum(near, np.exp(-distance_mm / np.float32(NEARNESS_MM)), out=near)
        place = tuple(round(c) - o for c, o in zip(click.index, origin, strict=True))
        if all(0 <= i < n for i, n in zip(place, shape, strict=True)):
            difference = ((smooth - smooth[(slice(None), *place)][:, None, None, None]) ** 2).sum(axis=0)
            like = channels[2 if click.lesion else 3]
            np.maximum(like, np.exp(-difference / np.float32(2.0 * LIKENESS**2)), out=like)
    return channels


def say(patch: Sequence[int] = PATCH) -> np.ndarray:
    """How much a patch's voxels have to say, ``patch`` float32: 1 inside, fading to its border."""
    along = [
        np.minimum(1.0, np.minimum(np.arange(1, p + 1), np.arange(p, 0, -1)) / (fade + 1))
        for p, fade in zip(patch, _FADE, strict=True)
    ]
    return (along[0][:, None, None] * along[1][:, None] * along[2]).astype(np.float32)


def origins_over(box: Sequence[slice], shape: Sequence[int], patch: Sequence[int] = PATCH) -> list[Origin]:
    """Patches that cover a region: one around its centre where that is enough, else several that overlap.

    Args:
        box: of the region, ``(slice, row, column)``.
        shape: of the volume.
        patch: of the patch.
    """
    centres = [_centres(s, p, fade) for s, p, fade in zip(box, patch, _FADE, strict=True)]
    found = [origin_around((a, b, c), shape, patch) for a in centres[0] for b in centres[1] for c in centres[2]]
    return list(dict.fromkeys(found))


def _centres(extent: slice, patch: int, fade: int) -> list[float]:
    length, reach = extent.stop - extent.start, patch - 2 * fade
    count = -(-length // reach)
    edges = np.linspace(extent.start, extent.stop, count + 1)
    return [float(c) for c in (edges[:-1] + edges[1:] - 1) / 2]
