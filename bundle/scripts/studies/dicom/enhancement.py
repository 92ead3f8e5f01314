"""The last resort: what the pixels tell of the phase, from how vessels and tissue brighten over the candidates."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy import ndimage

from .stack import Stack
from .timeline import STATES

TARGETS = {
    "pre": (0.0, 0.0),
    "early_arterial": (0.85, 0.15),
    "arterial": (1.0, 0.45),
    "portal_venous": (0.65, 0.95),
    "delayed": (0.45, 0.75),
    "hepatobiliary": (0.2, 0.8),
}
"""Signal of vessels and of tissue as a share of its range over the study.

Spoiled gradient echo at 3 T with gadobutrol, at 0, 30, 70 and 180 s: aorta 19, 154, 110, 84 and liver 35, 59, 95, 74.
"""

SPREADS = (0.2, 0.3)
"""How far patients and protocols lie from the targets; the liver's timing varies more than the vessels'."""

LEAST_RISE = 0.3
"""Part of the vessels' highest signal. They at least triple: less is noise, and none of it a dynamic study."""

NO_RISE_FIT = -3.0

SAMPLES = (56, 56, 28)
BODY_SHARE = 0.15
VESSEL_SHARE = 0.01
TISSUE_SHARES = (0.5, 0.9)
LEAST_TISSUE = 0.02
LEAST_CANDIDATES, MOST_CANDIDATES = 3, 16
LEAST_FIT = -8.0


def signal_fits(
    stacks: Sequence[Stack], read: Callable[[Stack], np.ndarray | None]
) -> tuple[dict[Stack, np.ndarray], dict[Stack, str]]:
    """Log penalties of every state by the signal of vessels and tissue.

    Vessels are the voxels that change most over the candidates. Tissue, which is mostly liver, are those that change
    middling and are brightest in another candidate than the vessels: the liver is fed by the portal vein, unlike
    spleen, pancreas and kidneys. Neither needs to know the order.

    Args:
        stacks: candidates of one study.
        read: gives ``(columns, rows, slices)`` of a stack, comparable between stacks; None where it cannot be read,
            and nothing is said of that one.

    Returns:
        ``(states,)`` per stack and a sentence per stack; both empty where the pixels cannot tell. Where nothing
        enhances, every state is penalised: the candidates are no dynamic study.
    """
    if not LEAST_CANDIDATES <= len(stacks) <= MOST_CANDIDATES:
        return {}, {}
    points_mm = _points_mm(stacks[0])
    samples = {stack: _sample(stack, volume, points_mm) for stack in stacks if (volume := read(stack)) is not None}
    if len(samples) < LEAST_CANDIDATES:
        return {}, {}
    stacks, sampled = list(samples), np.stack(list(samples.values()))
    everywhere = np.isfinite(sampled).all(axis=0)
    curves = sampled[:, everywhere]
    if not curves.size:
        return {}, {}
    mean = curves.mean(axis=0)
    curves = curves[:, mean > BODY_SHARE * np.percentile(mean, 99)]
    change = np.ptp(curves, axis=0)
    vessels = curves[:, change >= np.quantile(change, 1.0 - VESSEL_SHARE)].mean(axis=1)
    if np.ptp(vessels) < LEAST_RISE * vessels.max():
        return _no_enhancement(stacks)
    low, high = np.quantile(change, TISSUE_SHARES)
    is_tissue = (change >= low) & (change <= high) & (curves.argmax(axis=0) != vessels.argmax())
    if np.count_nonzero(is_tissue) < LEAST_TISSUE * len(change):
        return {}, {}
    tissue = np.median(curves[:, is_tissue], axis=1)
    shares = np.stack([(signal - signal.min()) / max(np.ptp(signal), 1e-9) for signal in (vessels, tissue)], axis=1)
    targets = np.array([TARGETS[state] for state in STATES])
    misses = np.linalg.norm((shares[:, None] - targets) / SPREADS, axis=2)
    fits = np.maximum(LEAST_FIT, -0.5 * misses**2)
    said = [
        f"signal of the vessels at {100 * vessel:.0f} % and of the tissue at {100 * liver:.0f} % of its range"
        for vessel, liver in shares
    ]
    return dict(zip(stacks, fits, strict=True)), dict(zip(stacks, said, strict=True))


def _no_enhancement(stacks: Sequence[Stack]) -> tuple[dict[Stack, np.ndarray], dict[Stack, str]]:
    fits = np.full(len(STATES), NO_RISE_FIT)
    return dict.fromkeys(stacks, fits), dict.fromkeys(stacks, "no enhancement between the candidates")


def _points_mm(stack: Stack) -> np.ndarray:
    """``(points, 3)`` RAS world, a coarse grid over the stack."""
    axes = [np.linspace(0, size - 1, min(size, count)) for size, count in zip(stack.shape, SAMPLES, strict=True)]
    indices = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    return indices @ stack.affine[:3, :3].T + stack.affine[:3, 3]


def _sample(stack: Stack, volume: np.ndarray, points_mm: np.ndarray) -> np.ndarray:
    """Smoothed values at points; NaN outside."""
    size = [max(1, round(length / count)) for length, count in zip(volume.shape, SAMPLES, strict=True)]
    smooth = ndimage.uniform_filter(volume, size)
    to_voxels = np.linalg.inv(stack.affine)
    indices = np.rint(points_mm @ to_voxels[:3, :3].T + to_voxels[:3, 3]).astype(np.int64)
    inside = ((indices >= 0) & (indices < volume.shape)).all(axis=1)
    values = np.full(len(points_mm), np.nan, dtype=np.float32)
    values[inside] = smooth[tuple(indices[inside].T)]
    return values
