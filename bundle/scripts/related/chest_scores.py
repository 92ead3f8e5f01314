"""What one subject of the chest network contributes, and the metrics over subjects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ..domain.errors import DatasetError
from .average_precision import MatchedDetections, average_precisions, joined, match
from .chest_classes import CLASSES, NORMAL
from .scoring import balanced_accuracy, column, summary

_AP_RESAMPLES = 500


@dataclass(frozen=True, eq=False)
class ChestScore:
    """One subject's truth and answers.

    Args:
        row: its line in ``per_subject.csv``; None where the network has no such head or the subject no such truth.
        classes: ``(S, 2)`` true and said class of every slice; None without a classification head.
        detections: of all its slices; None without a detection head.
    """

    row: dict[str, Any]
    classes: np.ndarray | None
    detections: MatchedDetections | None


def score_subject(outputs: dict[str, Any], batch: dict[str, Any]) -> ChestScore:
    """Score all slices of one subject.

    - ``correct``: the class of a subject, of its mean probabilities over its slices with a lesion (over all, if it has
      none);
    - ``dice``, ``iou``: of all its lesion pixels together; None without a lesion;
    - ``reconstruction_error``: mean squared error, intensities from 0 to 1.

    Args:
        outputs: of ``ChestNetwork`` in eval mode.
        batch: of ``ChestSubjects``.
    """
    truth = batch["label"] > 0
    row: dict[str, Any] = {"case": batch["case"][0], "slices": len(truth)}
    row["slices_with_lesion"] = int(truth.flatten(1).any(dim=1).sum())
    classes = _classify(outputs.get("classification"), batch["slice_class"], row)
    _segment(outputs.get("segmentation"), truth, row)
    reconstruction = outputs.get("reconstruction")
    row["reconstruction_error"] = (
        None if reconstruction is None else float((reconstruction - batch["image"]).square().mean())
    )
    detections = None
    row["true_boxes"] = sum(len(target["boxes"]) for target in batch["targets"])
    row["boxes_found"] = None
    if "detection" in outputs:
        detections = joined([_matched(*pair) for pair in zip(outputs["detection"], batch["targets"], strict=True)])
        row["boxes_found"] = int(detections.right[:, 0].sum())
    return ChestScore(row, classes, detections)


def summarise(scores: Sequence[ChestScore]) -> dict[str, dict[str, Any]]:
    """Every metric with its interval over subjects: ``metrics.json``.

    ``detection_ap`` is COCO's, the mean of the APs at IoU .50 to .95; ``detection_ap50`` that at .50.
    """
    rows = [score.row for score in scores]
    names = {"dsc_mean": "dice", "iou_mean": "iou", "subject_accuracy": "correct"}
    metrics = {name: summary(column(rows, of)) for name, of in names.items()}
    metrics["reconstruction_mse"] = summary(column(rows, "reconstruction_error"))
    classified = [score for score in scores if score.classes is not None]
    groups = [score.row["case"] for score in classified for _ in score.classes]
    pairs = np.concatenate([score.classes for score in classified]) if classified else np.zeros((0, 2))
    metrics["accuracy"] = summary(pairs, statistic=lambda v: float(np.mean(v[:, 0] == v[:, 1])), groups=groups)
    metrics["balanced_accuracy"] = summary(pairs, statistic=lambda v: balanced_accuracy(*v.T), groups=groups)
    detected = [score.detections for score in scores if score.detections is not None]
    for name, chosen in (("detection_ap", slice(None)), ("detection_ap50", slice(0, 1))):
        metrics[name] = summary(
            np.arange(len(detected)),
            statistic=lambda drawn, chosen=chosen: float(
                average_precisions(joined([detected[int(i)] for i in drawn]))[chosen].mean()
            ),
            n_resamples=_AP_RESAMPLES,
        )
    return metrics


def validation_scores(scores: Sequence[ChestScore]) -> dict[str, float]:
    """The quantities that the network has, and ``score``, by which weights are chosen.

    It is the mean of balanced accuracy, Dice and AP50, of those there are; a reconstruction alone scores minus its
    error.

    Args:
        scores: of at least one subject.

    Raises:
        DatasetError: there is nothing to choose by: the network only segments, and no subject has a lesion.
    """
    rows = [score.row for score in scores]
    found: dict[str, float] = {}
    if scores[0].classes is not None:
        found["balanced_accuracy"] = balanced_accuracy(*np.concatenate([score.classes for score in scores]).T)
    if any(row["dice"] is not None for row in rows):
        found["dice"] = float(np.nanmean(column(rows, "dice")))
    if scores[0].detections is not None:
        found["ap50"] = float(np.nan_to_num(average_precisions(joined([s.detections for s in scores]))[0]))
    parts = list(found.values())
    if rows[0]["reconstruction_error"] is not None:
        found["reconstruction_error"] = float(column(rows, "reconstruction_error").mean())
    if not found:
        msg = "no validation subject has a lesion, so there is nothing to choose weights by. Check its masks"
        raise DatasetError(msg)
    return found | {"score": float(np.mean(parts)) if parts else -found["reconstruction_error"]}


def _classify(logits: torch.Tensor | None, slice_class: torch.Tensor, row: dict[str, Any]) -> np.ndarray | None:
    row |= {"true_class": None, "said_class": None, "correct": None, "slices_correct": None}
    truth = slice_class.cpu().numpy()
    with_lesion = truth != CLASSES.index(NORMAL)
    true_class = int(truth[with_lesion][0]) if with_lesion.any() else CLASSES.index(NORMAL)
    row["true_class"] = CLASSES[true_class]
    if logits is None:
        return None
    probabilities = logits.softmax(dim=1).cpu().numpy()
    asked = with_lesion if with_lesion.any() else np.ones_like(with_lesion)
    said_class = int(probabilities[asked].mean(axis=0).argmax())
    said = probabilities.argmax(axis=1)
    row |= {"said_class": CLASSES[said_class], "correct": said_class == true_class}
    row["slices_correct"] = int(np.count_nonzero(said == truth))
    return np.stack([truth, said], axis=1)


def _segment(logits: torch.Tensor | None, truth: torch.Tensor, row: dict[str, Any]) -> None:
    row |= {"dice": None, "iou": None}
    if logits is None or not truth.any():
        return
    predicted = logits.argmax(dim=1, keepdim=True) == 1
    shared, total = float((predicted & truth).sum()), float(predicted.sum() + truth.sum())
    row |= {"dice": 2 * shared / total, "iou": shared / (total - shared)}


def _matched(said: dict[str, torch.Tensor], target: dict[str, torch.Tensor]) -> MatchedDetections:
    arrays = [said[name].cpu().numpy() for name in ("boxes", "scores", "labels")]
    return match(*arrays, *(target[name].cpu().numpy() for name in ("boxes", "labels")))
