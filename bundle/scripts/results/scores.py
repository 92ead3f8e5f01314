"""What one subject contributes to the metrics: a row of ``per_subject.csv``."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..domain.classes import CLASSES, NO_LESION, UNKNOWN_CLASS, tumour_class_of
from ..domain.enhancement import mean_curve
from ..domain.errors import StudyError
from ..domain.phases import PHASES
from ..domain.prediction import Prediction
from ..domain.result import Result
from ..domain.study import Study
from .components import slice_areas
from .lesions import area_weighted, rule_of_study
from .overlap import match_lesions, overlap

_HCC = CLASSES.index("hcc")
_NOTHING = (float("nan"),) * len(PHASES)


@dataclass(frozen=True)
class SubjectScore:
    """One subject, or one slice of it in the per-slice mode: the truth and what was said about it.

    A **miss** is a true lesion that no predicted voxel touches (Dice 0): a wrong class for the network and
    for the rule, whatever they said about another place. Curves are normalised intensity, one value per
    phase, NaN in a missing phase and where the mask is empty.

    Args:
        case: the subject.
        slice_index: the slice in the per-slice mode, else None.
        true_class: one of ``CLASSES``, or ``NO_LESION``.
        predicted_class: the network's; ``UNKNOWN_CLASS`` without a classification head.
        probability_hcc: the network's; NaN where nothing was found, None without a classification head.
        rule_class: the kinetic rule's on the predicted mask; ``UNKNOWN_CLASS`` where no lesion has a ring,
            None where a phase that the rule needs is missing.
        dice: None without a true lesion, like ``iou``, ``nsd`` and ``hd95_mm``.
        iou: intersection over union.
        nsd: normalised surface Dice at 2 mm.
        hd95_mm: 95th percentile Hausdorff distance.
        true_lesions: number of true lesions.
        predicted_lesions: number of predicted lesions.
        matched_lesions: one-to-one pairs of the two with an IoU of at least 0.1.
        true_curve: mean under the true mask.
        head_curve: the regression head's mean over the predicted slices by predicted area; None without
            a regression head.
        mask_curve: mean under the predicted mask.
        scale: raw units in one normalised unit.
        true_slices_curve: the regression head's mean over the slices of the true lesion by its area there, on which
            systems without a mask of their own can be compared too; None without a regression head.
        true_slices_probability_hcc: the classification head's, likewise; NaN from a system that tells the class by the
            voxels that it finds and found none.
        mask_given: whether the mask is the truth itself, as for a network that does not segment: nothing is said of it.
    """

    case: str
    slice_index: int | None
    true_class: str
    predicted_class: str
    probability_hcc: float | None
    rule_class: str | None
    dice: float | None
    iou: float | None
    nsd: float | None
    hd95_mm: float | None
    true_lesions: int
    predicted_lesions: int
    matched_lesions: int
    true_curve: tuple[float, ...]
    head_curve: tuple[float, ...] | None
    mask_curve: tuple[float, ...]
    scale: float
    true_slices_curve: tuple[float, ...] | None = None
    true_slices_probability_hcc: float | None = None
    mask_given: bool = False

    @property
    def has_lesion(self) -> bool:
        """Whether there is a true lesion."""
        return self.true_class != NO_LESION

    @property
    def missed(self) -> bool:
        """Whether the prediction touches none of a subject's true lesions; a slice's heads answer all the same."""
        return self.dice == 0.0 and self.slice_index is None

    @property
    def correct(self) -> bool | None:
        """Whether the network's class is right; None without a true lesion or a classification head."""
        if not self.has_lesion or self.predicted_class == UNKNOWN_CLASS:
            return None
        return not self.missed and self.predicted_class == self.true_class

    @property
    def correct_on_true_slices(self) -> bool | None:
        """Whether the class is right on the slices of the true lesion; None as ``correct``."""
        p = self.true_slices_probability_hcc
        if not self.has_lesion or p is None:
            return None
        return not math.isnan(p) and (p > 0.5) == (self.true_class == "hcc")

    @property
    def rule_correct(self) -> bool | None:
        """Whether the kinetic rule's class is right; None without a true lesion or a phase that the rule needs."""
        if not self.has_lesion or self.rule_class is None:
            return None
        return not self.missed and self.rule_class == self.true_class


def score_subject(study: Study, mask: np.ndarray, result: Result, prediction: Prediction) -> SubjectScore:
    """Score one analysed study against its label.

    Args:
        study: with a ``label``.
        mask: ``(X, Y, Z)`` from ``analyse``; above 0 is tumour.
        result: from ``analyse``.
        prediction: the network's answer.

    Returns:
        The subject's row.

    Raises:
        StudyError: the study has no label.
    """
    truth, predicted = _label(study) > 0, mask > 0
    true_area = slice_areas(truth, study.slice_axis)
    head_curve = None
    if prediction.regression is not None:
        area = slice_areas(predicted, study.slice_axis)
        head_curve = area_weighted(prediction.regression, area) if area.any() else np.array(_NOTHING)
    predicted_class, probability_hcc = UNKNOWN_CLASS, None
    if prediction.classification is not None:
        predicted_class = result.predicted_class
        probability_hcc = result.probabilities["hcc"] if result.probabilities else float("nan")
    rule_class = None
    if study.available[PHASES.index("arterial")] and study.available[PHASES.index("delayed")]:
        rule_class = rule_of_study(result.lesions) or (UNKNOWN_CLASS if result.lesions else NO_LESION)
    return SubjectScore(
        case=study.case,
        slice_index=None,
        true_class=tumour_class_of(study.label),
        predicted_class=predicted_class,
        probability_hcc=probability_hcc,
        rule_class=rule_class,
        head_curve=None if head_curve is None else _curve(head_curve, study),
        true_slices_curve=_true_slices_curve(study, prediction, true_area),
        true_slices_probability_hcc=_true_slices_probability(prediction, true_area),
        **_compare(study, study.image, truth, predicted, study.spacing_mm, given=prediction.mask_given),
    )


def score_slices(study: Study, mask: np.ndarray, prediction: Prediction) -> list[SubjectScore]:
    """Score each slice that holds a true lesion on its own, as the paper does.

    The heads' values are those of the slice itself, whatever was segmented in it; there is no ring and so
    no rule. Slices without a true lesion are left out.

    Args:
        study: with a ``label``.
        mask: ``(X, Y, Z)`` from ``analyse``; above 0 is tumour.
        prediction: the network's answer.

    Returns:
        One row per slice.

    Raises:
        StudyError: the study has no label.
    """
    axis = study.slice_axis
    spacing_mm = tuple(np.delete(study.spacing_mm, axis))
    rows = []
    for index in np.flatnonzero(slice_areas(_label(study) > 0, axis)):
        truth, predicted = (np.take(volume, index, axis) > 0 for volume in (study.label, mask))
        p = None if prediction.classification is None else prediction.classification[index]
        probability_hcc = None if p is None else float(p[_HCC])
        head_curve = None if prediction.regression is None else _curve(prediction.regression[index], study)
        rows.append(
            SubjectScore(
                case=study.case,
                slice_index=int(index),
                true_class=tumour_class_of(study.label),
                predicted_class=UNKNOWN_CLASS if p is None else CLASSES[int(p.argmax())],
                probability_hcc=probability_hcc,
                rule_class=None,
                head_curve=head_curve,
                true_slices_curve=head_curve,
                true_slices_probability_hcc=probability_hcc,
                **_compare(
                    study,
                    np.take(study.image, index, axis + 1),
                    truth,
                    predicted,
                    spacing_mm,
                    given=prediction.mask_given,
                ),
            )
        )
    return rows


def _compare(
    study: Study,
    image: np.ndarray,
    truth: np.ndarray,
    predicted: np.ndarray,
    spacing_mm: tuple[float, ...],
    *,
    given: bool,
) -> dict[str, Any]:
    agreement = overlap(truth, predicted, spacing_mm) if truth.any() and not given else None
    n_true, n_predicted, matched = match_lesions(truth, predicted)
    true_curve, mask_curve = (
        _curve((mean_curve(image, mask) - study.offset) / study.scale, study) for mask in (truth, predicted)
    )
    no_agreement = dict.fromkeys(("dice", "iou", "nsd", "hd95_mm"))
    return {
        **(no_agreement if agreement is None else asdict(agreement)),
        "true_lesions": n_true,
        "predicted_lesions": n_predicted,
        "matched_lesions": matched,
        "true_curve": true_curve,
        "mask_curve": mask_curve,
        "scale": float(study.scale),
        "mask_given": given,
    }


def _true_slices_curve(study: Study, prediction: Prediction, true_area: np.ndarray) -> tuple[float, ...] | None:
    if prediction.regression is None:
        return None
    return _curve(area_weighted(prediction.regression, true_area), study) if true_area.any() else _NOTHING


def _true_slices_probability(prediction: Prediction, true_area: np.ndarray) -> float | None:
    if prediction.classification is None or not true_area.any():
        return None
    return float(area_weighted(prediction.classification, true_area)[_HCC])


def _curve(values: np.ndarray, study: Study) -> tuple[float, ...]:
    return tuple(float(v) for v in np.where(study.available, values, np.nan))


def _label(study: Study) -> np.ndarray:
    if study.label is None:
        msg = f"{study.case}: there is no label, so there is nothing to score against. Leave this study out."
        raise StudyError(msg)
    return study.label
