"""The study whose regression head and mask contradict each other most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lib.activelearning.chosen import BySignals
from lib.activelearning.scorer import SignalScorer
from lib.activelearning.selection import highest
from lib.activelearning.signals import Signals


class Consistency(BySignals):
    """Highest ``Signals.consistency``: TIM's own error, which needs no label and no sampling."""

    def __init__(self, scorer: SignalScorer, *, seed: int | None = None) -> None:
        super().__init__("The study where curve and mask of the network disagree most", scorer, seed=seed)

    def choose(self, known: Mapping[str, Signals], labelled: Sequence[Signals]) -> tuple[str, float]:
        """The most contradictory, normalised intensity."""
        case = highest({name: signals.consistency for name, signals in known.items()}, 1)[0]
        return case, known[case].consistency
