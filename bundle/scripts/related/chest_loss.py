"""``L = w1 L_classif + w2 L_segm + w3 L_recon + w4 L_detect`` with every w 0 or 1."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from monai.losses import DiceCELoss, GeneralizedDiceLoss
from torch import Tensor, nn
from torch.nn import functional as F

from ..domain.errors import ConfigurationError
from .chest_network import TASKS

SEGMENTATION_LOSSES = ("generalized_dice", "dice_ce")


def tasks_of(weights: Mapping[str, int]) -> list[str]:
    """The tasks of weight 1, those that a network needs a head for.

    Raises:
        ConfigurationError: an unknown task, a weight that is neither 0 nor 1, or none that is 1.
    """
    wrong = {task: weight for task, weight in weights.items() if task not in TASKS or weight not in (0, 1)}
    if wrong or not any(weights.values()):
        msg = f"loss weights {dict(weights)}: give 0 or 1 to {', '.join(TASKS)}, and 1 to at least one"
        raise ConfigurationError(msg)
    return [task for task in TASKS if weights.get(task, 0)]


class ChestLoss(nn.Module):
    """The joint loss: cross-entropy, generalized Dice (or Dice + cross-entropy), squared error, Mask R-CNN's.

    Generalized Dice (Sudre et al. 2017) weighs background and lesion by one over the square of their volume, over the
    whole batch, so that a slice without a lesion has a defined weight.

    Args:
        weights: w by task, 0 or 1.
        segmentation: one of ``SEGMENTATION_LOSSES``.

    Raises:
        ConfigurationError: wrong weights or another segmentation loss.
    """

    def __init__(self, weights: Mapping[str, int], *, segmentation: str = "generalized_dice") -> None:
        super().__init__()
        self.tasks = tasks_of(weights)
        if segmentation not in SEGMENTATION_LOSSES:
            msg = f"segmentation loss {segmentation!r} is none of {', '.join(SEGMENTATION_LOSSES)}"
            raise ConfigurationError(msg)
        options = {"softmax": True, "to_onehot_y": True, "batch": True}
        # Weights of 1/volume^2 make MONAI's default smoothing as large as what it smooths.
        generalized = GeneralizedDiceLoss(**options, smooth_nr=1e-7, smooth_dr=1e-7)
        self.segmentation = generalized if segmentation == "generalized_dice" else DiceCELoss(**options)

    def forward(self, outputs: dict[str, Any], batch: dict[str, Any], judged: None = None) -> dict[str, Tensor]:
        """The terms by task, and their ``total``.

        Args:
            outputs: of ``ChestNetwork`` in training.
            batch: of ``chest_dataset.sample``, collated.
            judged: unused: no discriminator judges these networks.
        """
        terms = {task: self._term(task, outputs[task], batch) for task in self.tasks}
        return terms | {"total": sum(terms.values())}

    def _term(self, task: str, output: Tensor, batch: dict[str, Any]) -> Tensor:
        if task == "classification":
            return F.cross_entropy(output, batch["slice_class"])
        if task == "segmentation":
            return self.segmentation(output, batch["label"])
        if task == "reconstruction":
            return F.mse_loss(output, batch["image"])
        return output
