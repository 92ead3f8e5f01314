"""Weights files: plain fp32 state_dicts, written whole, read without running code."""

from __future__ import annotations

import hashlib
import logging
import textwrap
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events

from ..domain.errors import CheckpointError, ConfigurationError
from ..domain.writing import replace_when_written

logger = logging.getLogger(__name__)


def save_atomically(state: Any, path: Path) -> None:
    """Write ``state`` with ``torch.save``, whole or not at all."""
    with replace_when_written(path) as aside:
        torch.save(state, aside)


def load_weights(path: str | Path, device: torch.device | str = "cpu") -> dict[str, torch.Tensor]:
    """Read a plain state_dict without running any code that the file may hold.

    Raises:
        CheckpointError: the file is missing, damaged, or no plain state_dict.
    """
    path = Path(path)
    if not path.is_file():
        msg = f"{path}: no such weights file. Train first, or point --ckpt_path at a model.pt"
        raise CheckpointError(msg)
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:
        # torch.load raises many unrelated types on damaged files, all of which mean the same to a user.
        msg = f"{path}: cannot be read as weights ({error}). Take another copy of the file"
        raise CheckpointError(msg) from error
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        msg = f"{path}: is not a plain state_dict of tensors. A training checkpoint goes to --resume, not here"
        raise CheckpointError(msg)
    return state


def first_mismatch(error: Exception) -> str:
    """One line of the many in which PyTorch lists the keys and shapes of a state_dict that do not fit."""
    lines = str(error).splitlines()
    return textwrap.shorten(lines[min(1, len(lines) - 1)], 160) if lines else type(error).__name__


def load_network(network: torch.nn.Module, path: str | Path) -> torch.nn.Module:
    """Load weights into a network.

    Raises:
        CheckpointError: the weights are unreadable or belong to another ``network_def``.
    """
    try:
        network.load_state_dict(load_weights(path))
    except RuntimeError as error:
        msg = f"{path}: the weights do not fit network_def ({first_mismatch(error)}). Use the config that trained them"
        raise CheckpointError(msg) from error
    return network


def model_identity(version: str, weights: str | Path) -> dict[str, str]:
    """The ``model`` entry of a result: the bundle's version and the SHA-256 of the weights file."""
    with Path(weights).open("rb") as file:
        return {"version": version, "weights_sha256": hashlib.file_digest(file, "sha256").hexdigest()}


KEEP = ("best", "last")
"""Which epoch's weights a training may leave behind."""


class BestWeights:
    """Keep the network's weights of one validated epoch as a plain fp32 state_dict.

    Attach it to the validation evaluator, whose key metric decides.

    Args:
        path: where ``model.pt`` goes.
        network: the bare network, not its DDP wrapper.
        keep: ``best`` keeps the epoch with the highest score. ``last`` chooses nothing by the score: for a dataset
            whose held-out fold is both validated and reported on, where choosing would flatter the report.
        save: False on all but one process of a distributed run.

    Raises:
        ConfigurationError: another ``keep``.
    """

    def __init__(self, path: str | Path, network: torch.nn.Module, *, keep: str = "best", save: bool = True) -> None:
        if keep not in KEEP:
            msg = f"keep {keep!r} is unknown. Use one of {', '.join(KEEP)}"
            raise ConfigurationError(msg)
        self.path = Path(path)
        self.network = network
        self.keep = keep
        self.save = save
        self.best = float("-inf")

    def attach(self, engine: Engine) -> None:
        """Compare after every validation."""
        engine.add_event_handler(Events.COMPLETED, self._compare)

    def state_dict(self) -> dict[str, float]:
        """The best score so far."""
        return {"best": self.best}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Go on from a checkpoint's best score."""
        self.best = state["best"]

    def _compare(self, engine: Engine) -> None:
        score = float(engine.state.metrics[engine.state.key_metric_name])
        is_best = score > self.best
        self.best = max(score, self.best)
        if not is_best and self.keep == "best":
            return
        if self.save:
            weights = {name: value.detach().cpu().contiguous() for name, value in self.network.state_dict().items()}
            save_atomically(weights, self.path)
        logger.info("%s %s, %.4f: saved %s", self.keep, engine.state.key_metric_name, score, self.path)
