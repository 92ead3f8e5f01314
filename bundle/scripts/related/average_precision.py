"""Average precision of detections, as COCO defines it, in arrays that a bootstrap can draw from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

IOU_THRESHOLDS = np.arange(0.5, 0.96, 0.05)
"""COCO's ten; the first is that of AP50."""

RECALLS = np.linspace(0, 1, 101)
"""Where COCO reads the precision."""


@dataclass(frozen=True, eq=False)
class MatchedDetections:
    """The detections of some images, each right or wrong at every threshold.

    Args:
        scores: ``(N,)``.
        labels: ``(N,)`` class of each.
        right: ``(N, T)`` bool: whether it found a true box that no better-scored detection had found.
        true_labels: ``(M,)`` class of every true box.
    """

    scores: np.ndarray
    labels: np.ndarray
    right: np.ndarray
    true_labels: np.ndarray


def box_iou(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """``(N, M)`` intersection over union of boxes ``(N, 4)`` and ``(M, 4)``, two corners each."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    shared = np.prod(np.clip(high - low, 0, None), axis=2)
    areas, other_areas = (np.prod(b[:, 2:] - b[:, :2], axis=1) for b in (boxes, others))
    return shared / np.maximum(areas[:, None] + other_areas[None] - shared, 1e-12)


def match(
    boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray, true_boxes: np.ndarray, true_labels: np.ndarray
) -> MatchedDetections:
    """Match one image's detections to its true boxes, class by class and the best score first.

    A detection takes the free true box with which it shares the most, if their IoU reaches the threshold.

    Args:
        boxes: ``(N, 4)`` two corners each.
        scores: ``(N,)``.
        labels: ``(N,)``.
        true_boxes: ``(M, 4)``.
        true_labels: ``(M,)``.
    """
    order = np.argsort(-scores, kind="stable")
    boxes, scores, labels = boxes[order], scores[order], labels[order]
    iou = box_iou(boxes, true_boxes)
    iou[labels[:, None] != true_labels[None]] = -1.0
    right = np.zeros((len(boxes), len(IOU_THRESHOLDS)), dtype=bool)
    if len(true_boxes):
        for column, threshold in enumerate(IOU_THRESHOLDS):
            free = iou.copy()
            for row in range(len(boxes)):
                best = int(free[row].argmax())
                if free[row, best] >= threshold - 1e-9:
                    right[row, column] = True
                    free[:, best] = -1.0
    return MatchedDetections(scores, labels, right, np.asarray(true_labels))


def joined(parts: Sequence[MatchedDetections]) -> MatchedDetections:
    """The detections of several images, or of several subjects, as one."""
    return MatchedDetections(
        *(np.concatenate([getattr(part, name) for part in parts]) for name in MatchedDetections.__dataclass_fields__)
    )


def average_precisions(detections: MatchedDetections) -> np.ndarray:
    """``(T,)`` AP at every threshold: the mean over the classes that occur; NaN where none does.

    The precision at a recall is the highest at that recall or beyond it, read at 101 recalls (COCO).
    """
    by_class = []
    for label in np.unique(detections.true_labels):
        total = np.count_nonzero(detections.true_labels == label)
        mine = np.flatnonzero(detections.labels == label)
        mine = mine[np.argsort(-detections.scores[mine], kind="stable")]
        right = detections.right[mine].cumsum(axis=0)
        precision = right / np.arange(1, len(mine) + 1)[:, None]
        precision = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
        by_class.append([_read(precision[:, t], right[:, t] / total) for t in range(right.shape[1])])
    return np.mean(by_class, axis=0) if by_class else np.full(len(IOU_THRESHOLDS), np.nan)


def _read(precision: np.ndarray, recall: np.ndarray) -> float:
    """Mean over ``RECALLS`` of the precision there; 0 beyond the highest recall."""
    place = np.searchsorted(recall, RECALLS - 1e-12, side="left")
    return float(np.append(precision, 0.0)[place].mean())
