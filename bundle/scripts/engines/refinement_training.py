"""Trains the refinement: patches, clicks on the network's own faults, validation by a simulated reader."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.engines import Trainer
from monai.engines.workflow import Workflow
from torch import nn
from torch.nn import functional as F
from torch.optim import Optimizer
from tqdm import tqdm

from ..domain.entry import entry_point
from ..domain.phases import PHASES
from ..domain.switches import is_on
from ..studies.layout import Case
from .checkpoints import CheckpointHandler, refuse_earlier_run
from .refinement import Refiner
from .refinement_clicks import Click, next_click
from .refinement_patches import guidance
from .refinement_start import StartedSubject
from .weights import save_atomically

logger = logging.getLogger(__name__)

_PROBABILITY, _GUIDANCE = slice(len(PHASES), len(PHASES) + 1), slice(len(PHASES) + 1, None)


class RefinementLoss(nn.Module):
    """Cross-entropy plus a soft Dice of every patch that is least where the probability is the pixel's tumour share.

    That is the Dice semimetric loss (Wang et al., MICCAI 2023): the ordinary soft Dice would push shares to 0 and 1,
    and with them the border between two pixels would be lost.

    The cross-entropy weighs what was wrong before by ``1 + wrong``: nearly all of a patch was right.

    Args:
        smooth: voxels added to both sides of the Dice, which spares patches without a lesion.
        wrong: see above.
    """

    def __init__(self, smooth: float = 10.0, wrong: float = 5.0) -> None:
        super().__init__()
        self.smooth = smooth
        self.wrong = wrong

    def forward(self, logits: torch.Tensor, share: torch.Tensor, before: torch.Tensor) -> torch.Tensor:
        """A number from ``(B, 1, S, H, W)`` logits, shares, and probabilities before the refinement."""
        weight = 1.0 + self.wrong * (share - before).abs()
        entropy = F.binary_cross_entropy_with_logits(logits, share, weight)
        probability, share = logits.sigmoid().flatten(1), share.flatten(1)
        total = probability.sum(dim=1) + share.sum(dim=1)
        dice = (total - (probability - share).abs().sum(dim=1) + self.smooth) / (total + self.smooth)
        return 4.0 * entropy + (1.0 - dice).mean()


class RefinementTrainer(Trainer):
    """One step an iteration; before it, the simulated reader answers what the network makes of the clicks so far.

    Args:
        device: where to train.
        max_epochs: epochs.
        train_data_loader: batches of ``RefinementDataset``.
        network: ``RefinementNet``.
        optimizer: its optimizer.
        loss_function: of logits, label and probability.
        train_handlers: objects with ``attach(engine)``.
        amp: autocast to bf16.
    """

    def __init__(
        self,
        device: torch.device | str,
        max_epochs: int,
        train_data_loader: Iterable,
        network: nn.Module,
        optimizer: Optimizer,
        loss_function: nn.Module,
        *,
        train_handlers: Sequence | None = None,
        amp: bool = False,
    ) -> None:
        self.network = network
        self.optimizer = optimizer
        self.loss_function = loss_function
        super().__init__(
            device=device,
            max_epochs=max_epochs,
            data_loader=train_data_loader,
            handlers=train_handlers,
            amp=amp,
            amp_kwargs={"dtype": torch.bfloat16},
            decollate=False,
        )

    def run(self) -> None:
        """Train from the current state to ``max_epochs``."""
        # Trainer.run would make a CUDA GradScaler; bf16 needs none on any device.
        Workflow.run(self)

    def _iteration(self, engine: RefinementTrainer, batchdata: dict[str, Any]) -> list[dict[str, float]]:
        patch = batchdata["patch"].to(self.state.device, memory_format=torch.channels_last_3d)
        label = batchdata["label"].to(self.state.device)
        for round_ in range(int(batchdata["further"].max())):
            chosen = torch.nonzero(batchdata["further"] > round_).flatten().tolist()
            self._click(patch, label, batchdata["spacing_mm"], chosen)
        self.network.train()
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss_function(self._logits(patch), label, patch[:, _PROBABILITY])
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        return [{"loss": float(loss.detach())}]

    def _logits(self, patch: torch.Tensor) -> torch.Tensor:
        with torch.autocast(self.state.device.type, enabled=self.amp, **self.amp_kwargs):
            return self.network(patch).float()

    def _click(self, patch: torch.Tensor, label: torch.Tensor, spacing_mm: torch.Tensor, chosen: list[int]) -> None:
        """Add one click to the guidance of the chosen patches, each on its largest fault."""
        self.network.eval()
        with torch.no_grad():
            predicted = (self._logits(patch[chosen]) > 0).cpu().numpy()
        for index, mask in zip(chosen, predicted, strict=True):
            spacing = tuple(spacing_mm[index].tolist())
            click = next_click(label[index, 0].cpu().numpy() >= 0.5, mask[0], spacing)
            if click is not None:
                image = patch[index, : len(PHASES)].cpu().numpy()
                added = torch.from_numpy(guidance(image, [click], (0, 0, 0), spacing))
                patch[index, _GUIDANCE] = torch.maximum(patch[index, _GUIDANCE], added.to(patch))


class ClickValidation:
    """Dice after simulated clicks on the validation subjects with a lesion; keeps the best weights.

    ``state.metrics`` of the trainer gets ``val_dice_<n>``, the mean Dice on the network grid after ``n`` clicks.

    Args:
        subjects: validation subjects with their starting points.
        network: ``RefinementNet`` in training.
        path: where the weights of the best epoch go.
        size: pixels of the network grid.
        interval: epochs between validations; after the last one always.
        clicks: of the simulated reader.
    """

    def __init__(
        self,
        subjects: Sequence[StartedSubject],
        network: nn.Module,
        path: str | Path,
        *,
        size: int,
        interval: int = 4,
        clicks: int = 3,
    ) -> None:
        self.subjects = [s for s in subjects if s.truth.any()]
        self.network = network
        self.path = Path(path)
        self.size = size
        self.interval = interval
        self.clicks = clicks
        self.best = float("-inf")

    def attach(self, engine: Engine) -> None:
        """Validate the trainer at the end of its epochs."""
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._validate)

    def state_dict(self) -> dict[str, float]:
        """The best score so far."""
        return {"best": self.best}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Go on from a checkpoint's best score."""
        self.best = state["best"]

    def _validate(self, engine: Engine) -> None:
        for stale in [name for name in engine.state.metrics if name.startswith("val_")]:
            del engine.state.metrics[stale]
        if engine.state.epoch % self.interval and engine.state.epoch != engine.state.max_epochs:
            return
        refiner = Refiner(self.network, size=self.size, device=engine.state.device)
        dice = np.array([dice_by_clicks(refiner, s, self.clicks) for s in tqdm(self.subjects, desc="validation")])
        engine.state.metrics |= {f"val_dice_{n}": float(value) for n, value in enumerate(dice.mean(axis=0))}
        # Early clicks count as much as the last.
        score = float(dice[:, 1:].mean())
        logger.info("epoch %d: mean Dice by clicks %s", engine.state.epoch, np.round(dice.mean(axis=0), 4).tolist())
        if score > self.best:
            self.best = score
            save_atomically({k: v.detach().cpu().contiguous() for k, v in self.network.state_dict().items()}, self.path)


def dice_by_clicks(refiner: Refiner, subject: StartedSubject, clicks: int) -> list[float]:
    """Dice of a subject on the network grid after 0 to ``clicks`` simulated clicks.

    Args:
        refiner: the refiner.
        subject: with a lesion.
        clicks: the last number of them.
    """
    truth = subject.truth
    start = subject.probability.astype(np.float32)
    image = np.moveaxis(np.asarray(subject.arrays.image), 1, 0)
    made: list[Click] = []
    predicted = start >= 0.5
    dice = [_dice(truth, predicted)]
    for _ in range(clicks):
        click = next_click(truth, predicted, subject.spacing_mm, made)
        if click is not None:
            made.append(click)
            predicted = refiner.on_slices(image, start, made, subject.spacing_mm) >= 0.5
        dice.append(_dice(truth, predicted))
    return dice


@entry_point
def require_new_run(ckpt_dir: str, *, resume: bool | str) -> None:
    """Stop with one line where an earlier run would be written over.

    Raises:
        SystemExit: checkpoints of an earlier run without ``resume``.
    """
    refuse_earlier_run(ckpt_dir, resume=resume)


@entry_point
def train_refinement(trainer: RefinementTrainer, checkpoint: CheckpointHandler, *, resume: bool | str) -> None:
    """Train, or go on training; the run id ``training`` of ``configs/refinement.yaml``.

    Args:
        trainer: of the config.
        checkpoint: its checkpoint handler.
        resume: go on from the newest readable checkpoint.

    Raises:
        SystemExit: checkpoints of an earlier run cannot be read or do not belong to this one.
    """
    if is_on(resume):
        epoch = checkpoint.resume(trainer)
        logger.info("resuming after epoch %d of %d", epoch, trainer.state.max_epochs)
        if epoch >= trainer.state.max_epochs:
            return
    trainer.run()


@entry_point
def opened(subjects: Any, cases: Sequence[Case], *args: Any) -> list[StartedSubject]:
    """The subjects with their starting points; one line where a file or the weights are unusable."""
    return subjects(cases, *args)


def _dice(truth: np.ndarray, predicted: np.ndarray) -> float:
    return float(2 * np.count_nonzero(truth & predicted) / (np.count_nonzero(truth) + np.count_nonzero(predicted)))
