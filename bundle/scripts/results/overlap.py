"""Agreement of a predicted and a true mask: overlap, surface distances, lesions found. 2D or 3D."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from monai.metrics import compute_hausdorff_distance, compute_surface_dice
from scipy.optimize import linear_sum_assignment

from .components import bounding_box, label_components

SURFACE_TOLERANCE_MM = 2.0
LESION_IOU = 0.1
"""A predicted lesion has found a true one when they share at least this much of their union."""


@dataclass(frozen=True)
class Overlap:
    """How far a predicted mask agrees with a true one that is not empty.

    Args:
        dice: Dice similarity coefficient.
        iou: intersection over union.
        nsd: normalised surface Dice at 2 mm.
        hd95_mm: 95th percentile of the symmetric Hausdorff distance.
    """

    dice: float
    iou: float
    nsd: float
    hd95_mm: float


def overlap(truth: np.ndarray, predicted: np.ndarray, spacing_mm: tuple[float, ...]) -> Overlap:
    """Compare two masks.

    Where nothing was predicted, Dice, IoU and NSD are 0 and HD95 is the length of the image's diagonal,
    the largest distance that the image can hold.

    Args:
        truth: bool, 2D or 3D, not empty.
        predicted: bool, same shape.
        spacing_mm: pixel or voxel size along each axis.

    Returns:
        The agreement.
    """
    hd95_mm = hausdorff_mm(truth, predicted, spacing_mm, percentile=95)
    if not predicted.any():
        return Overlap(dice=0.0, iou=0.0, nsd=0.0, hd95_mm=hd95_mm)
    box = bounding_box(truth | predicted)
    truth, predicted = truth[box], predicted[box]
    intersection = np.count_nonzero(truth & predicted)
    total = np.count_nonzero(truth) + np.count_nonzero(predicted)
    y, y_pred = (torch.from_numpy(mask.astype(np.float32))[None, None] for mask in (truth, predicted))
    spacing = [float(d) for d in spacing_mm]
    nsd = compute_surface_dice(y_pred, y, [SURFACE_TOLERANCE_MM], include_background=True, spacing=spacing)
    return Overlap(
        dice=2 * intersection / total,
        iou=intersection / (total - intersection),
        nsd=float(nsd),
        hd95_mm=hd95_mm,
    )


def hausdorff_mm(
    truth: np.ndarray, predicted: np.ndarray, spacing_mm: tuple[float, ...], *, percentile: float | None = None
) -> float:
    """Symmetric Hausdorff distance of the outlines; the length of the image's diagonal where nothing was predicted.

    Args:
        truth: bool, 2D or 3D, not empty.
        predicted: bool, same shape.
        spacing_mm: pixel or voxel size along each axis.
        percentile: of the distances to the other outline, the larger of both directions; None takes the largest one.

    Returns:
        The distance in mm.
    """
    if not predicted.any():
        return float(np.linalg.norm(np.multiply(truth.shape, spacing_mm)))
    box = bounding_box(truth | predicted)
    y, y_pred = (torch.from_numpy(mask[box].astype(np.float32))[None, None] for mask in (truth, predicted))
    spacing = [float(d) for d in spacing_mm]
    return float(compute_hausdorff_distance(y_pred, y, include_background=True, percentile=percentile, spacing=spacing))


def match_lesions(truth: np.ndarray, predicted: np.ndarray) -> tuple[int, int, int]:
    """Pair true and predicted lesions one to one.

    Pairs need an IoU of at least 0.1; among all pairings the one with the largest sum of IoU is taken
    (Hungarian method), so a prediction that runs over two lesions finds one of them.

    Args:
        truth: bool, 2D or 3D.
        predicted: bool, same shape.

    Returns:
        ``(true lesions, predicted lesions, matched pairs)``.
    """
    box = bounding_box(truth | predicted)
    true_labels, n_true = label_components(truth[box])
    predicted_labels, n_predicted = label_components(predicted[box])
    if not n_true or not n_predicted:
        return n_true, n_predicted, 0
    pairs = true_labels.ravel() * (n_predicted + 1) + predicted_labels.ravel()
    shared = np.bincount(pairs, minlength=(n_true + 1) * (n_predicted + 1)).reshape(n_true + 1, n_predicted + 1)
    union = shared.sum(axis=1, keepdims=True) + shared.sum(axis=0, keepdims=True) - shared
    iou = (shared / union)[1:, 1:]
    iou[iou < LESION_IOU] = 0.0
    matched = np.count_nonzero(iou[linear_sum_assignment(iou, maximize=True)])
    return n_true, n_predicted, matched
