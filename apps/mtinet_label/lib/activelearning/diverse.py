"""The study that is least like those that are labelled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from monailabel.interfaces.datastore import Datastore

from lib.activelearning.chosen import BySignals
from lib.activelearning.scorer import SignalScorer
from lib.activelearning.selection import farthest_first
from lib.activelearning.signals import Signals


class Diverse(BySignals):
    """Farthest from every labelled study in the network's features."""

    def __init__(self, scorer: SignalScorer, *, seed: int | None = None) -> None:
        super().__init__("The study that is least like the labelled ones", scorer, seed=seed)

    def choose(self, known: Mapping[str, Signals], labelled: Sequence[Signals]) -> tuple[str, float]:
        """The farthest, in standard deviations of the features."""
        features = {name: signals.features for name, signals in known.items()}
        return farthest_first(features, [signals.features for signals in labelled], 1)[0]

    def _compared_with(self, datastore: Datastore) -> list[str]:
        return datastore.get_labeled_images()
