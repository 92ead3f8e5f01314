"""One offset and one scale per study, measured over all its phases inside the body."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from ..domain.errors import StudyError

_COARSE_VOXELS = 128
"""The body is found on every n-th voxel, so that no axis has more than this many."""

_BINS = 256


def body_mask(image: np.ndarray) -> np.ndarray:
    """The body: Otsu's threshold on the mean over phases, largest component, filled slice by slice.

    Lungs and bowel gas count as body where an axial slice encloses them. Missing phases, all zeros, change nothing.

    Args:
        image: ``(4, X, Y, Z)`` raw, RAS+.

    Returns:
        ``(X, Y, Z)`` bool, in steps of a few voxels (``_COARSE_VOXELS``); all False for a constant image.
    """
    shape = image.shape[1:]
    steps = [-(-n // _COARSE_VOXELS) for n in shape]
    coarse = image[(slice(None), *(slice(None, None, step) for step in steps))].mean(axis=0)
    threshold = otsu_threshold(coarse)
    components, count = ndimage.label(coarse > threshold)
    if count == 0:
        return np.zeros(shape, dtype=bool)
    body = components == np.argmax(np.bincount(components.ravel())[1:]) + 1
    body = _filled_axially(body)
    # The image's own memory layout makes selecting its voxels several times quicker.
    fine = body.T
    for axis, step in enumerate(reversed(steps)):
        fine = fine.repeat(step, axis=axis)
    return fine.T[tuple(slice(0, n) for n in shape)]


def intensity_statistics(
    image: np.ndarray, available: tuple[bool, ...], *, body: np.ndarray | None = None
) -> tuple[float, float]:
    """Mean and standard deviation over all available phases inside the body.

    Args:
        image: ``(4, X, Y, Z)`` raw.
        available: which phases count.
        body: ``(X, Y, Z)`` bool; ``body_mask(image)`` by default.

    Returns:
        ``offset, scale`` in raw units: normalised = (raw - offset) / scale.

    Raises:
        StudyError: nothing stands out as a body, or it has one value only.
    """
    if body is None:
        body = body_mask(image)
    inside = np.concatenate([phase.T[body.T] for phase, there in zip(image, available, strict=True) if there])
    if inside.size == 0 or inside.min() == inside.max():
        msg = "constant intensities, no body can be told from the air. Check that the files hold an image"
        raise StudyError(msg)
    return float(inside.mean(dtype=np.float64)), float(inside.std(dtype=np.float64))


def otsu_threshold(values: np.ndarray) -> float:
    """The threshold that maximises the variance between the two classes (Otsu 1979), over 256 bins.

    Args:
        values: any shape; its brightest 1 % is clipped, or vessels stretch the bins.

    Returns:
        The threshold; the value itself where there is only one.
    """
    low, high = float(values.min()), float(np.percentile(values, 99))
    if low >= high:
        return float(values.max())
    counts, edges = np.histogram(np.minimum(values, high), bins=_BINS, range=(low, high))
    centres = (edges[:-1] + edges[1:]) / 2
    below, moment = np.cumsum(counts)[:-1], np.cumsum(counts * centres)[:-1]
    above = counts.sum() - below
    difference = moment / below - ((counts * centres).sum() - moment) / above
    return float(edges[1:-1][np.argmax(below * above * difference**2)])


def _filled_axially(body: np.ndarray) -> np.ndarray:
    """Fill what is enclosed within an axial slice; the third axis of RAS+ is the body's own."""
    in_slice = np.zeros((3, 3, 3), dtype=bool)
    in_slice[:, 1, 1] = in_slice[1, :, 1] = True
    holes, _ = ndimage.label(~body, structure=in_slice)
    border = np.concatenate([holes[[0, -1]].ravel(), holes[:, [0, -1]].ravel()])
    return body | ~np.isin(holes, np.unique(border))
