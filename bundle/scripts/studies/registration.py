"""Brings one phase into the reference phase's position: by its geometry alone, rigidly, or with a B-spline.

Breath-holds differ by millimetres to centimetres, mostly along the body's axis. A registration has to prove itself:
one that lowers the similarity, folds the volume or moves it implausibly far is dropped, and said to be.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from nibabel.affines import apply_affine
from nibabel.orientations import apply_orientation, axcodes2ornt, io_orientation, ornt_transform
from scipy import ndimage

from ..domain.errors import ConfigurationError, StudyError
from .elastix import NoMotionFoundError, find_motion
from .normalisation import body_mask
from .resampling import require_volume, resample, resample_displaced, within
from .similarity import limits, mutual_information

METHODS = ("none", "rigid", "deformable")
"""Each contains the one before."""

MAX_DISPLACEMENT_MM = 40.0
"""About the liver's whole travel in deep breathing (37 mm on average, Davies et al. 1994)."""

_COARSE_VOXELS = 128
"""Similarity and displacement are measured on every n-th voxel, so that no axis has more than this many."""

_RAS = axcodes2ornt(("R", "A", "S"))


@dataclass(frozen=True, eq=False)
class Registered:
    """One phase in the reference phase's position.

    Args:
        image: ``(X, Y, Z)`` float32 on the fixed grid, raw units; 0 where the phase does not reach.
        method: what made ``image``, one of ``METHODS``; ``"none"`` is the geometry alone.
        kept: whether that is what was asked for.
        reason: why not, in words that say nothing about the patient; empty where it was kept.
        similarity_before: mutual information with the fixed volume by the geometry alone, nats, inside the body.
        similarity_after: the same of ``image``, at the same places.
        displacement_mm: median and 95th percentile of the length of ``field_mm`` inside the body.
        covered: share of the body that the phase reaches, 0-1.
        field_mm: ``(x, y, z, 3)`` float32 RAS; added to the place of every ``steps``-th voxel of the fixed grid, it
            gives where that is in the moving volume.
        steps: see ``field_mm``.
    """

    image: np.ndarray
    method: str
    kept: bool
    reason: str
    similarity_before: float
    similarity_after: float
    displacement_mm: tuple[float, float]
    covered: float
    field_mm: np.ndarray
    steps: tuple[int, int, int]


def register(
    moving: np.ndarray,
    moving_affine: np.ndarray,
    fixed: np.ndarray,
    fixed_affine: np.ndarray,
    *,
    method: str,
    seed: int = 0,
) -> Registered:
    """Bring a phase onto the reference grid and into the reference phase's position.

    Args:
        moving: ``(X, Y, Z)`` raw units, the phase.
        moving_affine: its voxel to RAS world, mm; any orientation.
        fixed: ``(X, Y, Z)`` raw units, the reference phase.
        fixed_affine: likewise.
        method: ``"rigid"``, or ``"deformable"``: rigid, then a B-spline. ``resample`` does without either.
        seed: of the random samples; the same seed gives the same bits.

    Returns:
        The phase by the method that was asked for, or by the best simpler one where that one failed.

    Raises:
        ConfigurationError: another method, or itk-elastix is not installed.
        StudyError: a volume is none or constant, or the two do not overlap.
    """
    if method not in METHODS[1:]:
        msg = f"registration method {method!r} is unknown. Use rigid or deformable, and resample() for none"
        raise ConfigurationError(msg)
    for name, volume, affine in (("phase", moving, moving_affine), ("reference", fixed, fixed_affine)):
        require_volume(name, volume, affine)
        _require_varying(name, volume)
    body = _body(fixed, fixed_affine)
    steps = tuple(-(-n // _COARSE_VOXELS) for n in fixed.shape)
    coarse = tuple(slice(None, None, step) for step in steps)
    coarse_body, coarse_affine = body[coarse], fixed_affine @ np.diag([*steps, 1.0])
    samples = _Samples(moving, moving_affine, coarse_affine, coarse_body)
    still = np.zeros((*coarse_body.shape, 3), np.float32)
    if not samples.at(still)[1].any():
        msg = "the phase and the reference phase's body do not overlap. Check that the two belong to one study"
        raise StudyError(msg)

    motions, faults = [], []
    try:
        for _ in range(METHODS.index(method)):
            start = motions[-1] if motions else None
            motions.append(find_motion(moving, moving_affine, fixed, fixed_affine, body=body, start=start, seed=seed))
    except NoMotionFoundError:
        step = METHODS[len(motions) + 1]
        faults.append(f"{step}: elastix found no motion, mostly because too little of the two overlaps")
    fields = [still, *(motion.displacement_mm(coarse_body.shape, coarse_affine) for motion in motions)]
    similarities = _similarities(fixed[coarse][coarse_body], [samples.at(field) for field in fields])
    best = 0
    for index in range(1, len(fields)):
        fault = _fault(fields[index], coarse_affine, coarse_body)
        if not fault and similarities[index] < similarities[best]:
            fault = f"the mutual information fell from {similarities[best]:.3f} to {similarities[index]:.3f}"
        if fault:
            faults.append(f"{METHODS[index]}: {fault}")
        else:
            best = index
    if best:
        image = resample_displaced(moving, moving_affine, fixed.shape, fixed_affine, fields[best], steps)
    else:
        image, _ = resample(moving, moving_affine, fixed.shape, fixed_affine)
    kept = METHODS[best] == method
    length_mm = np.linalg.norm(fields[best][coarse_body], axis=-1)
    return Registered(
        image=image,
        method=METHODS[best],
        kept=kept,
        reason="" if kept else "; ".join(faults),
        similarity_before=similarities[0],
        similarity_after=similarities[best],
        displacement_mm=(float(np.median(length_mm)), float(np.percentile(length_mm, 95))),
        covered=float(samples.at(fields[best])[1].mean()),
        field_mm=fields[best],
        steps=steps,
    )


class _Samples:
    """The moving volume's values at the body's voxels, each displaced.

    Args:
        moving: ``(X, Y, Z)``.
        moving_affine: its own.
        affine: of the coarse fixed grid.
        body: ``(x, y, z)`` bool on it.
    """

    def __init__(self, moving: np.ndarray, moving_affine: np.ndarray, affine: np.ndarray, body: np.ndarray) -> None:
        self._moving = moving
        self._to_voxels = np.linalg.inv(moving_affine)
        self._body = body
        self._places_mm = apply_affine(affine, np.argwhere(body))

    def at(self, field_mm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Values ``(N,)`` float32 and whether the volume reaches there ``(N,)``."""
        position = apply_affine(self._to_voxels, self._places_mm + field_mm[self._body]).T
        reached = np.all([within(p, n) for p, n in zip(position, self._moving.shape, strict=True)], axis=0)
        return ndimage.map_coordinates(self._moving, position, np.float32, order=1, mode="nearest"), reached


def _similarities(fixed: np.ndarray, displaced: list[tuple[np.ndarray, np.ndarray]]) -> list[float]:
    """Mutual information of each displaced version with the fixed values, where all of them have a value."""
    everywhere = np.all([reached for _, reached in displaced], axis=0)
    if not everywhere.any():
        return [0.0] * len(displaced)
    fixed, volumes = fixed[everywhere], [values[everywhere] for values, _ in displaced]
    fixed_limits, moving_limits = limits(fixed), limits(volumes[0])
    return [mutual_information(fixed, v, first_limits=fixed_limits, second_limits=moving_limits) for v in volumes]


def _fault(field_mm: np.ndarray, affine: np.ndarray, body: np.ndarray) -> str:
    """What makes a displacement impossible in a body; empty where nothing does."""
    furthest_mm = float(np.percentile(np.linalg.norm(field_mm[body], axis=-1), 95))
    if not furthest_mm <= MAX_DISPLACEMENT_MM:
        return f"it would move a twentieth of the body by {furthest_mm:.0f} mm or more"
    smallest = float(jacobian_determinant(field_mm, affine)[body].min())
    if smallest <= 0.0:
        return f"it would fold the body (smallest Jacobian determinant {smallest:.2f})"
    return ""


def jacobian_determinant(field_mm: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Local change of volume by a displacement: 1 is none, 0 and below is a fold.

    Args:
        field_mm: ``(x, y, z, 3)`` RAS.
        affine: of its grid, voxel to RAS world, mm.

    Returns:
        ``(x, y, z)``.
    """
    by_index = np.stack(
        [
            np.gradient(field_mm, axis=axis) if n > 1 else np.zeros_like(field_mm)
            for axis, n in enumerate(field_mm.shape[:3])
        ],
        axis=-1,
    )
    return np.linalg.det(np.eye(3) + by_index @ np.linalg.inv(affine[:3, :3]))


def _body(volume: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """The body in a volume of any orientation, ``(X, Y, Z)`` bool; everything where none stands out."""
    orientation = io_orientation(affine)
    body = body_mask(apply_orientation(volume, orientation)[None])
    body = apply_orientation(body, ornt_transform(_RAS, orientation))
    return body if body.any() else np.ones(volume.shape, bool)


def _require_varying(name: str, volume: np.ndarray) -> None:
    if min(volume.shape) < 4:
        msg = f"{name}: {volume.shape} voxels are too few to register. Use no registration for this study"
        raise StudyError(msg)
    low, high = float(volume.min()), float(volume.max())
    if not np.isfinite([low, high]).all() or low == high:
        msg = f"{name}: constant or not finite, so there is nothing to register. Check that the file holds an image"
        raise StudyError(msg)
