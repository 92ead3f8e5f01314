"""CMU-Net's loss against hand computation."""

import math

import pytest
import torch

from scripts.domain.errors import ConfigurationError
from scripts.related.cmu_loss import CMULoss, organ_present


@pytest.fixture
def outputs():
    return {"segmentation": torch.tensor([[[[0.0, 2.0]]], [[[-1.0, 1.0]]]]), "organ": torch.tensor([[0.5], [-2.0]])}


@pytest.fixture
def batch():
    """Two slices of two pixels: the organ in the first slice's second pixel; none in the second slice."""
    return {"label": torch.tensor([[[[0.0, 1.0]]], [[[0.0, 0.0]]]])}


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def dice_by_hand():
    first = 1 - (2 * sigmoid(2) + 1) / (sigmoid(0) + sigmoid(2) + 1 + 1)
    second = 1 - 1 / (sigmoid(-1) + sigmoid(1) + 1)
    return (first + second) / 2


def focal_by_hand(positive):
    p, q = sigmoid(0.5), sigmoid(-2.0)
    with_organ = -positive * (1 - p) ** 2 * math.log(p)
    without = -(1 - positive) * q**2 * math.log(1 - q)
    return (with_organ + without) / 2


@pytest.mark.parametrize(
    "weights", [{}, {"segmentation": 0, "classification": 0}, {"segmentation": -1}, {"detection": 1}]
)
def test_wrong_weights_are_refused(weights):
    with pytest.raises(ConfigurationError, match="loss weights"):
        CMULoss(weights)


@pytest.mark.parametrize("positive", [0.0, 1.0, 1.5])
def test_a_focal_weight_outside_0_to_1_is_refused(positive):
    with pytest.raises(ConfigurationError, match="between 0 and 1"):
        CMULoss({"classification": 1}, positive=positive)


def test_a_slices_class_is_the_maximum_of_its_mask(batch):
    assert organ_present(batch["label"]).tolist() == [[1.0], [0.0]]


@pytest.mark.parametrize("positive", [0.8, 0.5])
def test_half_dice_half_focal(outputs, batch, positive):
    terms = CMULoss({"segmentation": 0.5, "classification": 0.5}, positive=positive)(outputs, batch)
    assert float(terms["segmentation"]) == pytest.approx(dice_by_hand(), rel=1e-5)
    assert float(terms["classification"]) == pytest.approx(focal_by_hand(positive), rel=1e-5)
    assert float(terms["total"]) == pytest.approx(0.5 * dice_by_hand() + 0.5 * focal_by_hand(positive), rel=1e-5)


def test_a_task_of_weight_0_is_not_computed(outputs, batch):
    del outputs["organ"]
    terms = CMULoss({"segmentation": 1.0, "classification": 0.0})(outputs, batch)
    assert set(terms) == {"segmentation", "total"}
    assert float(terms["total"]) == pytest.approx(dice_by_hand(), rel=1e-5)
