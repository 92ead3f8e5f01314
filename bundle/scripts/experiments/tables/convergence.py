"""Whether the validation score of a cell has levelled off, without which it does not count."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

LAST_PART = 0.2
"""Of the epochs."""

SCORE = "val_score"
"""Column of ``training_log.csv`` by which weights are chosen: of several tasks, the mean of theirs."""

LARGEST_CHANGE = 0.005
"""Of the validation score, within that part."""

FEWEST_EPOCHS = 5
"""Below this the last fifth is not one whole epoch."""


@dataclass(frozen=True, order=True)
class NotConverged:
    """Why a training does not count; the worse the larger.

    Args:
        change: of the validation score; infinite where it cannot be told.
        reason: in words.
    """

    change: float
    reason: str


def why_not_converged(log: Sequence[Mapping[str, str]], score: str = SCORE) -> NotConverged | None:
    """Judge a training log.

    The score has levelled off where all validations of the last fifth of the epochs, and the one that it started from,
    lie within less than .005: neither a rise nor a swing.

    Args:
        log: the rows of ``training_log.csv``; scores are empty in epochs that were not validated.
        score: the column that is looked at; where the log has no such score, ``val_score``.

    Returns:
        None where it has levelled off, else the reason why it does not count.
    """
    column = score if any(row.get(score) for row in log) else SCORE
    scores = [(int(row["epoch"]), float(row[column])) for row in log if row.get(column)]
    if not scores:
        return NotConverged(math.inf, "no validation score")
    epochs = max(int(row["epoch"]) for row in log)
    if epochs < FEWEST_EPOCHS:
        return NotConverged(math.inf, f"only {epochs} epoch{'s' * (epochs > 1)}")
    start = (1.0 - LAST_PART) * epochs
    before = [score for epoch, score in scores if epoch <= start]
    within = [score for epoch, score in scores if epoch > start]
    if not before or not within:
        return NotConverged(math.inf, "validated too seldom")
    looked_at = [before[-1], *within]
    change = max(looked_at) - min(looked_at)
    if change < LARGEST_CHANGE:
        return None
    return NotConverged(change, f"{column} still changes by {change:.3f}")
