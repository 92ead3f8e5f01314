"""The scanner: presets, timing, breathing, coil shading, gain drift, blur and Rician noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ..domain.phases import PHASES, REFERENCE_INDEX
from .grid import Grid, SmoothField
from .kinetics import Sequence

MAX_SHIFT_MM = 5.0

_VOXEL_MM3 = 1.5 * 1.5 * 5.0


@dataclass(frozen=True)
class Scanner:
    """One scanner preset.

    Args:
        sequence: spoiled gradient echo.
        times_s: nominal phase times.
        gain: raw units per signal unit.
        noise: standard deviation of each of the two noise channels at 1.5 x 1.5 x 5 mm, signal units.
        blur_mm: standard deviation of the in-plane point spread.
        shading: relative standard deviation of the coil shading.
        fat: share of the fat signal that survives suppression.
    """

    sequence: Sequence
    times_s: tuple[float, float, float, float]
    gain: float
    noise: float
    blur_mm: float
    shading: float
    fat: float


SCANNERS = {
    "site-a": Scanner(Sequence(0.0037, 12.0), (0.0, 30.0, 70.0, 180.0), 4.0, 2.2, 0.8, 0.10, 0.10),
    "site-b": Scanner(Sequence(0.0042, 10.0), (0.0, 28.0, 65.0, 170.0), 2.8, 2.6, 1.0, 0.14, 0.16),
    "site-c": Scanner(Sequence(0.0033, 13.0), (0.0, 33.0, 75.0, 210.0), 5.2, 3.0, 1.1, 0.16, 0.12),
}


@dataclass(frozen=True)
class Acquisition:
    """What went differently in one study.

    Args:
        scanner: preset.
        recorded_times_s: phase times as the study states them.
        true_times_s: phase times as they were, bolus-timing error included.
        shifts_mm: ``(4, 3)`` displacement by breathing; zero in the reference phase.
        gains: ``(4,)`` raw units per signal unit, drift included.
    """

    scanner: Scanner
    recorded_times_s: tuple[float, float, float, float]
    true_times_s: tuple[float, float, float, float]
    shifts_mm: np.ndarray
    gains: np.ndarray


def draw_acquisition(rng: np.random.Generator, scanner: Scanner, *, shift_mm: float | None = None) -> Acquisition:
    """Draw timing, breathing and gain drift of one study.

    Args:
        rng: source of everything.
        scanner: preset.
        shift_mm: length of every phase's displacement but the reference's, by default drawn up to ``MAX_SHIFT_MM``;
            everything else, the directions included, stays as drawn.
    """
    nominal = np.asarray(scanner.times_s)
    recorded = nominal + np.round(rng.uniform(-1.0, 1.0, 4) * (0.0, 3.0, 5.0, 15.0), 1)
    true = recorded + rng.normal(0.0, 1.0, 4).clip(-2.0, 2.0) * (0.0, 2.0, 3.0, 4.0)
    # Breath-holds differ mostly along the body's axis.
    direction = np.array([0.15, 0.35, 1.0]) * rng.choice([-1.0, 1.0], (4, 3)) * rng.uniform(0.5, 1.0, (4, 3))
    length_mm = rng.uniform(0.0, MAX_SHIFT_MM, (4, 1))
    if shift_mm is not None:
        length_mm = np.full((4, 1), float(shift_mm))
    shifts_mm = np.round(direction / np.sqrt((direction**2).sum(axis=1, keepdims=True)) * length_mm, 3)
    shifts_mm[REFERENCE_INDEX] = 0.0
    gains = np.round(scanner.gain * rng.uniform(0.8, 1.25) * (1.0 + 0.04 * rng.normal(size=4).clip(-2.5, 2.5)), 4)
    return Acquisition(scanner, tuple(recorded), tuple(true), shifts_mm, gains)


def acquire(rng: np.random.Generator, signal: np.ndarray, grid: Grid, acquisition: Acquisition) -> np.ndarray:
    """Turn noise-free signal into raw scanner units.

    Args:
        rng: source of shading and noise.
        signal: ``(4, X, Y, Z)`` float32 noise-free, all phases in the reference phase's position.
        grid: its grid.
        acquisition: what the scanner did.

    Returns:
        ``(4, X, Y, Z)`` int16.
    """
    scanner = acquisition.scanner
    shading = np.clip(1.0 + scanner.shading * SmoothField(rng, 70.0).at(*grid.coordinates()), 0.5, 1.6)
    # A larger voxel averages over more noise.
    noise = round(scanner.noise * (_VOXEL_MM3 / float(np.prod(grid.spacing_mm))) ** 0.5, 4)
    raw = np.empty(signal.shape, np.int16)
    for phase in range(len(PHASES)):
        volume = displaced(signal[phase], acquisition.shifts_mm[phase], grid.spacing_mm)
        for axis in (0, 1):
            sigma = scanner.blur_mm / grid.spacing_mm[axis]
            volume = ndimage.gaussian_filter1d(volume, sigma, axis=axis, truncate=3.0, mode="nearest")
        raw[phase] = rician(rng, volume * shading, noise, np.float32(acquisition.gains[phase]))
    return raw


def displaced(volume: np.ndarray, shift_mm: np.ndarray, spacing_mm: tuple[float, float, float]) -> np.ndarray:
    """A volume moved by up to a few voxels, linear interpolation, edges repeated."""
    for axis, voxels in enumerate(np.asarray(shift_mm) / spacing_mm):
        if voxels == 0.0:
            continue
        position = np.clip(np.arange(volume.shape[axis]) - voxels, 0.0, volume.shape[axis] - 1.0)
        below = np.minimum(position.astype(np.intp), max(volume.shape[axis] - 2, 0))
        above = np.minimum(below + 1, volume.shape[axis] - 1)
        weight = (position - below).astype(np.float32).reshape([-1 if a == axis else 1 for a in range(3)])
        lower = volume.take(below, axis=axis)
        volume = lower + (volume.take(above, axis=axis) - lower) * weight
    return volume


def rician(rng: np.random.Generator, volume: np.ndarray, noise: float, gain: float) -> np.ndarray:
    """Magnitude of the signal plus complex Gaussian noise, in raw units (Gudbjartsson and Patz 1995)."""
    real = rng.standard_normal(volume.shape, dtype=np.float32)
    imaginary = rng.standard_normal(volume.shape, dtype=np.float32)
    real *= np.float32(noise)
    real += volume
    imaginary *= np.float32(noise)
    real *= real
    imaginary *= imaginary
    real += imaginary
    magnitude = np.sqrt(real, out=real)
    magnitude *= gain
    return np.rint(magnitude, out=magnitude).clip(0, 32767).astype(np.int16)
