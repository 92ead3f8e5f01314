"""The strategies that the server offers, by name."""

from __future__ import annotations

from monailabel.interfaces.tasks.strategy import Strategy

from lib.activelearning.consistency import Consistency
from lib.activelearning.diverse import Diverse
from lib.activelearning.random import Random
from lib.activelearning.scorer import SignalScorer
from lib.activelearning.uncertainty import Uncertainty


def strategies(scorer: SignalScorer) -> dict[str, Strategy]:
    """``random``, ``uncertainty``, ``consistency`` and ``diverse``.

    Args:
        scorer: that the last three share, so that a study is measured once for all.
    """
    return {
        "random": Random(),
        "uncertainty": Uncertainty(scorer),
        "consistency": Consistency(scorer),
        "diverse": Diverse(scorer),
    }
