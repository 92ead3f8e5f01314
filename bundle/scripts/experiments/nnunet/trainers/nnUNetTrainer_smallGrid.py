"""nnU-Net's trainer with the batches of the other arms of ``grid_small.yaml``, for machines without a GPU.

Run by nnU-Net's Python, which finds it by name: ``--trainer nnUNetTrainer_smallGrid``.
"""

import os

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer


class nnUNetTrainer_smallGrid(nnUNetTrainer):  # noqa: N801
    """5 epochs of 220 batches of 4 slices instead of 1000 of 250 batches that fill a GPU; the rest is its own."""

    # The signature is nnU-Net's own, which reads it.
    def __init__(
        self,
        plans: dict,
        configuration: str,
        fold: int,
        dataset_json: dict,
        device: torch.device = torch.device("cuda"),  # noqa: B008
    ) -> None:
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_epochs = 5
        self.num_iterations_per_epoch = 220
        # nnU-Net takes all cores of a machine, which are not the share that the grid gives a run.
        if threads := os.environ.get("OMP_NUM_THREADS"):
            torch.set_num_threads(int(threads))

    def _set_batch_size_and_oversample(self) -> None:
        super()._set_batch_size_and_oversample()
        self.batch_size = 4
