"""Scores trained weights on a dataset: the run id ``evaluating`` of the related systems."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from ..domain.entry import entry_point
from ..engines.weights import load_network
from ..engines.workflows import require_image_size
from ..results.metrics import Metrics
from .scoring import scored_part, write_scores


class ScoreCases(Protocol):
    """What a system makes of the cases that it is scored on."""

    def __call__(
        self, network: nn.Module, cases: Sequence[Any], *, image_size: int, batch_size: int, device: torch.device | str
    ) -> tuple[list[dict[str, Any]], Metrics]:
        """Score a network with its weights.

        Args:
            network: in eval mode, on ``device``.
            cases: at least one.
            image_size: pixels of the network grid.
            batch_size: slices per pass.
            device: where to run.

        Returns:
            One row per subject, all of the same columns, and the metrics over subjects.
        """


@entry_point
def evaluate(
    network: nn.Module,
    ckpt_path: str,
    dataset_dir: str,
    output_dir: str,
    *,
    read_cases: Callable[[str | Path], Sequence[Any]],
    score_cases: ScoreCases,
    split: str | None,
    fold: int | None,
    image_size: int,
    batch_size: int,
    device: torch.device | str,
) -> None:
    """Score weights on a split, on a fold, or on every case.

    Args:
        network: of the config.
        ckpt_path: its weights.
        dataset_dir: in the layout that ``read_cases`` reads.
        output_dir: for ``metrics.json`` and ``per_subject.csv``.
        read_cases: lists the dataset's cases.
        score_cases: of this system.
        split: train, val or test; comes before ``fold``.
        fold: the held-out fold.
        image_size: pixels of the network grid.
        batch_size: slices per pass.
        device: where to run.

    Raises:
        SystemExit: the weights or a case cannot be used.
    """
    cases = scored_part(read_cases(dataset_dir), split, fold)
    make_ready(network, ckpt_path, image_size=image_size, device=device)
    rows, metrics = score_cases(network, cases, image_size=image_size, batch_size=batch_size, device=device)
    write_scores(rows, metrics, output_dir)


def make_ready(network: nn.Module, ckpt_path: str, *, image_size: int, device: torch.device | str) -> None:
    """Give a network its weights, in place, in eval mode and on ``device``.

    Raises:
        CheckpointError: the weights are unreadable, belong to another ``network_def``, or were trained at another
            ``image_size``.
    """
    load_network(network, ckpt_path)
    require_image_size(network, image_size, ckpt_path)
    network.to(device).eval()
