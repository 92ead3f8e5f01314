"""Dynamic enhancement of a lesion: its curve, the ring around it, and the kinetic rule."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from .phases import PHASES

RING_INNER_MM = 3.0
RING_OUTER_MM = 10.0
WASHOUT_PSR = 101.5
"""Percentage signal ratio above which a lesion washes out (Kloeckner 2016, delayed phase)."""

_ARTERIAL, _PORTAL_VENOUS, _DELAYED = (PHASES.index(p) for p in PHASES[1:])


def mean_curve(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Mean intensity inside a mask, per phase.

    Args:
        image: ``(4, X, Y, Z)``, any unit.
        mask: ``(X, Y, Z)`` bool.

    Returns:
        ``(4,)`` float64 in the image's unit; NaN where the mask is empty.
    """
    if not mask.any():
        return np.full(len(image), np.nan)
    return image[:, mask].mean(axis=1, dtype=np.float64)


def median_curve(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Median intensity inside a mask, per phase; NaN where the mask is empty."""
    if not mask.any():
        return np.full(len(image), np.nan)
    return np.median(image[:, mask], axis=1).astype(np.float64)


def ring(
    lesion: np.ndarray,
    spacing_mm: tuple[float, float, float],
    *,
    allowed: np.ndarray,
) -> np.ndarray:
    """The shell 3-10 mm outside a lesion.

    Args:
        lesion: ``(X, Y, Z)`` bool, one lesion.
        spacing_mm: voxel size.
        allowed: ``(X, Y, Z)`` bool: inside the liver where it is known, else the body;
            other lesions left out.

    Returns:
        ``(X, Y, Z)`` bool.
    """
    shell = np.zeros_like(lesion, dtype=bool)
    found = ndimage.find_objects(lesion.astype(np.uint8))
    if not found:
        return shell
    # The distance transform is only needed within the ring's reach of the lesion.
    box = tuple(
        slice(max(0, s.start - margin), s.stop + margin)
        for s, margin in zip(found[0], (int(np.ceil(RING_OUTER_MM / d)) + 1 for d in spacing_mm), strict=True)
    )
    distance_mm = ndimage.distance_transform_edt(~lesion[box], sampling=spacing_mm)
    shell[box] = (distance_mm >= RING_INNER_MM) & (distance_mm <= RING_OUTER_MM) & allowed[box]
    return shell


def percentage_signal_ratio(lesion_signal: float, ring_signal: float) -> float:
    """``100 * S_ring / S_lesion`` in raw units: above 100 the lesion is darker than the liver around it."""
    return float(100.0 * ring_signal / lesion_signal) if lesion_signal > 0 else float("nan")


def relative_enhancement(curve: np.ndarray) -> np.ndarray:
    """``(S - S_pre) / S_pre`` per phase, from a raw curve ``(4,)``."""
    curve = np.asarray(curve, dtype=np.float64)
    return (curve - curve[0]) / curve[0] if curve[0] > 0 else np.full_like(curve, np.nan)


def arterial_hyperenhancement(lesion_curve: np.ndarray, ring_curve: np.ndarray) -> bool:
    """Whether the lesion is brighter than the ring in the arterial phase (raw units)."""
    return bool(lesion_curve[_ARTERIAL] > ring_curve[_ARTERIAL])


def washout(lesion_curve: np.ndarray, ring_curve: np.ndarray) -> bool:
    """Whether the lesion is darker than the ring in the delayed phase by the published margin."""
    return percentage_signal_ratio(lesion_curve[_DELAYED], ring_curve[_DELAYED]) > WASHOUT_PSR


def kinetic_rule(lesion_curve: np.ndarray, ring_curve: np.ndarray) -> str:
    """Class by arterial hyper-enhancement and delayed washout (Kloeckner 2016).

    The rule was published against hypervascular nodules, not hemangiomas.

    Args:
        lesion_curve: ``(4,)`` raw.
        ring_curve: ``(4,)`` raw.

    Returns:
        ``"hcc"`` when both signs are present, else ``"hemangioma"``.
    """
    both = arterial_hyperenhancement(lesion_curve, ring_curve) and washout(lesion_curve, ring_curve)
    return "hcc" if both else "hemangioma"


def psr_portal_venous(lesion_curve: np.ndarray, ring_curve: np.ndarray) -> float:
    """Percentage signal ratio in the portal-venous phase; reported, not part of the rule."""
    return percentage_signal_ratio(lesion_curve[_PORTAL_VENOUS], ring_curve[_PORTAL_VENOUS])


def psr_delayed(lesion_curve: np.ndarray, ring_curve: np.ndarray) -> float:
    """Percentage signal ratio in the delayed phase."""
    return percentage_signal_ratio(lesion_curve[_DELAYED], ring_curve[_DELAYED])
