"""Which epoch's weights a run keeps: the best validated one, unless the validation is what the run is scored on."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from ignite.engine import Engine
from torch import nn

from ..engines.weights import BestWeights


class LastWeights(BestWeights):
    """Keep the weights of the last validation, whatever its score."""

    def _compare(self, engine: Engine) -> None:
        self.best = float("-inf")
        super()._compare(engine)


def kept_weights(path: str | Path, network: nn.Module, *, splits: Collection[str], fold: int | None) -> BestWeights:
    """The best validated weights; the last ones in a cross-validation of a dataset without a test split.

    There the held-out fold is what the run is scored on, and choosing an epoch on it would be choosing on the test.

    Args:
        path: where they go.
        network: whose they are.
        splits: that the dataset's cases belong to.
        fold: the held-out fold, or None.
    """
    held_out_is_scored = fold is not None and "test" not in splits
    return (LastWeights if held_out_is_scored else BestWeights)(path, network)
