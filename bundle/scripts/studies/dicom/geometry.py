"""Orders the slices of a stack along their normal and names what keeps them from being a volume."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .stack import Frame

POSITION_TOLERANCE_MM = 0.1
"""Slices closer than this are one position: scanners write positions with few decimals."""

STEP_TOLERANCE_MM = 0.15
STEP_TOLERANCE = 0.05
"""A step may differ from the median step by so many mm, or by this part of it, whichever is more."""

SHEAR_TOLERANCE_MM = 0.5
"""How far a slice may lie beside the line along the normal: less than a pixel of any liver series."""

COSINE_TOLERANCE = 1e-3
"""Orientations whose direction cosines differ less than this are one."""

SPACING_TOLERANCE_MM = 1e-3


def in_order(frames: Sequence[Frame]) -> tuple[Frame, ...]:
    """Frames sorted by position along their normal, then by instance; by instance alone where positions lack.

    Args:
        frames: of one orientation.

    Returns:
        The same frames.
    """
    by_instance = sorted(frames, key=instance_order)
    if any(frame.position_mm is None or frame.orientation is None for frame in frames):
        return tuple(by_instance)
    distances_mm = along_normal(by_instance)
    # Rounded, so that the order of doubled slices does not hang on the last decimal of their positions.
    return tuple(by_instance[number] for number in np.argsort(np.round(distances_mm, 2), kind="stable"))


def instance_order(frame: Frame) -> tuple[int, int, str, int]:
    """Sort key: by InstanceNumber, unnumbered ones last and by file name, then by the frame's number in its file."""
    try:
        return 0, int(frame.header.get("InstanceNumber")), "", frame.index
    except (TypeError, ValueError):
        return 1, 0, str(frame.file), frame.index


def along_normal(frames: Sequence[Frame]) -> np.ndarray:
    """``(frames,)`` mm along the normal of the first frame."""
    return _positions_mm(frames) @ _normal(frames[0])


def position_numbers(frames: Sequence[Frame]) -> np.ndarray:
    """``(frames,)`` which slice position each frame takes, counted from 0 along the normal.

    Frames side by side at one distance along the normal are different positions.
    """
    positions_mm = _positions_mm(frames)
    normal = _normal(frames[0])
    distances_mm = positions_mm @ normal
    order = np.argsort(distances_mm, kind="stable")
    numbers = np.empty(len(frames), dtype=np.int64)
    known: list[np.ndarray] = []
    level: list[int] = []  # positions at the distance that is being filled
    level_mm = -np.inf
    for frame in order:
        if distances_mm[frame] - level_mm > POSITION_TOLERANCE_MM:
            level, level_mm = [], distances_mm[frame]
        same = [n for n in level if np.linalg.norm(known[n] - positions_mm[frame]) <= SHEAR_TOLERANCE_MM]
        if not same:
            known.append(positions_mm[frame])
            level.append(len(known) - 1)
            same = level[-1:]
        numbers[frame] = same[0]
    return numbers


def faults_of(frames: Sequence[Frame]) -> tuple[str, ...]:
    """What keeps frames from being a volume.

    Args:
        frames: in order along the normal.

    Returns:
        One line each, empty where the stack is sound.
    """
    faults = [*_lacking(frames), *_truncated(frames)]
    if any(frame.position_mm is None or frame.orientation is None for frame in frames):
        return tuple(faults)
    if not _is_orthonormal(frames[0]):
        return (*faults, "ImageOrientationPatient is not two perpendicular unit vectors")
    if len(frames) == 1:
        return (*faults, "a single slice, not a volume")
    return (*faults, *_step_faults(along_normal(frames)), *_shear_faults(frames))


def same_plane(first: Frame, second: Frame) -> bool:
    """Whether two frames share orientation, pixel spacing and matrix."""
    return (
        first.shape == second.shape
        and _close(first.orientation, second.orientation, COSINE_TOLERANCE)
        and _close(first.spacing_mm, second.spacing_mm, SPACING_TOLERANCE_MM)
    )


def _lacking(frames: Sequence[Frame]) -> list[str]:
    faults = []
    for keyword, attribute in (
        ("ImagePositionPatient", "position_mm"),
        ("ImageOrientationPatient", "orientation"),
        ("PixelSpacing", "spacing_mm"),
    ):
        count = sum(getattr(frame, attribute) is None for frame in frames)
        if count:
            faults.append(f"no usable {keyword} in {count} of {len(frames)} images")
    return faults


def _truncated(frames: Sequence[Frame]) -> list[str]:
    count = sum(frame.truncated for frame in frames)
    return [f"{count} of {len(frames)} images truncated"] if count else []


def _step_faults(distances_mm: np.ndarray) -> list[str]:
    faults = []
    steps_mm = np.diff(distances_mm)
    doubled = int(np.count_nonzero(steps_mm <= POSITION_TOLERANCE_MM))
    if doubled:
        faults.append(f"{doubled} doubled {_slices(doubled)}")
    steps_mm = steps_mm[steps_mm > POSITION_TOLERANCE_MM]
    if not len(steps_mm):
        return faults
    step_mm = float(np.median(steps_mm))
    tolerance_mm = max(STEP_TOLERANCE_MM, STEP_TOLERANCE * step_mm)
    # A gap is a whole number of steps; anything else is uneven.
    times = np.round(steps_mm / step_mm)
    gaps = (times > 1) & (np.abs(steps_mm - times * step_mm) <= tolerance_mm * times)
    if gaps.any():
        missing = int((times[gaps] - 1).sum())
        faults.append(f"{missing} missing {_slices(missing)}: a gap of {steps_mm[gaps].max():.1f} mm")
    others_mm = steps_mm[~gaps]
    if len(others_mm) and np.abs(others_mm - step_mm).max() > tolerance_mm:
        faults.append(f"uneven slice steps: {others_mm.min():.2f} to {others_mm.max():.2f} mm")
    return faults


def _shear_faults(frames: Sequence[Frame]) -> list[str]:
    from_first_mm = _positions_mm(frames) - np.asarray(frames[0].position_mm)
    normal = _normal(frames[0])
    beside_mm = from_first_mm - np.outer(from_first_mm @ normal, normal)
    farthest_mm = float(np.linalg.norm(beside_mm, axis=1).max())
    if farthest_mm <= SHEAR_TOLERANCE_MM:
        return []
    return [f"sheared: slices lie up to {farthest_mm:.1f} mm beside the line along their normal"]


def _is_orthonormal(frame: Frame) -> bool:
    row, column = np.reshape(frame.orientation, (2, 3))
    products = np.array([row @ row - 1, column @ column - 1, row @ column])
    return bool(np.abs(products).max() < 10 * COSINE_TOLERANCE)


def _close(first: tuple[float, ...] | None, second: tuple[float, ...] | None, tolerance: float) -> bool:
    if first is None or second is None:
        return first is second
    return bool(np.abs(np.subtract(first, second)).max() < tolerance)


def _positions_mm(frames: Sequence[Frame]) -> np.ndarray:
    return np.array([frame.position_mm for frame in frames], dtype=np.float64)


def _normal(frame: Frame) -> np.ndarray:
    row, column = np.reshape(frame.orientation, (2, 3))
    return np.cross(row, column)


def _slices(count: int) -> str:
    return "slice" if count == 1 else "slices"
