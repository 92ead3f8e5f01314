import json

import pytest

from lib.trainers.promotion import Measured, judge


def measured(dice=0.8, accuracy=0.9, subjects=10):
    return Measured(dice, None, accuracy, None, subjects, 0)


@pytest.mark.parametrize(("before", "after"), [(measured(None, None, 0), measured()), (measured(), measured(None))])
def test_nothing_to_compare_on_is_no_reason_to_promote(before, after):
    verdict = judge(before, after)
    assert not verdict.promote
    assert "nothing can be compared" in verdict.reason


@pytest.mark.parametrize(
    ("dice", "accuracy", "promote"),
    [
        (0.80, 0.9, True),
        (0.795, 0.9, True),
        (0.85, 0.9, True),
        (0.85, 1.0, True),
        (0.785, 0.9, False),
        (0.85, 0.8, False),
        (0.2, 0.2, False),
        (0.785, 1.0, False),
    ],
)
def test_promoted_only_if_neither_dice_nor_accuracy_is_worse(dice, accuracy, promote):
    verdict = judge(measured(), measured(dice, accuracy))
    assert verdict.promote is promote
    assert f"Dice 0.800 before, {dice:.3f} after" in verdict.reason
    assert f"accuracy 0.900 before, {accuracy:.3f} after" in verdict.reason


@pytest.mark.parametrize(("was", "is_", "promote"), [(0, 0, True), (2, 2, True), (2, 1, True), (0, 1, False)])
def test_weights_that_find_lesions_in_more_healthy_studies_are_worse(was, is_, promote):
    verdict = judge(Measured(0.8, None, 0.9, None, 10, was), Measured(0.9, None, 1.0, None, 10, is_))
    assert verdict.promote is promote
    assert ("false lesions" in verdict.reason) == (was + is_ > 0)


def test_an_evaluation_is_read_from_its_files(tmp_path):
    metrics = {
        "dsc_mean": {"value": 0.7, "ci95": [0.6, 0.8], "n": 2},
        "accuracy": {"value": 0.5, "ci95": None, "n": 2},
    }
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    rows = ["case,true_class,predicted_lesions", "a,hcc,1", "b,hemangioma,0", "c,none,2", "d,none,0"]
    (tmp_path / "per_subject.csv").write_text("\n".join(rows) + "\n")
    assert Measured.of(tmp_path) == Measured(0.7, (0.6, 0.8), 0.5, None, subjects=2, false_positives=1)
