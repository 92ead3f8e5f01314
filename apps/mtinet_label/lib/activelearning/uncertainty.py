"""The study whose mask and class the network is least sure of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lib.activelearning.chosen import BySignals
from lib.activelearning.scorer import SignalScorer
from lib.activelearning.selection import highest
from lib.activelearning.signals import Signals


class Uncertainty(BySignals):
    """Highest ``Signals.uncertainty``, by Monte-Carlo dropout in the decoder and the heads."""

    def __init__(self, scorer: SignalScorer, *, seed: int | None = None) -> None:
        super().__init__("The study that the network is least sure of (Monte-Carlo dropout)", scorer, seed=seed)

    def choose(self, known: Mapping[str, Signals], labelled: Sequence[Signals]) -> tuple[str, float]:
        """The most uncertain, bits."""
        case = highest({name: signals.uncertainty for name, signals in known.items()}, 1)[0]
        return case, known[case].uncertainty
