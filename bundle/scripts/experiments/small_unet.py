"""MONAI's BasicUNet at a small, fixed training budget: how far plain supervised learning gets quickly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from monai.losses import DiceCELoss
from monai.networks.nets import BasicUNet
from torch.utils.data import DataLoader, RandomSampler
from tqdm import tqdm

from ..domain.study import Study
from ..studies.case import Case
from ..studies.network_grid import NetworkGrid
from ..studies.slices import SliceDataset, collate


@dataclass(frozen=True)
class Budget:
    """What the network may spend.

    Args:
        image_size: pixels of the network grid.
        features: BasicUNet's widths.
        steps: optimiser steps.
        batch_size: slices a step.
        learning_rate: peak of the one-cycle schedule.
        background_ratio: slices without tumour per slice with tumour.
    """

    image_size: int = 128
    features: tuple[int, ...] = (16, 16, 32, 64, 128, 16)
    steps: int = 1200
    batch_size: int = 8
    learning_rate: float = 2e-3
    background_ratio: float = 0.5


def train_small_unet(cases: Sequence[Case], budget: Budget, *, seed: int, cache_dir: Path | None = None) -> BasicUNet:
    """Train on all tumour slices and some others, without augmentation.

    Args:
        cases: training cases.
        budget: what may be spent.
        seed: of weights and batches; the caller's random state is left alone.
        cache_dir: where slices are kept; None keeps them in memory.

    Returns:
        The network in evaluation mode.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = BasicUNet(spatial_dims=2, in_channels=4, out_channels=1, features=budget.features)
        dataset = SliceDataset(
            cases,
            size=budget.image_size,
            seed=seed,
            cache_dir=cache_dir,
            background_ratio=budget.background_ratio,
            phase_dropout=0.0,
            augmentation=None,
        )
        sampler = RandomSampler(dataset, replacement=True, num_samples=budget.steps * budget.batch_size)
        loader = DataLoader(dataset, batch_size=budget.batch_size, sampler=sampler, collate_fn=collate)
        criterion = DiceCELoss(sigmoid=True, batch=True)
        optimiser = torch.optim.AdamW(network.parameters(), lr=budget.learning_rate)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, budget.learning_rate, total_steps=budget.steps)
        progress = tqdm(loader, desc="BasicUNet", unit="step")
        for batch in progress:
            loss = criterion(network(batch["image"]), batch["label"])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            progress.set_postfix(loss=f"{loss.item():.3f}")
    return network.eval()


@torch.inference_mode()
def segment(network: BasicUNet, study: Study, image_size: int) -> np.ndarray:
    """Tumour mask on the study's own grid, ``(X, Y, Z)`` bool."""
    grid = NetworkGrid.of(study, image_size)
    slices = (grid.to_slices(study.image) - np.float32(study.offset)) / np.float32(study.scale)
    probability = torch.sigmoid(network(torch.from_numpy(slices)))[:, 0].numpy()
    return grid.to_volume(probability) > 0.5
