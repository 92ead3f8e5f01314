"""Makes starting points worse than they are: faults of a network on unseen studies, and roughly drawn masks."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from ..results.components import Component, find_components, grown

_LARGEST_LOGIT = 6.0
_REACH_MM = 6.0
"""Farthest that a roughly drawn border lies outside the lesion; inside, a third of it."""


def faulty(
    probability: np.ndarray, truth: np.ndarray, spacing_mm: tuple[float, float, float], rng: np.random.Generator
) -> np.ndarray:
    """A probability with faults of the kinds that networks make on studies that they have not seen.

    Sharper or flatter, shifted as a whole, wrong along borders, a lesion missed or a part of one, something else
    taken for one: each at random.

    Args:
        probability: ``(S, H, W)`` of tumour.
        truth: ``(S, H, W)`` bool.
        spacing_mm: between slices, rows and columns.
        rng: source of the faults.

    Returns:
        A new array, float32.
    """
    clipped = np.clip(probability.astype(np.float32), 1e-3, 1.0 - 1e-3)
    logit = np.log(clipped / (1.0 - clipped))
    logit = logit * np.float32(rng.uniform(0.6, 1.3)) + np.float32(0.7 * rng.standard_normal())
    if rng.random() < 0.4:
        logit += np.float32(rng.uniform(0.5, 2.5)) * _smooth_noise(logit.shape, rng)
    lesions = find_components(truth)[0]
    if lesions and rng.random() < 0.4:
        lesion = lesions[rng.integers(len(lesions))]
        logit -= np.float32(rng.uniform(3.0, 10.0)) * _missed(truth.shape, lesion, rng)
    if rng.random() < 0.4:
        centre = _near(truth, spacing_mm, rng)
        logit += np.float32(rng.uniform(4.0, 9.0)) * _blob(truth.shape, centre, spacing_mm, rng)
    logit = np.clip(logit, -_LARGEST_LOGIT, _LARGEST_LOGIT)
    return 1.0 / (1.0 + np.exp(-logit))


def roughly_drawn(truth: np.ndarray, spacing_mm: tuple[float, float, float], rng: np.random.Generator) -> np.ndarray:
    """A lesion as a hurried reader would draw it.

    Some lesions are left out; the others are grown or shrunk by some mm, shifted by as much, smoothed, or drawn
    as boxes.

    Args:
        truth: ``(S, H, W)`` bool.
        spacing_mm: between slices, rows and columns.
        rng: source of the faults.

    Returns:
        ``(S, H, W)`` bool.
    """
    drawn = np.zeros(truth.shape, dtype=bool)
    lesions = find_components(truth)[0]
    for number, lesion in enumerate(lesions):
        if number and rng.random() < 0.3:
            continue
        mask = np.zeros(truth.shape, dtype=bool)
        mask[lesion.box] = lesion.mask
        # Only the lesion's surroundings: the distance transform takes long.
        box = grown(lesion.box, tuple(int(_REACH_MM // mm) + 1 for mm in spacing_mm), truth.shape)
        if rng.random() < 0.2:
            mask[lesion.box] = True
        else:
            mask[box] = _grown(mask[box], spacing_mm, rng.uniform(-0.33, 1.0) * _REACH_MM)
        shift = rng.uniform(-6.0, 6.0, 3) / spacing_mm * (0.5, 1.0, 1.0)
        drawn |= np.roll(mask, tuple(round(s) for s in shift), axis=(0, 1, 2))
    return drawn


def _grown(mask: np.ndarray, spacing_mm: tuple[float, float, float], by_mm: float) -> np.ndarray:
    if by_mm >= 0:
        return ndimage.distance_transform_edt(~mask, sampling=spacing_mm) <= by_mm
    shrunk = ndimage.distance_transform_edt(mask, sampling=spacing_mm) > -by_mm
    return shrunk if shrunk.any() else mask


def _missed(shape: tuple[int, ...], lesion: Component, rng: np.random.Generator) -> np.ndarray:
    """1 where a lesion is missed, fading around: all of it, or what lies on one side of a plane through it."""
    part = lesion.mask
    if rng.random() < 0.6:
        places = np.argwhere(lesion.mask)
        normal = rng.standard_normal(3) / np.maximum(np.ptp(places, axis=0), 1.0)
        along = np.tensordot(normal, np.indices(part.shape), axes=1)
        part = part & (along > np.quantile(along[lesion.mask], rng.uniform(0.1, 0.7)))
    missed = np.zeros(shape, dtype=np.float32)
    missed[lesion.box][part] = 1.0
    box = grown(lesion.box, (2, 6, 6), shape)
    missed[box] = np.clip(2.5 * ndimage.gaussian_filter(missed[box], (0.5, 1.5, 1.5)), 0.0, 1.0)
    return missed


def _smooth_noise(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    coarse = rng.standard_normal((max(2, shape[0] // 2), max(2, shape[1] // 6), max(2, shape[2] // 6)))
    return ndimage.zoom(
        coarse.astype(np.float32),
        [n / c for n, c in zip(shape, coarse.shape, strict=True)],
        order=1,
        grid_mode=True,
        mode="nearest",
    )


def _near(
    truth: np.ndarray, spacing_mm: tuple[float, float, float], rng: np.random.Generator, reach_mm: float = 60.0
) -> np.ndarray:
    """A place within reach of a lesion, or anywhere near the middle where there is none."""
    places = np.argwhere(truth)
    start = places[rng.integers(len(places))] if len(places) else np.divide(truth.shape, 2)
    place = start + rng.uniform(-reach_mm, reach_mm, 3) / spacing_mm
    return np.clip(place, 0, np.subtract(truth.shape, 1))


def _blob(
    shape: tuple[int, ...], centre: np.ndarray, spacing_mm: tuple[float, float, float], rng: np.random.Generator
) -> np.ndarray:
    """A soft ellipsoid of 5-15 mm radius, 1 at its centre."""
    radii_mm = rng.uniform(5.0, 15.0, 3)
    square = [
        ((np.arange(n) - c) * mm / r) ** 2 for n, c, mm, r in zip(shape, centre, spacing_mm, radii_mm, strict=True)
    ]
    distance = np.sqrt(square[0][:, None, None] + square[1][:, None] + square[2])
    return np.clip(1.5 - distance, 0.0, 1.0).astype(np.float32)
