"""A study by chance: what every other strategy has to beat."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.strategy import Strategy


class Random(Strategy):
    """Every unlabelled study is as likely as the next.

    Args:
        seed: of the choices; None is another one at every start.
    """

    def __init__(self, *, seed: int | None = None) -> None:
        super().__init__("A study by chance")
        self._rng = random.Random(seed)

    def __call__(self, request: Mapping[str, Any], datastore: Datastore) -> dict[str, Any] | None:
        """``id`` of the study to annotate next; None where all are labelled."""
        unlabelled = datastore.get_unlabeled_images()
        if not unlabelled:
            return None
        return {"id": self._rng.choice(unlabelled), "weight": 1.0 / len(unlabelled)}
