"""Trains and validates the chest network on the engines of the bundle."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from ignite.metrics import Metric
from monai.engines import Evaluator
from monai.engines.utils import IterationEvents
from torch import nn

from ..domain.entry import entry_point
from ..domain.errors import CheckpointError, ConfigurationError
from ..domain.switches import is_on
from ..engines.batches import prepare_batch
from ..engines.checkpoints import find_checkpoints
from ..engines.trainer import AdversarialMultiTaskTrainer
from ..engines.weights import load_weights
from ..studies.layout import training_part, validation_part
from .chest_dataset import read_case
from .chest_layout import read_chest
from .chest_loss import tasks_of
from .chest_network import STRIDE, ChestNetwork
from .chest_scores import ChestScore, score_subject, validation_scores

logger = logging.getLogger(__name__)


class ChestTrainer(AdversarialMultiTaskTrainer):
    """The trainer of the bundle, without a discriminator; the network takes the targets of the detection."""

    def _conditions(self, batch: dict[str, Any]) -> list[Any]:
        return [on_device(batch["targets"], self.state.device)]


class ChestEvaluator(Evaluator):
    """Run the network over all slices of one subject per iteration; ``state.output`` is its ``ChestScore``.

    Args:
        device: where to evaluate.
        val_data_loader: of ``ChestSubjects``.
        network: on ``device``.
        slices_per_pass: slices that go through the network together.
        key_val_metric: as in ``monai.engines.Evaluator``.
        val_handlers: objects with ``attach(engine)``.
    """

    def __init__(
        self,
        device: torch.device | str,
        val_data_loader: Iterable,
        network: nn.Module,
        *,
        slices_per_pass: int = 8,
        key_val_metric: dict[str, Metric] | None = None,
        val_handlers: Sequence | None = None,
    ) -> None:
        self.network = network
        self.slices_per_pass = slices_per_pass
        super().__init__(
            device=device,
            val_data_loader=val_data_loader,
            prepare_batch=prepare_batch,
            key_val_metric=key_val_metric,
            val_handlers=val_handlers,
            decollate=False,
        )

    def _iteration(self, engine: ChestEvaluator, batchdata: dict[str, Any]) -> ChestScore:
        batch = self.prepare_batch(batchdata, self.state.device, self.non_blocking)
        outputs = answers(self.network, batch["image"], self.slices_per_pass)
        self.fire_event(IterationEvents.FORWARD_COMPLETED)
        self.fire_event(IterationEvents.MODEL_COMPLETED)
        return score_subject(outputs, batch)


class ChestScores(Metric):
    """``validation_scores`` over the subjects; the key metric is ``score``."""

    def reset(self) -> None:
        """Forget all subjects."""
        self.scores: list[ChestScore] = []

    def update(self, output: ChestScore) -> None:
        """Add one subject."""
        self.scores.append(output)

    def iteration_completed(self, engine: Evaluator) -> None:
        """Add the subject of the current iteration."""
        self.update(engine.state.output)

    def completed(self, engine: Evaluator, name: str) -> None:
        """Put every quantity into the evaluator's metrics."""
        engine.state.metrics |= self.compute()

    def compute(self) -> dict[str, float]:
        """The quantities over all subjects so far."""
        return validation_scores(self.scores)


def answers(network: nn.Module, image: torch.Tensor, slices_per_pass: int) -> dict[str, Any]:
    """The network's outputs for many slices, ``(S, 1, H, W)``, a few at a time."""
    network.eval()
    with torch.no_grad():
        parts = [network(part) for part in image.split(slices_per_pass)]
    return {
        task: torch.cat([part[task] for part in parts])
        if isinstance(first, torch.Tensor)
        else [each for part in parts for each in part[task]]
        for task, first in parts[0].items()
    }


def on_device(targets: Iterable[dict[str, torch.Tensor]], device: torch.device | str) -> list[dict[str, torch.Tensor]]:
    """The targets of a batch on a device."""
    return [{name: value.to(device) for name, value in target.items()} for target in targets]


def start_from(network: ChestNetwork, path: str) -> None:
    """Take from another network's weights all that both have: the encoder, and the heads of the tasks they share.

    Raises:
        CheckpointError: the weights cannot be read, or their encoder is another one.
    """
    own = network.state_dict()
    given = {name: value for name, value in load_weights(path).items() if name in own and name != "image_size"}
    encoder = {name for name in own if name.startswith("encoder.")}
    if not encoder <= given.keys() or any(own[name].shape != value.shape for name, value in given.items()):
        msg = f"{path}: are weights of another encoder, or of no chest network. Give those of an arm with the same one"
        raise CheckpointError(msg)
    network.load_state_dict(given, strict=False)
    logger.info("starting from %d of %d tensors in %s", len(given), len(own), path)


@entry_point
def prepare(network: ChestNetwork, init_ckpt: str | None, *, starts_from_others: bool | str) -> None:
    """Load the weights to start from, where there are any.

    Raises:
        SystemExit: they cannot be used, or an arm that starts from others' weights was given none.
    """
    if init_ckpt is not None:
        start_from(network, init_ckpt)
    elif is_on(starts_from_others):
        msg = "this arm starts from the weights of another (arm.after in its overlay): give its model.pt as --init_ckpt"
        raise ConfigurationError(msg)


@entry_point
def require_chest(
    dataset_dir: str,
    ckpt_dir: str,
    *,
    fold: int | None,
    resume: bool | str,
    weights: dict,
    image_size: int,
    check_dataset: bool | str,
) -> None:
    """Stop with one line, before anything is built or written, where training cannot start.

    Raises:
        SystemExit: a dataset with faults, nothing to train on or to validate on, wrong loss weights or size, or
            checkpoints of an earlier run without ``resume``.
    """
    cases = read_chest(dataset_dir)
    training_part(cases, fold)
    validation_part(cases, fold)
    tasks_of(weights)
    if image_size % STRIDE:
        msg = f"image_size is {image_size}; it must be a multiple of {STRIDE}"
        raise ConfigurationError(msg)
    if not is_on(resume) and find_checkpoints(ckpt_dir):
        msg = (
            f"{ckpt_dir} holds checkpoints of an earlier run. Go on with --resume true, "
            "or start a new run with another --output_dir"
        )
        raise CheckpointError(msg)
    for case in cases if is_on(check_dataset) else ():
        read_case(case)
