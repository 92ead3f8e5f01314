"""When a validation score has levelled off."""

import pytest

from scripts.experiments.tables.convergence import why_not_converged


def rows(*scores):
    """One row an epoch; None was not validated."""
    return [
        {"epoch": str(epoch), "val_score": "" if score is None else str(score)}
        for epoch, score in enumerate(scores, start=1)
    ]


@pytest.mark.parametrize(
    ("log", "reason"),
    [
        ([], "no validation score"),
        (rows(None, None, None), "no validation score"),
        ([{"epoch": "1", "loss": "0.5"}], "no validation score"),
        (rows(0.8), "only 1 epoch"),
        (rows(0.8, 0.8, 0.8, 0.8), "only 4 epochs"),
        (rows(None, None, None, None, None, None, None, None, None, 0.8), "validated too seldom"),
        # The last fifth is that of the training, not of its validations.
        (rows(*[0.8] * 15, *[None] * 5), "validated too seldom"),
        (rows(*[0.8] * 8, 0.8, 0.81), "still changes by 0.010"),
        (rows(*[0.0] * 9, 0.005), "still changes by 0.005"),
        # A swing is no level, even where it ends where it began.
        (rows(*[0.8] * 8, 0.83, 0.8), "still changes by 0.030"),
        # From the last validation before the last fifth, which begins after epoch 8.
        (rows(*[None] * 6, 0.7, None, None, 0.8), "still changes by 0.100"),
    ],
)
def test_what_does_not_count_says_why(log, reason):
    assert reason in why_not_converged(log).reason


@pytest.mark.parametrize(
    "log",
    [
        rows(0.1, 0.5, 0.7, 0.8, 0.8),
        rows(*[0.1] * 7, 0.8, 0.8049, 0.8),
        rows(None, 0.2, None, 0.6, None, 0.7, None, 0.8, None, 0.803),
    ],
)
def test_a_level_is_less_than_five_thousandths_in_the_last_fifth(log):
    assert why_not_converged(log) is None


def test_another_score_is_looked_at_where_the_log_has_it():
    log = [{**row, "val_dice": str(0.5 + 0.1 * number)} for number, row in enumerate(rows(*[0.8] * 10))]
    assert why_not_converged(log) is None
    assert why_not_converged(log, "val_dice").reason == "val_dice still changes by 0.200"
    assert why_not_converged(log, "val_accuracy") is None


def test_the_worse_is_the_larger():
    slight, strong, unknown = (why_not_converged(log) for log in (rows(*[0.8] * 9, 0.81), rows(*[0.1] * 9, 10.1), []))
    assert slight < strong < unknown


def test_the_released_training_is_judged_by_its_own_log():
    """Epochs 3, 6, ... 18 of ``docs/results/training_log.csv``: .8401, .8328, .8445 at 12, 15, 18."""
    scores = [None] * 18
    for epoch, score in zip(range(3, 19, 3), (0.7744, 0.7994, 0.8269, 0.8402, 0.8328, 0.8445), strict=True):
        scores[epoch - 1] = score
    # The last fifth begins after epoch 14.4, so 12 is what it started from.
    assert "0.012" in why_not_converged(rows(*scores)).reason
