"""Checkpoints that survive a kill at any moment: written aside, renamed, resumed exactly."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events

from ..domain.errors import CheckpointError
from ..domain.switches import is_on
from .weights import first_mismatch, save_atomically

logger = logging.getLogger(__name__)

_NAME = re.compile(r"checkpoint_epoch=(\d+)\.pt")


def find_checkpoints(folder: str | Path) -> list[Path]:
    """The checkpoint files in a folder, newest first; none where there is no such folder."""
    found = [(int(m[1]), p) for p in Path(folder).glob("*.pt") if (m := _NAME.fullmatch(p.name))]
    return [path for _, path in sorted(found, reverse=True)]


def refuse_earlier_run(folder: str | Path, *, resume: bool | str) -> None:
    """Stop a training that would write over another's checkpoints.

    Args:
        folder: of this training's checkpoints.
        resume: whether it goes on from them.

    Raises:
        CheckpointError: checkpoints of an earlier run without ``resume``.
    """
    if not is_on(resume) and find_checkpoints(folder):
        msg = (
            f"{folder} holds checkpoints of an earlier run. Go on with --resume true, "
            "or start a new run with another --output_dir"
        )
        raise CheckpointError(msg)


class CheckpointHandler:
    """Save everything a resumed run needs at the end of every epoch; keep the newest few.

    All randomness derives from (seed, epoch, sample), so the states below and the epoch number are
    the whole state: resuming is replaying from the last epoch's end. Attach it last, so that the
    validation, schedules and best-model handlers of the same epoch are already done.

    Args:
        save_dir: folder of the ``checkpoint_epoch=N.pt`` files.
        objects: by name, objects with ``state_dict`` and ``load_state_dict`` holding only tensors,
            numbers, strings and containers of them; None for what this run does not have.
        keep: how many checkpoints to keep; at least two, so that a damaged newest has a predecessor.
        save: False on all but one process of a distributed run; loading works on all.
    """

    def __init__(self, save_dir: str | Path, objects: Mapping[str, Any], *, keep: int = 2, save: bool = True) -> None:
        if keep < 2:
            msg = f"keep={keep}: at least 2 checkpoints are kept, so that a damaged newest has a predecessor"
            raise ValueError(msg)
        self.save_dir = Path(save_dir)
        self.objects = {name: item for name, item in objects.items() if item is not None}
        self.keep = keep
        self.save = save

    def attach(self, engine: Engine) -> None:
        """Save at the end of every epoch of ``engine``."""
        if self.save:
            engine.add_event_handler(Events.EPOCH_COMPLETED, self._save)

    def _save(self, engine: Engine) -> None:
        state = {name: item.state_dict() for name, item in self.objects.items()}
        state["trainer"] = {
            "epoch": engine.state.epoch,
            "epoch_length": engine.state.epoch_length,
            "best_metric": float(engine.state.best_metric),
            "best_metric_epoch": engine.state.best_metric_epoch,
        }
        save_atomically(state, self.save_dir / f"checkpoint_epoch={engine.state.epoch}.pt")
        for old in find_checkpoints(self.save_dir)[self.keep :]:
            old.unlink()

    def resume(self, engine: Engine) -> int:
        """Restore the newest checkpoint that can be read, falling back with a warning.

        Returns:
            The epoch that was completed, 0 where there is no checkpoint.

        Raises:
            CheckpointError: checkpoints exist and none can be read, or the newest readable one
                belongs to another network or dataset.
        """
        files = find_checkpoints(self.save_dir)
        for path in files:
            try:
                state = torch.load(path, map_location="cpu", weights_only=True)
            except Exception as error:  # torch.load raises many unrelated types on damaged files
                logger.warning("%s is damaged (%s); falling back to the checkpoint before it", path, error)
                continue
            self._restore(engine, state, path)
            return engine.state.epoch
        if files:
            msg = f"{self.save_dir}: none of {len(files)} checkpoints can be read. Start again without --resume"
            raise CheckpointError(msg)
        return 0

    def _restore(self, engine: Engine, state: dict[str, Any], path: Path) -> None:
        trainer = state.pop("trainer")
        if trainer["epoch_length"] != engine.state.epoch_length:
            msg = (
                f"{path}: was made with {trainer['epoch_length']} iterations an epoch, this run has "
                f"{engine.state.epoch_length}. Use the same dataset, batch size and number of processes"
            )
            raise CheckpointError(msg)
        if state.keys() != self.objects.keys():
            msg = f"{path}: holds {sorted(state)}, this run needs {sorted(self.objects)}. Use the config that made it"
            raise CheckpointError(msg)
        for name, item in self.objects.items():
            try:
                item.load_state_dict(state[name])
            except (RuntimeError, ValueError, KeyError) as error:
                msg = f"{path}: {name} does not fit ({first_mismatch(error)}). Use the config that made it"
                raise CheckpointError(msg) from error
        engine.state.epoch = trainer["epoch"]
        engine.state.iteration = trainer["epoch"] * trainer["epoch_length"]
        engine.state.best_metric = trainer["best_metric"]
        engine.state.best_metric_epoch = trainer["best_metric_epoch"]
