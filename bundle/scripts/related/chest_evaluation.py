"""Scores and applies a trained chest network."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from ..domain.entry import entry_point
from ..domain.writing import replace_when_written
from ..results.metrics import Metrics
from ..studies.nifti_writing import write_nifti
from .chest_classes import CLASSES, LESIONS
from .chest_dataset import ChestArrays, ChestSubjects
from .chest_layout import BOX, ChestCase, read_chest
from .chest_network import ChestNetwork
from .chest_scores import summarise
from .chest_training import ChestEvaluator, ChestScores, joined_outputs
from .evaluation import make_ready
from .scoring import scored_part

FINDINGS_FILE, MASK_FILE = "findings.json", "mask.nii.gz"


def score_chests(
    network: ChestNetwork, cases: Sequence[ChestCase], *, image_size: int, batch_size: int, device: torch.device | str
) -> tuple[list[dict[str, Any]], Metrics]:
    """Score a network on the network grid, slice by slice; ``ScoreCases`` of ``chest.yaml``."""
    scores = ChestScores()
    evaluator = ChestEvaluator(
        device,
        DataLoader(ChestSubjects(cases, size=image_size), batch_size=None),
        network,
        slices_per_pass=batch_size,
        key_val_metric={"score": scores},
    )
    evaluator.run()
    return [score.row for score in scores.scores], summarise(scores.scores)


@entry_point
def find_lesions(
    network: ChestNetwork,
    ckpt_path: str,
    dataset_dir: str,
    output_dir: str,
    *,
    split: str | None,
    image_size: int,
    batch_size: int,
    device: torch.device | str,
    threshold: float = 0.5,
) -> None:
    """Write what the network says of every case; the run id ``inferring`` of ``chest.yaml``.

    ``<case>/findings.json`` holds the class probabilities of every slice, and the boxes with their scores in voxels of
    the image file; ``<case>/mask.nii.gz`` the lesions, on the grid of the image. Tasks without a head are absent.

    Args:
        network: of the config.
        ckpt_path: its weights.
        dataset_dir: in the layout of ``chest_layout``.
        output_dir: for the folders.
        split: train, val or test; None is all cases.
        image_size: pixels of the network grid.
        batch_size: slices per pass.
        device: where to run.
        threshold: boxes of a lower score are left out.

    Raises:
        SystemExit: the weights or a case cannot be used.
    """
    make_ready(network, ckpt_path, image_size=image_size, device=device)
    for arrays in ChestSubjects(scored_part(read_chest(dataset_dir), split, None), size=image_size).subjects:
        outputs = _answers(network, torch.from_numpy(arrays.image)[:, None].to(device), batch_size)
        folder = Path(output_dir) / arrays.case.case
        with replace_when_written(folder / FINDINGS_FILE) as aside:
            aside.write_text(json.dumps(_findings(outputs, arrays, threshold), indent=1) + "\n")
        if "segmentation" in outputs:
            probability = outputs["segmentation"].softmax(dim=1)[:, 1].cpu().numpy()
            mask = (arrays.grid.to_volume(probability) >= 0.5).astype(np.uint8)
            write_nifti(mask, arrays.affine, folder / MASK_FILE)


def _answers(network: ChestNetwork, image: torch.Tensor, slices_per_pass: int) -> dict[str, Any]:
    """The network's outputs about many slices, ``(S, 1, H, W)``, a few at a time."""
    with torch.no_grad():
        return joined_outputs([network(part) for part in image.split(slices_per_pass)])


def _findings(outputs: dict[str, Any], arrays: ChestArrays, threshold: float) -> dict[str, Any]:
    findings: dict[str, Any] = {"case": arrays.case.case}
    if "classification" in outputs:
        probabilities = outputs["classification"].softmax(dim=1).tolist()
        findings["slices"] = [dict(zip(CLASSES, values, strict=True)) for values in probabilities]
    if "detection" in outputs:
        findings["boxes"] = [
            {"slice": index, "class": LESIONS[int(label) - 1], "score": float(score), **_in_file(box, arrays)}
            for index, said in enumerate(outputs["detection"])
            for box, label, score in zip(said["boxes"], said["labels"], said["scores"], strict=True)
            if score >= threshold
        ]
    return findings


def _in_file(box: torch.Tensor, arrays: ChestArrays) -> dict[str, float]:
    """A box of the network grid (column, row, column, row) in voxels of the file's first two axes, cut at its edges."""
    columns, rows = box.reshape(2, 2).T.cpu().numpy()
    corners = []
    for axis, pixels in enumerate((rows, columns)):
        centred_mm = (pixels - arrays.grid.size / 2) * arrays.grid.pixel_mm
        size = arrays.grid.shape[axis]
        corners.append(np.clip(centred_mm / arrays.grid.spacing_mm[axis] + size / 2, 0, size))
    (x_min, x_max), (y_min, y_max) = corners
    return {name: round(float(v), 2) for name, v in zip(BOX, (x_min, y_min, x_max, y_max), strict=True)}
