"""A strategy that goes by signals: the common part of asking for them and answering with what is known so far."""

from __future__ import annotations

import random
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.strategy import Strategy

from lib.activelearning.scorer import SignalScorer
from lib.activelearning.signals import Signals


class BySignals(Strategy):
    """The unlabelled study that stands out most among those that were measured.

    A request has a few more measured in the background, so the choice grows with every request; only the first waits.
    Where nothing could be measured in time, chance decides, and the answer says so.

    Args:
        description: shown to the reader.
        scorer: measures.
        seed: of the choice of studies to measure.
    """

    def __init__(self, description: str, scorer: SignalScorer, *, seed: int | None = None) -> None:
        super().__init__(description)
        self.scorer = scorer
        self._rng = random.Random(seed)

    def __call__(self, request: Mapping[str, Any], datastore: Datastore) -> dict[str, Any] | None:
        """``id`` of the study to annotate next, its ``weight``, and of how many studies it was chosen."""
        unlabelled = datastore.get_unlabeled_images()
        if not unlabelled:
            return None
        labelled = self._compared_with(datastore)
        self.scorer.want([*unlabelled, *labelled], self._rng)
        known = self.scorer.known(unlabelled) or self.scorer.wait_for_one(unlabelled)
        if not known:
            return {"id": self._rng.choice(unlabelled), "weight": 0.0, "measured": 0, "reason": "none measured yet"}
        case, weight = self.choose(known, list(self.scorer.known(labelled).values()))
        return {"id": case, "weight": weight, "measured": len(known)}

    @abstractmethod
    def choose(self, known: Mapping[str, Signals], labelled: Sequence[Signals]) -> tuple[str, float]:
        """The case and its weight.

        Args:
            known: signals of unlabelled studies, at least one.
            labelled: signals of labelled ones, if the strategy compares with them.
        """

    def _compared_with(self, datastore: Datastore) -> list[str]:
        return []
