"""Validation of CMU-Net while it trains, and what its training needs on disk."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ..domain.entry import entry_point
from ..domain.errors import ConfigurationError, DatasetError
from ..engines.validation import SubjectMetric
from ..studies.case import LIVER_FOLDER
from ..studies.layout import read_dataset
from .cmu_loss import TASKS, organ_present
from .scoring import balanced_accuracy


class OrganScores(SubjectMetric):
    """Dice by subject and the balanced accuracy of "organ present" over slices.

    The key metric ``score`` is the Dice, or for a pre-training of the encoder the balanced accuracy: the paper selects
    "the version of each model based on its performance" on the validation set.

    Args:
        task: what is trained, one of ``TASKS``.

    Raises:
        ConfigurationError: another task.
    """

    def __init__(self, task: str = "segmentation") -> None:
        if task not in TASKS:
            msg = f"task {task!r} is none of {', '.join(TASKS)}"
            raise ConfigurationError(msg)
        self.task = task
        super().__init__()

    def reset(self) -> None:
        """Forget all subjects."""
        self._dice: list[float] = []
        self._slices: list[np.ndarray] = []

    def update(self, output: tuple[dict[str, torch.Tensor], dict[str, Any]]) -> None:
        """Add one subject's outputs and batch."""
        outputs, batch = output
        truth = batch["label"] > 0
        present, said = organ_present(batch["label"]) > 0, outputs["organ"] > 0
        self._slices.append(torch.cat([present, said], dim=1).cpu().numpy())
        if truth.any():
            predicted = outputs["probability"] >= 0.5
            self._dice.append(float(2 * (truth & predicted).sum() / (truth.sum() + predicted.sum())))

    def compute(self) -> dict[str, float]:
        """``dice``, ``organ_balanced_accuracy`` and ``score`` over all subjects so far.

        Raises:
            DatasetError: no subject has the organ.
        """
        if not self._dice:
            msg = "no validation subject has the organ, so there is nothing to choose weights by. Check its masks"
            raise DatasetError(msg)
        dice = float(np.mean(self._dice))
        accuracy = balanced_accuracy(*np.concatenate(self._slices).T)
        return {
            "dice": dice,
            "organ_balanced_accuracy": accuracy,
            "score": dice if self.task == "segmentation" else accuracy,
        }


@entry_point
def require_livers(dataset_dir: str) -> None:
    """Stop with one line, before anything is built, where a case has no liver mask.

    Raises:
        SystemExit: likewise.
    """
    cases = read_dataset(dataset_dir)
    without = [case.case for case in cases if case.liver_file is None]
    if without:
        named = ", ".join(without[:5]) + (" …" if len(without) > 5 else "")
        msg = (
            f"{dataset_dir}: {len(without)} of {len(cases)} cases have no liver mask ({named}), which CMU-Net learns "
            f"from. Add {LIVER_FOLDER}/<case>.nii.gz; a phantom made by make_phantom has them"
        )
        raise DatasetError(msg)
