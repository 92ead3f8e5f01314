"""The 26-connected components of a mask: finding them, their size and their place."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist

Box = tuple[slice, ...]


@dataclass(frozen=True, eq=False)
class Component:
    """One connected component of a mask.

    Args:
        box: where it lies in the whole array.
        mask: bool, its voxels inside ``box``.
    """

    box: Box
    mask: np.ndarray

    @property
    def voxels(self) -> int:
        """Number of voxels."""
        return int(np.count_nonzero(self.mask))


def bounding_box(mask: np.ndarray) -> Box:
    """The smallest box that holds a mask; empty slices where the mask is empty."""
    if not mask.any():
        return (slice(0, 0),) * mask.ndim
    return ndimage.find_objects(mask.astype(np.uint8))[0]


def grown(box: Box, margin: tuple[int, ...], shape: tuple[int, ...]) -> Box:
    """A box with ``margin`` voxels more on both sides of each axis, cut at the array's border."""
    return tuple(slice(max(0, s.start - m), min(n, s.stop + m)) for s, m, n in zip(box, margin, shape, strict=True))


def label_components(mask: np.ndarray) -> tuple[np.ndarray, int]:
    """Number a mask's components, neighbours by face, edge or corner (26 in 3D, 8 in 2D).

    Args:
        mask: bool, 2D or 3D.

    Returns:
        ``(labels, count)``: int32 of the mask's shape with 0 as background, and the number of components.
    """
    labels = np.zeros(mask.shape, dtype=np.int32)
    box = bounding_box(mask)
    labels[box], count = ndimage.label(mask[box], structure=np.ones((3,) * mask.ndim))
    return labels, count


def find_components(mask: np.ndarray, *, min_voxels: float = 1) -> tuple[list[Component], int]:
    """Split a mask into components.

    Args:
        mask: ``(X, Y, Z)`` bool.
        min_voxels: smaller components are left out.

    Returns:
        The components in order of falling size, and how many were left out.
    """
    labels, count = label_components(mask)
    boxes = ndimage.find_objects(labels)
    found = [Component(box=box, mask=labels[box] == i) for i, box in enumerate(boxes, start=1)]
    kept = sorted((c for c in found if c.voxels >= min_voxels), key=lambda c: c.voxels, reverse=True)
    return kept, count - len(kept)


def slice_areas(mask: np.ndarray, slice_axis: int) -> np.ndarray:
    """Number of mask voxels in each slice, ``(S,)``."""
    in_plane = tuple(axis for axis in range(mask.ndim) if axis != slice_axis)
    return np.count_nonzero(mask, axis=in_plane)


def component_areas(component: Component, slice_axis: int, slices: int) -> np.ndarray:
    """``slice_areas`` of a component over all ``slices`` of the study, ``(S,)``."""
    areas = np.zeros(slices, dtype=np.int64)
    areas[component.box[slice_axis]] = slice_areas(component.mask, slice_axis)
    return areas


def max_diameter_mm(component: Component, spacing_mm: tuple[float, float, float], slice_axis: int) -> float:
    """Longest in-plane diameter over a component's slices.

    Measured between the edge midpoints of the outermost pixels, so that a row of ``n`` pixels of
    ``d`` mm is ``n * d`` long and a single pixel as long as its longer side.

    Args:
        component: the lesion.
        spacing_mm: voxel size along each array axis.
        slice_axis: the axis across the slices.

    Returns:
        Diameter in mm.
    """
    slices = np.moveaxis(component.mask, slice_axis, 0)
    pixel_mm = np.delete(np.asarray(spacing_mm), slice_axis)
    return max(_diameter_mm(pixels, pixel_mm) for pixels in slices if pixels.any())


def _diameter_mm(pixels: np.ndarray, pixel_mm: np.ndarray) -> float:
    midpoints = np.array([[-0.5, 0.0], [0.5, 0.0], [0.0, -0.5], [0.0, 0.5]])
    points = (np.argwhere(pixels)[:, None] + midpoints).reshape(-1, 2) * pixel_mm
    # Four midpoints of even one pixel span an area, so the hull always exists.
    return float(pdist(points[ConvexHull(points).vertices]).max())


def centroid_mm(component: Component, affine: np.ndarray) -> tuple[float, float, float]:
    """Centre of mass in RAS world coordinates."""
    index = np.argwhere(component.mask).mean(axis=0) + [s.start for s in component.box]
    return tuple(float(v) for v in affine[:3, :3] @ index + affine[:3, 3])
