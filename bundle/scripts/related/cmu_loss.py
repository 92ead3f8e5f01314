"""CMU-Net's loss: Dice of the organ's mask and focal loss of its presence in the slice."""

from __future__ import annotations

from collections.abc import Mapping

from monai.losses import DiceLoss, FocalLoss
from torch import Tensor, nn

from ..domain.errors import ConfigurationError

TASKS = ("segmentation", "classification")


class CMULoss(nn.Module):
    """``L = w_s Dice + w_c focal`` (section 2 of the paper).

    Dice is soft, of every slice on its own, with 1 added above and below, so that a slice without the organ teaches as
    well. A slice's class is the maximum of its mask, C = max(Y).

    Args:
        weights: w_s and w_c by task; a task of weight 0 is not computed.
        positive: focal weight of slices with the organ; those without have ``1 - positive``.
        gamma: focusing parameter; the paper gives none, 2 is that of the focal loss's own (Lin et al. 2017).

    Raises:
        ConfigurationError: an unknown task, a negative weight, or nothing to train.
    """

    def __init__(self, weights: Mapping[str, float], *, positive: float = 0.8, gamma: float = 2.0) -> None:
        super().__init__()
        if not set(weights) <= set(TASKS) or min(weights.values(), default=0) < 0 or not any(weights.values()):
            msg = f"loss weights {dict(weights)}: give {' and '.join(TASKS)}, not negative and not all 0"
            raise ConfigurationError(msg)
        if not 0 < positive < 1:
            msg = f"positive is {positive}; the focal weight of slices with the organ lies between 0 and 1"
            raise ConfigurationError(msg)
        self.weights = {task: weights.get(task, 0.0) for task in TASKS}
        self.dice = DiceLoss(sigmoid=True, smooth_nr=1.0, smooth_dr=1.0)
        self.focal = FocalLoss(gamma=gamma, alpha=positive)

    def forward(self, outputs: dict[str, Tensor], batch: dict[str, Tensor], judged: None = None) -> dict[str, Tensor]:
        """Unweighted terms by task, and their weighted ``total``.

        Args:
            outputs: of ``CMUNet``.
            batch: ``label`` ``(B, 1, H, W)``, 0 or 1.
            judged: unused: no discriminator judges these networks.
        """
        label = batch["label"]
        terms = {}
        if self.weights["segmentation"]:
            terms["segmentation"] = self.dice(outputs["segmentation"], label)
        if self.weights["classification"]:
            terms["classification"] = self.focal(outputs["organ"], organ_present(label))
        return terms | {"total": sum(self.weights[task] * term for task, term in terms.items())}


def organ_present(label: Tensor) -> Tensor:
    """C = max(Y): ``(B, 1, H, W)`` masks to ``(B, 1)``, 1 where the organ is in the slice."""
    return label.amax(dim=(2, 3))
