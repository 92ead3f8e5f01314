"""Trains and validates the chest network on the engines of the bundle."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Any

import torch

from ..domain.entry import entry_point
from ..domain.errors import CheckpointError, ConfigurationError, DatasetError
from ..domain.switches import is_on
from ..engines.checkpoints import refuse_earlier_run
from ..engines.trainer import AdversarialMultiTaskTrainer
from ..engines.validation import SubjectEvaluator, SubjectMetric
from ..engines.weights import load_weights
from ..studies.layout import training_part, validation_part
from .chest_classes import CLASSES
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


class ChestEvaluator(SubjectEvaluator):
    """Run the network over all slices of one subject per iteration; ``state.output`` is its ``ChestScore``.

    Its ``val_data_loader`` is of ``ChestSubjects``.
    """

    def _conditions(self, batch: dict[str, Any], part: slice) -> list[torch.Tensor]:
        return []

    def _output(self, parts: list[dict[str, Any]], batch: dict[str, Any]) -> ChestScore:
        return score_subject(joined_outputs(parts), batch)


class ChestScores(SubjectMetric):
    """``validation_scores`` over the subjects; the key metric is ``score``."""

    def reset(self) -> None:
        """Forget all subjects."""
        self.scores: list[ChestScore] = []

    def update(self, output: tuple[ChestScore, dict[str, Any]]) -> None:
        """Add one subject's score; its batch is not looked at again."""
        score, _ = output
        self.scores.append(score)

    def compute(self) -> dict[str, float]:
        """The quantities over all subjects so far."""
        return validation_scores(self.scores)


def joined_outputs(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The network's outputs about several parts of a subject's slices as one; detections are listed by slice."""
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
        SystemExit: a dataset with faults, nothing to train on or to validate on, a class that no slice to learn from
            is of, wrong loss weights or size, or checkpoints of an earlier run without ``resume``.
    """
    cases = read_chest(dataset_dir)
    taught = {name for case in training_part(cases, fold) for name in case.slice_classes}
    if absent := [name for name in CLASSES if name not in taught]:
        msg = (
            f"{dataset_dir}: no slice to learn from is {' or '.join(absent)}. "
            "Add such cases, or deal the splits and folds by class"
        )
        raise DatasetError(msg)
    validation_part(cases, fold)
    tasks_of(weights)
    if image_size % STRIDE:
        msg = f"image_size is {image_size}; it must be a multiple of {STRIDE}"
        raise ConfigurationError(msg)
    refuse_earlier_run(ckpt_dir, resume=resume)
    for case in cases if is_on(check_dataset) else ():
        read_case(case)
