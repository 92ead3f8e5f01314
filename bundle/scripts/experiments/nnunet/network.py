"""What stands for nnU-Net where the bundle has a network: it names the trained weights, and says what they cost."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ...domain.errors import CheckpointError
from ...domain.phases import PHASES

FOLDER = "nnunet"
"""Of nnU-Net's files, beside ``model.pt``."""

FACTS = "facts.json"
FINAL = Path("fold_0", "checkpoint_final.pth")


class NNUNet(nn.Module):
    """``model.pt`` of this arm. The weights themselves stay in nnU-Net's folders, as its commands want them.

    Args:
        folder: of nnU-Net's files, for the cost.

    Attributes:
        mean_curve: ``(4,)`` the training part's mean curve, normalised, the reference of ``mae_ratio_from_mask``.
        image_size: 0: nnU-Net sees a study at the spacing that it planned.
        checkpoint: ``(32,)`` uint8, SHA-256 of the trained checkpoint.
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        super().__init__()
        self.folder = None if folder is None else Path(folder)
        self.register_buffer("mean_curve", torch.zeros(len(PHASES)))
        self.register_buffer("image_size", torch.zeros((), dtype=torch.int64))
        self.register_buffer("checkpoint", torch.zeros(hashlib.sha256().digest_size, dtype=torch.uint8))

    def told_cost(self) -> dict[str, Any]:
        """Parameters, GFLOPs and size of a patch, which nnU-Net's environment measured after the training."""
        facts = json.loads((self.folder / FACTS).read_text())
        return {name: facts[name] for name in ("parameters", "gflops", "image_size")}


def digest(checkpoint: Path) -> torch.Tensor:
    """SHA-256 of a file, ``(32,)`` uint8."""
    with checkpoint.open("rb") as file:
        return torch.tensor(list(hashlib.file_digest(file, "sha256").digest()), dtype=torch.uint8)


def find_model(ckpt_path: str | Path, network: NNUNet) -> Path:
    """nnU-Net's model folder that a ``model.pt`` names, in the folder ``nnunet`` beside it.

    Args:
        ckpt_path: the ``model.pt``.
        network: with its weights.

    Raises:
        CheckpointError: it is not there.
    """
    results = Path(ckpt_path).parent / FOLDER / "results"
    for checkpoint in sorted(results.glob(f"*/*/{FINAL}")):
        if torch.equal(digest(checkpoint), network.checkpoint.cpu()):
            return checkpoint.parents[1]
    msg = (
        f"{results}: does not hold the nnU-Net that {ckpt_path} was written for. Keep the folder {FOLDER} beside "
        "model.pt, or train again"
    )
    raise CheckpointError(msg)
