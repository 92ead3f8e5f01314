"""Scores and applies a trained CMU-Net: the liver of whole studies, on their own grid."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from ..domain.entry import entry_point
from ..domain.errors import DatasetError
from ..domain.study import Study
from ..results.metrics import Metrics
from ..results.overlap import hausdorff_mm, overlap
from ..results.statistics import auroc
from ..studies.case import LIVER_FOLDER, Case
from ..studies.network_grid import NetworkGrid
from ..studies.reading import read_study, write_mask
from ..studies.sources import find_cases
from .cmu_net import CMUNet
from .evaluation import make_ready
from .scoring import balanced_accuracy, column, summary

THRESHOLD = 0.5


def segment_study(
    network: CMUNet, study: Study, *, size: int, batch_size: int, device: torch.device | str
) -> tuple[np.ndarray, np.ndarray]:
    """The network's answer about every slice of a study.

    Args:
        network: in eval mode, on ``device``.
        study: the study.
        size: pixels of the network grid.
        batch_size: slices per pass.
        device: where the network is.

    Returns:
        Probability of the organ on the study's grid, ``(X, Y, Z)`` float32, and that of its presence in each slice,
        ``(S,)``.
    """
    grid = NetworkGrid.of(study, size)
    available = np.asarray(study.available)
    image = (grid.to_slices(study.image) - np.float32(study.offset)) / np.float32(study.scale)
    image[:, ~available] = 0.0
    masks, organs = [], []
    for part in torch.from_numpy(image).split(batch_size):
        with torch.inference_mode():
            outputs = network(part.to(device))
        masks.append(outputs["segmentation"].sigmoid()[:, 0].cpu())
        organs.append(outputs["organ"].sigmoid()[:, 0].cpu())
    return grid.to_volume(torch.cat(masks).numpy()), torch.cat(organs).numpy()


def score_study(study: Study, probability: np.ndarray, organ: np.ndarray) -> tuple[dict[str, Any], np.ndarray]:
    """One subject's row, and what was said of its slices.

    Whole-volume measures in 3D; ``slice_*`` are means over the slices with the organ, as the paper tests on slices,
    though it does not say what its means are over. Where nothing is predicted Dice is 0 and a distance the diagonal of
    the image.

    Args:
        study: with its liver mask.
        probability: of ``segment_study``.
        organ: likewise.

    Returns:
        The row, and ``(S, 2)``: whether the organ is in each slice, and the probability that it is said to have.
    """
    truth, predicted = study.liver, probability >= THRESHOLD
    other_axes = tuple(axis for axis in range(3) if axis != study.slice_axis)
    in_plane_mm = tuple(study.spacing_mm[axis] for axis in other_axes)
    present = truth.any(axis=other_axes)
    slices = [
        [np.take(mask, index, study.slice_axis) for mask in (truth, predicted)] for index in np.flatnonzero(present)
    ]
    whole = overlap(truth, predicted, study.spacing_mm)
    row = {
        "case": study.case,
        "dice": whole.dice,
        "iou": whole.iou,
        "nsd": whole.nsd,
        "hd95_mm": whole.hd95_mm,
        "hausdorff_mm": hausdorff_mm(truth, predicted, study.spacing_mm),
        "slice_dice": float(np.mean([_dice(*masks) for masks in slices])),
        "slice_hausdorff_mm": float(np.mean([hausdorff_mm(*masks, in_plane_mm) for masks in slices])),
        "slices": len(present),
        "slices_with_organ": int(present.sum()),
        "slices_organ_correct": int(np.count_nonzero((organ >= THRESHOLD) == present)),
    }
    return row, np.stack([present, organ], axis=1)


def _dice(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Dice similarity coefficient; the truth is not empty."""
    return 2 * np.count_nonzero(truth & predicted) / (np.count_nonzero(truth) + np.count_nonzero(predicted))


def score_livers(
    network: CMUNet, cases: Sequence[Case], *, image_size: int, batch_size: int, device: torch.device | str
) -> tuple[list[dict[str, Any]], Metrics]:
    """Score a network on the studies' own grids; ``ScoreCases`` of ``cmu_net.yaml``.

    Raises:
        StudyError: a study cannot be read.
        DatasetError: a case has no liver.
    """
    rows, slices, groups = [], [], []
    for study in _studies(cases):
        if study.liver is None or not study.liver.any():
            msg = f"{study.case}: no liver mask, or an empty one, to score against. Add {LIVER_FOLDER}/<case>.nii.gz"
            raise DatasetError(msg)
        answer = segment_study(network, study, size=image_size, batch_size=batch_size, device=device)
        row, said = score_study(study, *answer)
        rows.append(row)
        slices.append(said)
        groups += [study.case] * len(said)
    return rows, _metrics(rows, np.concatenate(slices), groups)


@entry_point
def segment_livers(
    network: CMUNet,
    ckpt_path: str,
    dataset_dir: str,
    output_dir: str,
    *,
    image_size: int,
    batch_size: int,
    device: torch.device | str,
) -> None:
    """Write ``<case>/liver.nii.gz`` for every study at a path; the run id ``inferring`` of ``cmu_net.yaml``.

    Args:
        network: of the config.
        ckpt_path: its weights.
        dataset_dir: whatever ``find_cases`` understands.
        output_dir: for the masks.
        image_size: pixels of the network grid.
        batch_size: slices per pass.
        device: where to run.

    Raises:
        SystemExit: the weights or a study cannot be used.
    """
    cases = find_cases(dataset_dir)
    make_ready(network, ckpt_path, image_size=image_size, device=device)
    for study in _studies(cases):
        probability, _ = segment_study(network, study, size=image_size, batch_size=batch_size, device=device)
        write_mask(probability >= THRESHOLD, study, Path(output_dir) / study.case / "liver.nii.gz")


def _studies(cases: Sequence[Case]) -> Iterable[Study]:
    return map(read_study, tqdm(cases, desc="studies", unit="study"))


def _metrics(rows: Sequence[dict[str, Any]], slices: np.ndarray, groups: Sequence[str]) -> Metrics:
    names = {"dsc_mean": "dice", "iou_mean": "iou", "nsd_2mm": "nsd", "slice_dsc_mean": "slice_dice"}
    names |= {name: name for name in ("hausdorff_mm", "hd95_mm", "slice_hausdorff_mm")}
    metrics = {name: summary(column(rows, of)) for name, of in names.items()}
    said = slices[:, 1] >= THRESHOLD
    both = np.column_stack([slices[:, 0], said])
    return metrics | {
        "organ_accuracy": summary(both, statistic=lambda v: float(np.mean(v[:, 0] == v[:, 1])), groups=groups),
        "organ_balanced_accuracy": summary(both, statistic=lambda v: balanced_accuracy(*v.T), groups=groups),
        "organ_auroc": summary(slices, statistic=lambda v: auroc(v[:, 0] > 0, v[:, 1]), groups=groups),
    }
