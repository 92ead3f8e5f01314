"""One training step as `train.yaml` takes it, against the same step written plainly."""

from __future__ import annotations

import copy
import time
from typing import Any

import torch
from ignite.engine import Events
from torch import nn

from ..engines.trainer import AdversarialMultiTaskTrainer
from ..losses import discriminator_loss, random_smoothing, smoothed_truth
from .conditions import Conditions
from .timing import median_ratio

UNITS = {"training_vs_eager": "ratio"}


class PlainStep:
    """The trainer's two steps in fp32, eager PyTorch and contiguous tensors, on copies of its networks."""

    def __init__(self, trainer: AdversarialMultiTaskTrainer) -> None:
        self.network = copy.deepcopy(trainer.network).to(memory_format=torch.contiguous_format)
        self.discriminator = copy.deepcopy(trainer.discriminator)
        self.optimizer = torch.optim.AdamW(self.network.parameters(), lr=1e-4)
        self.discriminator_optimizer = torch.optim.Adam(self.discriminator.parameters(), lr=1e-4)
        self.loss_function = trainer.loss_function
        self.max_gradient_norm = trainer.max_gradient_norm

    def __call__(self, batch: dict[str, Any]) -> None:
        """Train both networks on a batch of ``studies.slices``."""
        available, tumour_class = batch["available"], batch["tumour_class"]
        outputs = self.network(batch["image"], available, batch["times_s"])
        probabilities = outputs["classification"].softmax(dim=1)
        judged = self.discriminator(outputs["regression"], probabilities, available)
        loss = self.loss_function(outputs, batch, judged)["total"]
        self._descend(loss, self.network, self.optimizer)

        smoothing = random_smoothing(len(probabilities), probabilities.device)
        truth = smoothed_truth(tumour_class, probabilities.shape[1], smoothing)
        real = self.discriminator(batch["curve"], truth, available)
        fake = self.discriminator(outputs["regression"].detach(), probabilities.detach(), available)
        loss = discriminator_loss(real, fake, tumour_class >= 0)
        self._descend(loss, self.discriminator, self.discriminator_optimizer)

    def _descend(self, loss: torch.Tensor, network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), self.max_gradient_norm)
        optimizer.step()


def measure(conditions: Conditions) -> dict[str, float]:
    """Both steps on one batch in turn, ours inside its Ignite engine."""
    changes = {
        "max_epochs": 1,
        "train#trainer#train_data_loader": f"$[next(iter(@train#dataloader))] * {1 + conditions.runs}",
        "train#trainer#train_handlers": [],
    }
    trainer = conditions.training_config(changes).get_parsed_content("train#trainer")
    plain_step = PlainStep(trainer)
    ours_s: list[float] = []
    plain_s: list[float] = []
    started_s = 0.0

    @trainer.on(Events.ITERATION_STARTED)
    def start() -> None:
        nonlocal started_s
        started_s = time.perf_counter()

    @trainer.on(Events.ITERATION_COMPLETED)
    def stop_and_take_the_plain_step() -> None:
        between_s = time.perf_counter()
        plain_step(trainer.state.batch)
        ours_s.append(between_s - started_s)
        plain_s.append(time.perf_counter() - between_s)

    trainer.run()
    return {"training_vs_eager": median_ratio(ours_s[1:], plain_s[1:])}
