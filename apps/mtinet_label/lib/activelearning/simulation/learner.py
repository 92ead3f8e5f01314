"""A network small enough to be trained again and again, and what it is worth."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from monai.optimizers import WarmupCosineSchedule

from lib.activelearning.signals import Signals, measure
from lib.activelearning.simulation.sizes import Sizes
from scripts.domain.classes import CLASSES
from scripts.losses import MultiTaskLoss
from scripts.networks.mtinet import MTINet
from scripts.networks.readouts import tumour_class_probabilities
from scripts.studies.case import Case
from scripts.studies.network_grid import FIELD_OF_VIEW_MM
from scripts.studies.slice_cache import SubjectArrays
from scripts.studies.slices import SliceDataset, collate

_WARMUP_STEPS = 20
_LARGEST_GRADIENT = 1.0
_SLICE_MM = 5.0
"""Of the phantom; it only turns the uncertain volume into a number of pixels."""


@dataclass(frozen=True)
class Score:
    """One test subject with a tumour.

    Args:
        dice: of the stack at threshold 0.5.
        correct: whether the class is right; a miss is not.
    """

    dice: float
    correct: bool


def make_network(sizes: Sizes, seed: int) -> MTINet:
    """The shipped network at toy widths and without its spectral branch, which halves the time; random weights."""
    torch.manual_seed(seed)
    return MTINet(
        widths=sizes.widths,
        fusion="spatial",
        fusion_levels="all",
        decoder_skips=True,
        decoder_dropout=sizes.decoder_dropout,
        head="locate",
        token_grid=sizes.image_size // 16,
        d_model=32,
        blocks=1,
        heads=2,
        ffn=64,
    )


def train(network: MTINet, cases: Sequence[Case], sizes: Sizes, *, steps: int, seed: int, cache_dir: Path) -> None:
    """Take a number of optimiser steps on labelled cases, without the discriminator."""
    dataset = SliceDataset(cases, size=sizes.image_size, seed=seed, cache_dir=cache_dir, phase_dropout=0.0)
    optimizer = torch.optim.AdamW(network.parameters(), lr=sizes.learning_rate, weight_decay=0.01)
    schedule = WarmupCosineSchedule(optimizer, warmup_steps=_WARMUP_STEPS, t_total=steps, warmup_multiplier=0.1)
    loss = MultiTaskLoss(segmentation="dice_bce")
    torch.manual_seed(seed)
    network.train()
    for _, batch in zip(range(steps), _batches(dataset, sizes.batch_size, seed), strict=False):
        optimizer.zero_grad(set_to_none=True)
        loss(network(batch["image"], batch["available"], batch["times_s"]), batch)["total"].backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), _LARGEST_GRADIENT)
        optimizer.step()
        schedule.step()
    network.eval()


def score(network: MTINet, subject: SubjectArrays, sizes: Sizes) -> Score | None:
    """Score a subject; None for one without a tumour in the slices that are looked at."""
    image, available, times_s = inputs(subject, sizes)
    truth = torch.from_numpy(subject.label[:: sizes.slice_step]) > 0
    if not truth.any():
        return None
    with torch.inference_mode():
        outputs = network(image, available.expand(len(image), -1), times_s.expand(len(image), -1))
    found = outputs["segmentation"][:, 0] >= 0
    dice = float(2 * (found & truth).sum() / (found.sum() + truth.sum()))
    area = found.sum(dim=(1, 2)).float()
    probabilities = (tumour_class_probabilities(outputs["classification"]) * area[:, None]).sum(dim=0)
    right = CLASSES[int(probabilities.argmax())] == subject.case.tumour_class
    return Score(dice=dice, correct=dice > 0 and right)


def signals(network: MTINet, subject: SubjectArrays, sizes: Sizes) -> Signals:
    """What the strategies go by, on the slices that are looked at."""
    image, available, times_s = inputs(subject, sizes)
    voxel_ml = (FIELD_OF_VIEW_MM / sizes.image_size) ** 2 * _SLICE_MM * sizes.slice_step / 1000.0
    return measure(network, image, available, times_s, voxel_ml=voxel_ml, samples=sizes.samples, injected=0.0)


def inputs(subject: SubjectArrays, sizes: Sizes) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Every n-th slice ``(S, 4, H, W)``, which phases there are ``(4,)`` and their seconds ``(4,)``."""
    image = torch.from_numpy(np.asarray(subject.image[:: sizes.slice_step], dtype=np.float32))
    return image, torch.from_numpy(subject.available), torch.tensor(subject.case.times_s, dtype=torch.float32)


def _batches(dataset: SliceDataset, batch_size: int, seed: int) -> Iterator[dict]:
    """Batches without end, in an order drawn anew every epoch."""
    epoch = 0
    while True:
        epoch += 1
        dataset.set_epoch(epoch)
        order = np.random.default_rng([seed, epoch]).permutation(len(dataset))
        for start in range(0, max(len(order) - batch_size, 0) + 1, batch_size):
            yield collate([dataset[int(index)] for index in order[start : start + batch_size]])
