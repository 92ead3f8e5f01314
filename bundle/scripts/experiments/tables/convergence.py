"""Whether a run's validation score has levelled off, without which its cell does not count."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

LAST_PART = 0.2
"""Of the epochs."""

LARGEST_CHANGE = 0.005
"""Of the validation score, within that part."""

FEWEST_EPOCHS = 5
"""Below this the last fifth is not one whole epoch."""


def why_not_converged(log: Sequence[Mapping[str, str]]) -> str | None:
    """Judge a training log.

    The score has levelled off where all validations of the last fifth of the epochs, and the one that it started from,
    lie within less than .005: neither a rise nor a swing.

    Args:
        log: the rows of ``training_log.csv``; ``val_score`` is empty in epochs that were not validated.

    Returns:
        None where it has levelled off, else the reason why it does not count.
    """
    scores = [(int(row["epoch"]), float(row["val_score"])) for row in log if row.get("val_score")]
    if not scores:
        return "no validation score"
    epochs = max(int(row["epoch"]) for row in log)
    if epochs < FEWEST_EPOCHS:
        return f"only {epochs} epoch{'s' * (epochs > 1)}"
    start = (1.0 - LAST_PART) * epochs
    before = [score for epoch, score in scores if epoch <= start]
    within = [score for epoch, score in scores if epoch > start]
    if not before or not within:
        return "validated too seldom"
    looked_at = [before[-1], *within]
    change = max(looked_at) - min(looked_at)
    if change < LARGEST_CHANGE:
        return None
    return f"validation score still changes by {change:.3f}"
