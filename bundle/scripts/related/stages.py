"""Training in stages, one after the other, each resumed exactly: the run id ``training`` of the related systems."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from ..domain.entry import entry_point
from ..domain.switches import is_on
from ..engines.checkpoints import CheckpointHandler
from ..engines.trainer import AdversarialMultiTaskTrainer
from ..engines.weights import BestWeights, load_network

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Stage:
    """One training of the network, with an optimizer and a schedule of its own.

    Args:
        trainer: trains it.
        checkpoint: saves and restores everything of this stage.
        best_weights: the weights that the next stage starts from.
    """

    trainer: AdversarialMultiTaskTrainer
    checkpoint: CheckpointHandler
    best_weights: BestWeights


@entry_point
def train_stages(stages: Sequence[Stage], *, image_size: int, resume: bool | str) -> None:
    """Train, or go on training; every stage starts from the best weights of the one before.

    Args:
        stages: of one network, in order.
        image_size: pixels of the network grid, stored with the weights.
        resume: go on from the newest readable checkpoint.

    Raises:
        SystemExit: checkpoints of an earlier run cannot be read or do not belong to this one.
    """
    for index, stage in enumerate(stages):
        network = stage.trainer.network
        if index:
            load_network(network, stages[index - 1].best_weights.path)
        network.image_size.fill_(image_size)
        epoch = stage.checkpoint.resume(stage.trainer) if is_on(resume) else 0
        if epoch >= stage.trainer.state.max_epochs:
            logger.info("stage %d of %d has nothing left to do", index + 1, len(stages))
            continue
        if epoch:
            logger.info("stage %d: resuming after epoch %d of %d", index + 1, epoch, stage.trainer.state.max_epochs)
        stage.trainer.run()
