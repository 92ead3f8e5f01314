"""A reader's clicks, and a simulated reader who clicks where the mask is most wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ..results.components import Component, find_components


@dataclass(frozen=True)
class Click:
    """One click.

    Args:
        index: voxel of the array that it belongs to; may lie between voxels.
        lesion: whether the reader says that there is a lesion here, or that there is none.
    """

    index: tuple[float, float, float]
    lesion: bool


def errors_of(truth: np.ndarray, predicted: np.ndarray) -> list[tuple[Component, bool]]:
    """The 26-connected regions in which a mask is wrong, in order of falling size.

    Args:
        truth: ``(X, Y, Z)`` bool.
        predicted: likewise.

    Returns:
        Pairs of the region and whether it is missed lesion (true) or falsely marked (false).
    """
    missed = [(component, True) for component in find_components(truth & ~predicted)[0]]
    false = [(component, False) for component in find_components(predicted & ~truth)[0]]
    return sorted(missed + false, key=lambda error: error[0].voxels, reverse=True)


def next_click(
    truth: np.ndarray, predicted: np.ndarray, spacing_mm: Sequence[float], before: Sequence[Click] = ()
) -> Click | None:
    """Where a reader who knows the truth clicks next: the innermost voxel of the largest wrong region.

    Deterministic. Clicks made before count as borders, so that no voxel is clicked twice.

    Args:
        truth: ``(X, Y, Z)`` bool.
        predicted: likewise.
        spacing_mm: voxel size along each axis.
        before: clicks made already.

    Returns:
        The click; None where nothing is wrong that was not clicked.
    """
    for component, missed in errors_of(truth, predicted):
        depth_mm = depth_inside(component, spacing_mm, before)
        if depth_mm.max() > 0:
            inside = np.unravel_index(np.argmax(depth_mm), depth_mm.shape)
            index = tuple(int(i) + s.start for i, s in zip(inside, component.box, strict=True))
            return Click(index=index, lesion=missed)
    return None


def depth_inside(component: Component, spacing_mm: Sequence[float], before: Sequence[Click] = ()) -> np.ndarray:
    """Distance of a region's voxels to its border, mm, 0 outside and where a click was made before.

    Returns:
        An array over ``component.box``.
    """
    mask = component.mask.copy()
    for click in before:
        place = tuple(round(i) - s.start for i, s in zip(click.index, component.box, strict=True))
        if all(0 <= i < n for i, n in zip(place, mask.shape, strict=True)):
            mask[place] = False
    # The border of the array is one of the region, too.
    padded = np.pad(mask, 1)
    return ndimage.distance_transform_edt(padded, sampling=tuple(spacing_mm))[1:-1, 1:-1, 1:-1]
