"""The picture of one registration: the phase and the reference in a checkerboard, before and after."""

from __future__ import annotations

import textwrap

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation

from .registration import Registered

TILE_MM = 32.0
_INK, _MUTED = "#1B2733", "#5B6773"
_VIEWS = (("coronal", 1), ("axial", 2))
_LINE = 88
"""Characters of small print that fit the width."""
_WINDOW = (1.0, 99.7)
_COARSE_VOXELS = 128
"""Windows are measured on every n-th voxel, so that no axis has more than this many."""


def draw_registration(
    fixed: np.ndarray, fixed_affine: np.ndarray, before: np.ndarray, registered: Registered, *, phase: str
) -> Figure:
    """Draw one registration: a coronal and an axial slice, by the geometry alone and as registered.

    Tiles alternate between the reference and the phase, each in its own window: outlines that go on across the
    tiles' borders fit. Slices are seen as radiologists see them, the patient's right on the left.

    Args:
        fixed: ``(X, Y, Z)`` the reference phase.
        fixed_affine: its voxel to RAS world, mm; any orientation.
        before: ``(X, Y, Z)`` the phase by ``resample``.
        registered: the phase by ``register``.
        phase: its name.

    Returns:
        A figure with its own canvas, outside pyplot's state.
    """
    orientation = io_orientation(fixed_affine)
    affine = fixed_affine @ inv_ornt_aff(orientation, fixed.shape)
    spacing_mm = np.linalg.norm(affine[:3, :3], axis=0)
    reference, plain, moved = (apply_orientation(volume, orientation) for volume in (fixed, before, registered.image))
    windows = [_window(volume) for volume in (reference, plain, moved)]
    indices = _centre(reference, windows[0])
    extents_mm = np.multiply(reference.shape, spacing_mm)
    heights = [float(extents_mm[2]), float(extents_mm[1])]
    width = 6.0
    scale = width / 2 / float(extents_mm[0])
    figure = Figure(figsize=(width, sum(heights) * scale + 1.4), dpi=100, facecolor="white")
    FigureCanvasAgg(figure)
    panels = figure.subplots(
        2,
        2,
        gridspec_kw={
            "height_ratios": heights,
            "left": 0.01,
            "right": 0.99,
            "bottom": 0.01,
            "top": 1.0 - 1.15 / figure.get_figheight(),
            "wspace": 0.02,
            "hspace": 0.02,
        },
    )
    for row, (view, axis) in enumerate(_VIEWS):
        pixel_mm = np.delete(spacing_mm, axis)
        first = _windowed(np.take(reference, indices[axis], axis), windows[0])
        for column, (volume, window) in enumerate(zip((plain, moved), windows[1:], strict=True)):
            second = _windowed(np.take(volume, indices[axis], axis), window)
            _show(panels[row, column], checkerboard(first, second, TILE_MM / pixel_mm), pixel_mm)
        panels[row, 0].text(0.02, 0.96, view, color="white", fontsize=8, va="top", transform=panels[row, 0].transAxes)
    for column, name in enumerate(("before", f"after: {registered.method}")):
        panels[0, column].set_title(name, fontsize=9, color=_INK, pad=3)
    top = 1.0 - 0.12 / figure.get_figheight()
    figure.text(0.01, top, f"{phase} on the reference phase", fontsize=10, fontweight="bold", color=_INK, va="top")
    figure.text(0.01, top - 0.2 / figure.get_figheight(), _facts(registered), fontsize=8, color=_MUTED, va="top")
    return figure


def checkerboard(first: np.ndarray, second: np.ndarray, tile: np.ndarray) -> np.ndarray:
    """Two slices in alternating tiles, the first one's at the origin.

    Args:
        first: ``(a, b)``.
        second: ``(a, b)``.
        tile: pixels of a tile along each axis.
    """
    rows, columns = (np.arange(n) // max(1, round(float(t))) for n, t in zip(first.shape, tile, strict=True))
    return np.where((rows[:, None] + columns) % 2 == 0, first, second)


def _show(axes: Axes, pixels: np.ndarray, pixel_mm: np.ndarray) -> None:
    axes.set_axis_off()
    # RAS+ slices (a, b): rows from the top, columns from the patient's right.
    seen = pixels[::-1, ::-1].T
    axes.imshow(seen, cmap="gray", vmin=0.0, vmax=1.0, aspect=pixel_mm[1] / pixel_mm[0], interpolation="nearest")


def _window(volume: np.ndarray) -> tuple[float, float]:
    low, high = np.percentile(volume[_coarse(volume)], _WINDOW)
    return float(low), float(high)


def _windowed(pixels: np.ndarray, window: tuple[float, float]) -> np.ndarray:
    low, high = window
    return np.clip((pixels - low) / max(high - low, 1e-6), 0.0, 1.0)


def _coarse(volume: np.ndarray) -> tuple[slice, ...]:
    """Every n-th voxel, so that no axis has more than ``_COARSE_VOXELS``."""
    return tuple(slice(None, None, -(-n // _COARSE_VOXELS)) for n in volume.shape)


def _centre(volume: np.ndarray, window: tuple[float, float]) -> tuple[int, int, int]:
    """The voxel in the middle of what is bright, which in an abdomen crosses liver, vessels and wall."""
    coarse = _coarse(volume)
    bright = _windowed(volume[coarse], window)
    total = float(bright.sum())
    if total == 0.0:
        return tuple(n // 2 for n in volume.shape)
    sums = (bright.sum(axis=tuple(a for a in range(3) if a != axis)) for axis in range(3))
    return tuple(
        round(float((s * np.arange(s.size)).sum()) / total) * step.step for s, step in zip(sums, coarse, strict=True)
    )


def _facts(registered: Registered) -> str:
    median, high = registered.displacement_mm
    lines = [
        f"mutual information {registered.similarity_before:.3f} to {registered.similarity_after:.3f} nats",
        f"displacement {median:.1f} mm (95 %: {high:.1f} mm), covers {registered.covered:.0%} of the body",
    ]
    if registered.reason:
        lines.append(textwrap.fill(f"dropped: {registered.reason}", _LINE))
    return "\n".join(lines)
