"""Handlers that seed, log and watch a training run, an epoch at a time."""

from __future__ import annotations

import csv
import json
import logging
import time
from collections import defaultdict
from pathlib import Path
from typing import Protocol

import torch
from ignite.engine import Engine, Events
from torch.optim import Optimizer

from ..domain.writing import replace_when_written

logger = logging.getLogger(__name__)

COLLAPSED_ACCURACY = 0.98
"""Above this the discriminator tells real from fake at no effort and teaches the network nothing."""


class _EpochDataset(Protocol):
    def set_epoch(self, epoch: int) -> None: ...


class EpochSeed:
    """Derive every random number of an epoch from (seed, epoch), so that a resumed run replays it.

    Args:
        dataset: told the epoch, from which its samples derive theirs.
        seed: the run's seed.
    """

    def __init__(self, dataset: _EpochDataset, seed: int = 0) -> None:
        self.dataset = dataset
        self.seed = seed

    def attach(self, engine: Engine) -> None:
        """Seed at the start of every epoch."""
        engine.add_event_handler(Events.EPOCH_STARTED, self._seed)

    def _seed(self, engine: Engine) -> None:
        torch.manual_seed(self.seed * 100_003 + engine.state.epoch)
        self.dataset.set_epoch(engine.state.epoch)


class EpochAverages:
    """Put each entry of the trainer's output, averaged over the epoch, and the learning rate into the metrics.

    An entry is averaged over the iterations that had it. Attach it before handlers that print metrics.

    Args:
        optimizer: whose highest learning rate is recorded.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer
        self._values: dict[str, list[float]] = defaultdict(list)

    def attach(self, engine: Engine) -> None:
        """Collect every iteration, average every epoch."""
        engine.add_event_handler(Events.EPOCH_STARTED, lambda _: self._values.clear())
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._collect)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._average)

    def _collect(self, engine: Engine) -> None:
        for name, value in engine.state.output[0].items():
            self._values[name].append(value)

    def _average(self, engine: Engine) -> None:
        for name, values in self._values.items():
            engine.state.metrics[name] = sum(values) / len(values)
        engine.state.metrics["learning_rate"] = max(group["lr"] for group in self.optimizer.param_groups)


class CollapseWarning:
    """Warn when the discriminator wins at no effort for several epochs in a row.

    Args:
        patience: epochs in a row before the warning.
    """

    def __init__(self, patience: int = 3) -> None:
        self.patience = patience
        self._epochs = 0

    def attach(self, engine: Engine) -> None:
        """Look at ``discriminator_accuracy`` after every epoch; attach after ``EpochAverages``."""
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._check)

    def _check(self, engine: Engine) -> None:
        accuracy = engine.state.metrics.get("discriminator_accuracy")
        self._epochs = self._epochs + 1 if accuracy is not None and accuracy > COLLAPSED_ACCURACY else 0
        if self._epochs >= self.patience:
            logger.warning(
                "the discriminator has collapsed: its accuracy was above %.2f for %d epochs (0.5-0.9 is healthy). "
                "Lower its learning rate or smooth its real labels more",
                COLLAPSED_ACCURACY,
                self._epochs,
            )


class TrainingLog:
    """Append one row of metrics an epoch to a CSV file, the training log of the model card.

    Args:
        path: the file; a resumed run keeps the rows up to its starting epoch.
        validator: engine whose metrics join the trainer's, prefixed ``val_``.
    """

    def __init__(self, path: str | Path, validator: Engine | None = None) -> None:
        self.path = Path(path)
        self.validator = validator

    def attach(self, engine: Engine) -> None:
        """Write after every epoch; attach after validation."""
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._write)

    def _write(self, engine: Engine) -> None:
        row = {"epoch": engine.state.epoch, **engine.state.metrics}
        if self.validator is not None and self.validator.state.epoch == engine.state.epoch:
            row |= {f"val_{name}": value for name, value in self.validator.state.metrics.items()}
        rows = [old for old in self._rows() if int(old["epoch"]) < engine.state.epoch] + [row]
        columns = list(dict.fromkeys(name for each in rows for name in each))
        with replace_when_written(self.path) as aside, aside.open("w", newline="") as file:
            writer = csv.DictWriter(file, columns, restval="")
            writer.writeheader()
            writer.writerows(rows)

    def _rows(self) -> list[dict[str, str]]:
        if not self.path.exists():
            return []
        with self.path.open(newline="") as file:
            return list(csv.DictReader(file))


class ProgressFile:
    """Keep a small JSON file that says how far the training is, for a program that waits for it.

    It holds ``epoch`` of ``epochs``, ``iteration`` of ``iterations`` in all, ``loss``, averaged over the last ten or so
    iterations, and ``eta_s``, what is left at the pace so far.

    Args:
        path: the file; replaced whole each time.
        every_s: at most so often; the end of every epoch always counts.
    """

    def __init__(self, path: str | Path, *, every_s: float = 1.0) -> None:
        self.path = Path(path)
        self.every_s = every_s
        self._loss: float | None = None

    def attach(self, engine: Engine) -> None:
        """Start the clock with the training, then write."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._look)

    def _start(self, engine: Engine) -> None:
        self._started_at = time.monotonic()
        self._started_from = engine.state.iteration
        self._written_at = float("-inf")

    def _look(self, engine: Engine) -> None:
        loss = float(engine.state.output[0]["loss"])
        self._loss = loss if self._loss is None else 0.9 * self._loss + 0.1 * loss
        now, state = time.monotonic(), engine.state
        if now - self._written_at < self.every_s and state.iteration % state.epoch_length:
            return
        self._written_at = now
        iterations = state.epoch_length * state.max_epochs
        pace_s = (now - self._started_at) / (state.iteration - self._started_from)
        content = {
            "epoch": state.epoch,
            "epochs": state.max_epochs,
            "iteration": state.iteration,
            "iterations": iterations,
            "loss": self._loss,
            "eta_s": pace_s * (iterations - state.iteration),
        }
        with replace_when_written(self.path) as aside:
            aside.write_text(json.dumps(content) + "\n")


class EarlyStop:
    """Stop training when the validation's key metric has not risen for a number of validations.

    Unlike MONAI's handler it has a state, so that a resumed run stops where an uninterrupted one would.

    Args:
        validator: the evaluator whose key metric is watched.
        patience: validations without a rise; None never stops.
        min_delta: what counts as a rise.
    """

    def __init__(self, validator: Engine, *, patience: int | None = None, min_delta: float = 0.0) -> None:
        self.validator = validator
        self.patience = patience
        self.min_delta = min_delta
        self.best = float("-inf")
        self.waited = 0

    def attach(self, engine: Engine) -> None:
        """Look after every epoch that validated, and before a resumed one; attach after validation."""
        engine.add_event_handler(Events.STARTED, self._stop_if_waited)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._check)

    def state_dict(self) -> dict[str, float]:
        """Best score and validations waited."""
        return {"best": self.best, "waited": self.waited}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Go on counting from a checkpoint."""
        self.best, self.waited = state["best"], state["waited"]

    def _check(self, engine: Engine) -> None:
        if self.patience is None or self.validator.state.epoch != engine.state.epoch:
            return
        score = self.validator.state.metrics[self.validator.state.key_metric_name]
        if score > self.best + self.min_delta:
            self.best, self.waited = score, 0
        else:
            self.waited += 1
        self._stop_if_waited(engine)

    def _stop_if_waited(self, engine: Engine) -> None:
        if self.patience is not None and self.waited >= self.patience:
            logger.info("stopping after epoch %d: %d validations without a better one", engine.state.epoch, self.waited)
            engine.terminate()
