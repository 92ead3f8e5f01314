"""Validation on whole subjects: expectations worked out by hand."""

import pytest
import torch
from ignite.engine import Engine

from scripts.domain.errors import DatasetError
from scripts.engines.validation import SubjectEvaluator, SubjectScores, ValidateAtIntervals

MEAN = torch.tensor([0.0, 1.0, 1.0, 1.0])


def subject(*, predicted_rows, probabilities, regression, tumour_class=1):
    """Three slices of 4 x 4: 4 true pixels in slice 0, 8 in slice 1, none in slice 2."""
    label = torch.zeros(3, 1, 4, 4)
    label[0, 0, 0] = 1
    label[1, 0, :2] = 1
    probability = torch.zeros(3, 1, 4, 4)
    for index, rows in enumerate(predicted_rows):
        probability[index, 0, :rows] = 0.9
    outputs = {
        "probability": probability,
        "classification": torch.tensor(probabilities).log(),
        "regression": torch.tensor(regression),
    }
    curve = torch.tensor([[0.0, 2.0, 1.0, 0.0], [0.0, 5.0, 1.0, 0.0], [0.0] * 4])
    batch = {
        "label": label,
        "curve": curve,
        "tumour_class": torch.tensor([tumour_class, tumour_class, -1]),
        "available": torch.ones(3, 4, dtype=torch.bool),
    }
    return outputs, batch


def scores(*subjects):
    metric = SubjectScores(MEAN)
    for each in subjects:
        metric.update(each)
    return metric.compute()


def test_validation_without_any_tumour_is_refused():
    with pytest.raises(DatasetError, match="no validation subject has a tumour"):
        SubjectScores(MEAN).compute()


def test_dice_is_of_the_stack_and_the_class_weighted_by_predicted_area():
    # Predicted: 4 of slice 0 and 4 of slice 1 (both right), 8 of slice 2 (wrong): 2 * 8 / (16 + 12).
    found = scores(
        subject(
            predicted_rows=(1, 1, 2),
            probabilities=[[0.9, 0.1], [0.9, 0.1], [0.05, 0.95]],
            regression=[[0.0, 4.0, 1.0, 0.0]] * 3,
        )
    )
    assert found["dice"] == pytest.approx(16 / 28)
    # Areas 4, 4, 8: probability of class 1 is (0.1 + 0.1 + 2 * 0.95) / 4 = 0.525, by slices alone 0.38.
    assert found["accuracy"] == 1.0


def test_errors_are_of_the_area_weighted_curve_over_that_of_the_mean_curve():
    # True curve: (4 * 2 + 8 * 5) / 12 = 4 in the arterial phase, 1 and 0 after it.
    found = scores(
        subject(
            predicted_rows=(1, 2, 0),
            probabilities=[[0.2, 0.8], [0.2, 0.8], [0.9, 0.1]],
            regression=[[0.0, 3.0, 1.0, 0.0], [0.0, 6.0, 1.0, 0.0], [9.0] * 4],
        )
    )
    # Said: (4 * 3 + 8 * 6) / 12 = 5, off by 1 in one of four phases; the mean curve is off by 3 and 1.
    assert found["mae"] == pytest.approx(0.25)
    assert found["mae_ratio"] == pytest.approx(0.25)
    assert (found["dice"], found["accuracy"]) == (1.0, 1.0)
    assert found["score"] == pytest.approx((1.0 + 1.0 + 0.75) / 3)


def test_a_miss_is_wrong_and_says_the_mean_curve():
    found = scores(
        subject(predicted_rows=(0, 0, 0), probabilities=[[0.0, 1.0]] * 3, regression=[[0.0, 4.0, 1.0, 0.0]] * 3)
    )
    assert (found["dice"], found["accuracy"], found["mae_ratio"]) == (0.0, 0.0, 1.0)


def test_subjects_without_tumour_do_not_count():
    hit = subject(predicted_rows=(1, 2, 0), probabilities=[[0.2, 0.8]] * 3, regression=[[0.0, 4.0, 1.0, 0.0]] * 3)
    outputs, batch = subject(predicted_rows=(4, 4, 4), probabilities=[[0.2, 0.8]] * 3, regression=[[0.0] * 4] * 3)
    batch["label"].zero_()
    assert scores(hit, (outputs, batch)) == scores(hit)


def test_missing_phases_do_not_count():
    outputs, batch = subject(
        predicted_rows=(1, 2, 0), probabilities=[[0.2, 0.8]] * 3, regression=[[99.0, 4.0, 1.0, 0.0]] * 3
    )
    batch["available"][:, 0] = False
    assert scores((outputs, batch))["mae"] == 0.0


def test_a_segmentation_only_network_is_scored_by_dice():
    outputs, batch = subject(predicted_rows=(1, 2, 0), probabilities=[[0.2, 0.8]] * 3, regression=[[0.0] * 4] * 3)
    assert scores(({"probability": outputs["probability"]}, batch)) == {"dice": 1.0, "score": 1.0}


def test_the_evaluator_gives_the_same_in_passes_of_any_size(network, batch):
    found = []
    for slices in (1, 3, 16):
        evaluator = SubjectEvaluator(
            "cpu", [batch], network, slices_per_pass=slices, key_val_metric={"score": SubjectScores(MEAN)}
        )
        evaluator.run()
        found.append(evaluator.state.metrics["score"])
    assert found[0] == pytest.approx(found[1], abs=1e-5)
    assert found[0] == pytest.approx(found[2], abs=1e-5)
    assert evaluator.state.key_metric_name == "score"


@pytest.mark.parametrize(("epochs", "expected"), [(2, [2]), (6, [3, 6]), (7, [3, 6, 7])])
def test_the_last_epoch_is_always_validated(network, batch, epochs, expected):
    evaluator = SubjectEvaluator("cpu", [batch], network)
    validated = []
    evaluator.run = validated.append
    trainer = Engine(lambda engine, batch: None)
    ValidateAtIntervals(interval=3, validator=evaluator).attach(trainer)
    trainer.run(range(1), max_epochs=epochs)
    assert validated == expected
