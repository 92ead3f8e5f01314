"""From a network's prediction to the lesions of a study: what was found, where, how it enhances, what it is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..domain.classes import CLASSES, LABELS, NO_LESION, UNKNOWN_CLASS, UNKNOWN_LABEL
from ..domain.errors import ConfigurationError, StudyError
from ..domain.phases import PHASES
from ..domain.prediction import Prediction
from ..domain.result import Lesion, Result
from ..domain.study import Study
from .components import Component, centroid_mm, component_areas, find_components, max_diameter_mm
from .enhancement import describe, lesion_curves, rule_class

MIN_VOLUME_ML = 0.1
"""Smaller components are left out: a sphere of 6 mm, well below the smallest lesion of interest (8 mm, 0.27 ml)."""

_LOST_WITHOUT = {
    "pre": "relative enhancement",
    "arterial": "arterial hyper-enhancement and the kinetic rule",
    "portal_venous": "the portal-venous signal ratio",
    "delayed": "the delayed signal ratio, washout and the kinetic rule",
}


def analyse(
    study: Study,
    prediction: Prediction,
    *,
    model: dict[str, str],
    threshold: float = 0.5,
    min_volume_ml: float = MIN_VOLUME_ML,
    body: np.ndarray | None = None,
) -> tuple[Result, np.ndarray]:
    """Turn a prediction into lesions.

    A lesion is a 26-connected component of ``tumour >= threshold``. The heads speak per slice; a lesion's
    regressed curve and class probabilities are their means over its slices, weighted by its area in each.
    The study's class is that of the lesions' probabilities, weighted by volume. A network without a
    classification head leaves the class ``UNKNOWN_CLASS``: the kinetic rule's opinion stands beside it and
    never takes its place.

    Args:
        study: the study.
        prediction: the network's answer on the study's grid.
        model: ``version`` and ``weights_sha256``.
        threshold: probability from which a voxel is tumour.
        min_volume_ml: smaller components are left out.
        body: ``(X, Y, Z)`` bool, where the ring may lie if the study has no liver mask; None is anywhere.

    Returns:
        The result, and the mask ``(X, Y, Z)`` uint8: each lesion with its class's value of ``LABELS``,
        ``UNKNOWN_LABEL`` where the class is unknown.

    Raises:
        ConfigurationError: ``threshold`` is not inside (0, 1) or ``min_volume_ml`` is negative.
        StudyError: the prediction is not on the study's grid.
    """
    _check(study, prediction, threshold, min_volume_ml)
    tumour = prediction.tumour >= threshold
    components, left_out = find_components(tumour, min_voxels=min_volume_ml / study.voxel_ml)
    allowed = ~tumour
    if (region := body if study.liver is None else study.liver) is not None:
        allowed &= region

    slices = tumour.shape[study.slice_axis]
    areas = [component_areas(c, study.slice_axis, slices) for c in components]
    lesions = []
    mask = np.zeros(tumour.shape, dtype=np.uint8)
    for component, area in zip(components, areas, strict=True):
        shared = any((other[area > 0] > 0).any() for other in areas if other is not area)
        lesion = _lesion(
            study, prediction, component, identifier=len(lesions) + 1, area=area, allowed=allowed, shared_slices=shared
        )
        mask[component.box][component.mask] = LABELS.get(lesion.predicted_class, UNKNOWN_LABEL)
        lesions.append(lesion)

    probabilities = _study_probabilities(lesions)
    result = Result(
        subject=study.case,
        phases=tuple(
            {"name": name, "time_s": float(time_s), "available": bool(there)}
            for name, time_s, there in zip(PHASES, study.times_s, study.available, strict=True)
        ),
        normalisation={"offset": float(study.offset), "scale": float(study.scale)},
        lesions=tuple(lesions),
        predicted_class=most_likely(probabilities) if lesions else NO_LESION,
        probabilities=probabilities,
        notes=tuple(_notes(study, prediction, lesions, left_out, min_volume_ml)),
        model=model,
    )
    return result, mask


def area_weighted(per_slice: np.ndarray, area: np.ndarray) -> np.ndarray:
    """Mean over slices ``(S, K) -> (K,)``, weighted by the area ``(S,)`` of a lesion in each."""
    return np.average(per_slice, axis=0, weights=area)


def most_likely(probabilities: dict[str, float] | None) -> str:
    """The class with the largest probability; ``UNKNOWN_CLASS`` without probabilities."""
    return max(probabilities, key=probabilities.get) if probabilities else UNKNOWN_CLASS


def rule_of_study(lesions: Sequence[Lesion]) -> str | None:
    """The kinetic rule's opinion on a study: the class with the largest volume of lesions; None without any."""
    volume_ml = {name: sum(x.volume_ml for x in lesions if x.rule_class == name) for name in CLASSES}
    return max(volume_ml, key=volume_ml.get) if any(volume_ml.values()) else None


def _lesion(
    study: Study,
    prediction: Prediction,
    component: Component,
    *,
    identifier: int,
    area: np.ndarray,
    allowed: np.ndarray,
    shared_slices: bool,
) -> Lesion:
    from_mask, ring = lesion_curves(study, component, allowed=allowed)
    regressed = None if prediction.regression is None else area_weighted(prediction.regression, area)
    probabilities = None
    if prediction.classification is not None:
        probabilities = _by_class(area_weighted(prediction.classification, area))
    return Lesion(
        id=identifier,
        volume_ml=component.voxels * study.voxel_ml,
        max_diameter_mm=max_diameter_mm(component, study.spacing_mm, study.slice_axis),
        centroid_mm=centroid_mm(component, study.affine),
        predicted_class=most_likely(probabilities),
        probabilities=probabilities,
        enhancement=describe(study, from_mask=from_mask, ring=ring, regressed=regressed, shared_slices=shared_slices),
        rule_class=rule_class(from_mask, ring),
    )


def _study_probabilities(lesions: Sequence[Lesion]) -> dict[str, float] | None:
    if not lesions or lesions[0].probabilities is None:
        return None
    per_lesion = [[x.probabilities[name] for name in CLASSES] for x in lesions]
    return _by_class(np.average(per_lesion, axis=0, weights=[x.volume_ml for x in lesions]))


def _by_class(probabilities: np.ndarray) -> dict[str, float]:
    return {name: float(p) for name, p in zip(CLASSES, np.clip(probabilities, 0.0, 1.0), strict=True)}


def _notes(
    study: Study, prediction: Prediction, lesions: Sequence[Lesion], left_out: int, min_volume_ml: float
) -> list[str]:
    notes = [f"The {name} phase is missing, so there is no {_LOST_WITHOUT[name]}." for name in study.missing()]
    if nominal := [name for name in study.nominal_times if name not in study.missing()]:
        notes.append(f"The time after the injection is not known, so it is nominal: {', '.join(nominal)}.")
    if prediction.regression is None:
        notes.append("The network has no regression head, so there is no regressed curve and no disagreement.")
    if prediction.classification is None:
        notes.append(f"The network has no classification head, so the class of a lesion is {UNKNOWN_CLASS}.")
    notes += [
        f"Lesion {x.id} is not wholly in what the {name} phase shows, so there is no {_LOST_WITHOUT[name]}."
        for x in lesions
        for name, there, value in zip(PHASES, study.available, x.enhancement.from_mask, strict=True)
        if there and value is None
    ]
    notes += [
        f"Lesion {x.id} has no tissue in the ring around it, so there is no signal ratio and no kinetic rule."
        for x in lesions
        if not any(value is not None for value in x.enhancement.ring)
    ]
    if left_out:
        notes.append(f"{left_out} component(s) smaller than {min_volume_ml:g} ml were left out.")
    return notes


def _check(study: Study, prediction: Prediction, threshold: float, min_volume_ml: float) -> None:
    if not 0.0 < threshold < 1.0:
        msg = f"threshold is {threshold}; it must lie between 0 and 1, such as 0.5."
        raise ConfigurationError(msg)
    if min_volume_ml < 0.0:
        msg = f"min_volume_ml is {min_volume_ml}; it must be 0 or more, such as {MIN_VOLUME_ML}."
        raise ConfigurationError(msg)
    grid = study.image.shape[1:]
    if prediction.tumour.shape != grid:
        msg = (
            f"{study.case}: the prediction is {prediction.tumour.shape} and the study {grid}. Predict on its own grid."
        )
        raise StudyError(msg)
    slices = grid[study.slice_axis]
    for name, rows, columns in (
        ("regression", prediction.regression, len(PHASES)),
        ("classification", prediction.classification, len(CLASSES)),
    ):
        if rows is not None and rows.shape != (slices, columns):
            msg = (
                f"{study.case}: {name} is {rows.shape} and must be {(slices, columns)}, one row per slice of the study."
            )
            raise StudyError(msg)
