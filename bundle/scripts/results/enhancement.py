"""The dynamic enhancement of one lesion: head, mask and ring side by side."""

from __future__ import annotations

import math

import numpy as np

from ..domain import enhancement as kinetics
from ..domain.phases import PHASES
from ..domain.result import Enhancement
from ..domain.study import Study
from .components import Component, grown

_UNREACHED_SHARE = 0.02
"""A region of which a phase shows less than the rest has no value in it: zeros in a mean look like washout."""

_PRE, _ARTERIAL, _PORTAL_VENOUS, _DELAYED = range(len(PHASES))


def lesion_curves(study: Study, component: Component, *, allowed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean curve under a lesion's mask and median curve of the ring around it.

    Args:
        study: the study.
        component: the lesion.
        allowed: ``(X, Y, Z)`` bool, where the ring may lie.

    Returns:
        Two ``(4,)`` float64 curves, raw units; NaN in a phase that is missing or does not reach there, and where the
        ring is empty.
    """
    reach = tuple(math.ceil(kinetics.RING_OUTER_MM / d) + 1 for d in study.spacing_mm)
    box = grown(component.box, reach, allowed.shape)
    lesion = np.zeros(tuple(s.stop - s.start for s in box), dtype=bool)
    inner = tuple(slice(c.start - s.start, c.stop - s.start) for c, s in zip(component.box, box, strict=True))
    lesion[inner] = component.mask
    shell = kinetics.ring(lesion, study.spacing_mm, allowed=allowed[box])
    image = study.image[(slice(None), *box)]
    missing = ~np.asarray(study.available)
    from_mask, ring = kinetics.mean_curve(image, lesion), kinetics.median_curve(image, shell)
    from_mask[missing | _unreached(image, lesion)] = np.nan
    ring[missing | _unreached(image, shell)] = np.nan
    return from_mask, ring


def _unreached(image: np.ndarray, region: np.ndarray) -> np.ndarray:
    """``(4,)`` phases that do not show a region: resampled onto the reference grid, they are zero beyond their edge."""
    if not region.any():
        return np.zeros(len(image), dtype=bool)
    return np.mean(image[:, region] == 0, axis=1) > _UNREACHED_SHARE


def describe(
    study: Study,
    *,
    from_mask: np.ndarray,
    ring: np.ndarray,
    regressed: np.ndarray | None,
    shared_slices: bool,
) -> Enhancement:
    """Put a lesion's curves and the signs that follow from them together.

    Args:
        study: gives the normalisation and which phases are there.
        from_mask: ``(4,)`` raw.
        ring: ``(4,)`` raw.
        regressed: ``(4,)`` the head's curve, normalised intensity; None without a regression head.
        shared_slices: another lesion lies in the same slices.

    Returns:
        The enhancement; what needs a missing phase, ring or head is None.
    """
    head = np.full(len(PHASES), np.nan)
    if regressed is not None:
        head = np.where(study.available, regressed * study.scale + study.offset, np.nan)
    known = np.isfinite(from_mask) & np.isfinite(ring)
    return Enhancement(
        regressed=_values(head),
        from_mask=_values(from_mask),
        ring=_values(ring),
        relative=_values(kinetics.relative_enhancement(from_mask)),
        disagreement=None if regressed is None else _value(np.nanmean(np.abs(head - from_mask)) / study.scale),
        psr_portal_venous=_value(kinetics.psr_portal_venous(from_mask, ring)),
        psr_delayed=_value(kinetics.psr_delayed(from_mask, ring)),
        arterial_hyperenhancement=kinetics.arterial_hyperenhancement(from_mask, ring) if known[_ARTERIAL] else None,
        washout=kinetics.washout(from_mask, ring) if known[_DELAYED] else None,
        shared_slices=shared_slices,
    )


def rule_class(from_mask: np.ndarray, ring: np.ndarray) -> str | None:
    """The kinetic rule's opinion on raw curves; None where the arterial or delayed value is missing."""
    known = np.isfinite(from_mask) & np.isfinite(ring)
    return kinetics.kinetic_rule(from_mask, ring) if known[_ARTERIAL] and known[_DELAYED] else None


def _value(number: float) -> float | None:
    return float(number) if np.isfinite(number) else None


def _values(curve: np.ndarray) -> tuple[float | None, ...]:
    return tuple(_value(number) for number in curve)
