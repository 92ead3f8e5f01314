"""Adversarial multi-task trainer: alternates MTI-Net (the generator) and the task discriminator."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from monai.engines import Trainer
from monai.engines.utils import IterationEvents
from monai.engines.workflow import Workflow
from monai.inferers import Inferer, SimpleInferer
from torch import nn
from torch.optim import Optimizer

from ..losses import MultiTaskLoss, discriminator_loss, random_smoothing, smoothed_truth
from .batches import prepare_batch

Batch = dict[str, Any]


class AdversarialMultiTaskTrainer(Trainer):
    """Train MTI-Net on slices, with the task discriminator (TDD) after a warm-up.

    Every iteration takes one generator step and, once the warm-up is over, one discriminator
    step on the same batch (paper, "TIM and TDD"; decisions 10-12). ``state.output`` is a list of one
    dict of floats, as MONAI's handlers expect: ``loss``, each unweighted term, and
    ``discriminator_loss`` and ``discriminator_accuracy`` while the discriminator plays.

    Args:
        device: where to train.
        max_epochs: epochs in all; a resumed run goes on to this number.
        train_data_loader: yields the batches of ``studies.slices``.
        network: MTI-Net, on ``device``.
        optimizer: the network's optimizer.
        loss_function: the weighted task losses.
        discriminator: the TDD, or None for "No TDD".
        discriminator_optimizer: its optimizer, required with it.
        adversarial_warmup_epochs: epochs before the discriminator plays.
        max_gradient_norm: gradients are clipped to this norm; None leaves them.
        epoch_length: iterations of an epoch, by default the loader's length.
        non_blocking: copy batches to the device without waiting.
        inferer: how the network is called, by default directly.
        key_train_metric: as in ``monai.engines.Trainer``.
        additional_metrics: likewise.
        train_handlers: objects with ``attach(engine)``.
        amp: autocast the forward passes on the device's own type.
        amp_kwargs: arguments of ``torch.autocast``, by default ``{"dtype": torch.bfloat16}``,
            which needs no gradient scaling.

    Raises:
        ValueError: a discriminator without an optimizer, or the reverse.
    """

    def __init__(
        self,
        device: torch.device | str,
        max_epochs: int,
        train_data_loader: Iterable,
        network: nn.Module,
        optimizer: Optimizer,
        loss_function: MultiTaskLoss,
        *,
        discriminator: nn.Module | None = None,
        discriminator_optimizer: Optimizer | None = None,
        adversarial_warmup_epochs: int = 10,
        max_gradient_norm: float | None = 1.0,
        epoch_length: int | None = None,
        non_blocking: bool = False,
        inferer: Inferer | None = None,
        key_train_metric: dict[str, Any] | None = None,
        additional_metrics: dict[str, Any] | None = None,
        train_handlers: Sequence | None = None,
        amp: bool = False,
        amp_kwargs: dict[str, Any] | None = None,
    ) -> None:
        if (discriminator is None) != (discriminator_optimizer is None):
            msg = "discriminator and discriminator_optimizer come together: give both, or neither for No TDD"
            raise ValueError(msg)
        self.network = network
        self.optimizer = optimizer
        self.loss_function = loss_function
        self.discriminator = discriminator
        self.discriminator_optimizer = discriminator_optimizer
        self.adversarial_warmup_epochs = adversarial_warmup_epochs
        self.max_gradient_norm = max_gradient_norm
        self.inferer = SimpleInferer() if inferer is None else inferer
        super().__init__(
            device=device,
            max_epochs=max_epochs,
            data_loader=train_data_loader,
            epoch_length=epoch_length,
            non_blocking=non_blocking,
            prepare_batch=prepare_batch,
            key_metric=key_train_metric,
            additional_metrics=additional_metrics,
            handlers=train_handlers,
            amp=amp,
            amp_kwargs={"dtype": torch.bfloat16} if amp_kwargs is None else amp_kwargs,
            decollate=False,
        )

    @property
    def adversarial(self) -> bool:
        """Whether the discriminator plays in the current epoch."""
        return self.discriminator is not None and self.state.epoch > self.adversarial_warmup_epochs

    def run(self) -> None:
        """Train from the current state to ``max_epochs``."""
        # Trainer.run would make a CUDA GradScaler; bf16 needs none on any device.
        Workflow.run(self)

    def _iteration(self, engine: AdversarialMultiTaskTrainer, batchdata: Batch) -> list[dict[str, float]]:
        batch = self.prepare_batch(batchdata, self.state.device, self.non_blocking)
        terms, outputs = self._generator_step(batch)
        if self.adversarial:
            terms |= self._discriminator_step(batch, outputs)
        self.fire_event(IterationEvents.MODEL_COMPLETED)
        return [{name: float(value) for name, value in terms.items()}]

    def _generator_step(self, batch: Batch) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
        self.network.train()
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast(self.state.device.type, enabled=self.amp, **self.amp_kwargs):
            outputs = self.inferer(batch["image"], self.network, *self._conditions(batch))
        self.fire_event(IterationEvents.FORWARD_COMPLETED)
        terms = self.loss_function(outputs, batch, self._judged_by_frozen(batch, outputs) if self.adversarial else None)
        loss = terms.pop("total")
        self.fire_event(IterationEvents.LOSS_COMPLETED)
        loss.backward()
        self.fire_event(IterationEvents.BACKWARD_COMPLETED)
        self._step(self.network, self.optimizer)
        return {"loss": loss.detach()} | {name: term.detach() for name, term in terms.items()}, outputs

    def _conditions(self, batch: Batch) -> list[torch.Tensor]:
        conditions = [batch["available"], batch["times_s"]]
        if getattr(self.network, "module", self.network).learns_from_label:
            conditions.append(batch["label"])
        return conditions

    def _judged_by_frozen(self, batch: Batch, outputs: dict[str, torch.Tensor]) -> torch.Tensor:
        # The bare module: this pass must not prepare a gradient exchange for the discriminator's own parameters.
        judge = getattr(self.discriminator, "module", self.discriminator)
        judge.requires_grad_(False)
        logits = judge(outputs["regression"], outputs["classification"].softmax(dim=1), batch["available"])
        judge.requires_grad_(True)
        return logits

    def _discriminator_step(self, batch: Batch, outputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        self.discriminator.train()
        self.discriminator_optimizer.zero_grad(set_to_none=True)
        probabilities = outputs["classification"].detach().softmax(dim=1)
        truth = smoothed_truth(
            batch["tumour_class"], probabilities.shape[1], random_smoothing(len(probabilities), probabilities.device)
        )
        curves = torch.cat([batch["curve"], outputs["regression"].detach()])
        # One pass for both sides, so that DistributedDataParallel exchanges gradients once.
        logits = self.discriminator(curves, torch.cat([truth, probabilities]), batch["available"].repeat(2, 1))
        real, fake = logits.chunk(2)
        selected = batch["tumour_class"] >= 0
        loss = discriminator_loss(real, fake, selected)
        loss.backward()
        self._step(self.discriminator, self.discriminator_optimizer)
        terms = {"discriminator_loss": loss.detach()}
        if selected.any():
            terms["discriminator_accuracy"] = torch.cat([real[selected] > 0, fake[selected] <= 0]).float().mean()
        return terms

    def _step(self, module: nn.Module, optimizer: Optimizer) -> None:
        if self.max_gradient_norm is not None:
            nn.utils.clip_grad_norm_(module.parameters(), self.max_gradient_norm)
        optimizer.step()
