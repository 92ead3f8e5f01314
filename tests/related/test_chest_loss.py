"""The joint loss against hand computation."""

import math

import pytest
import torch

from scripts.domain.errors import ConfigurationError
from scripts.related.chest_loss import ChestLoss, tasks_of


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


@pytest.fixture
def batch():
    """Two slices of 1 x 2 pixels; the lesion is the first slice's second pixel."""
    return {
        "slice_class": torch.tensor([1, 0]),
        "label": torch.tensor([[[[0.0, 1.0]]], [[[0.0, 0.0]]]]),
        "image": torch.tensor([[[[0.0, 1.0]]], [[[0.5, 0.5]]]]),
    }


@pytest.fixture
def outputs():
    logits = torch.zeros(2, 2, 1, 2)
    logits[:, 1] = torch.tensor([[[-1.0, 2.0]], [[0.0, 1.0]]])
    return {
        "classification": torch.tensor([[0.0, 1.0, 0.0], [2.0, 0.0, 0.0]]),
        "segmentation": logits,
        "reconstruction": torch.tensor([[[[0.5, 1.0]]], [[[0.5, 0.0]]]]),
        "detection": torch.tensor(3.0),
    }


LESION = [sigmoid(x) for x in (-1.0, 2.0, 0.0, 1.0)]
TRUTH = [0, 1, 0, 0]


def generalized_dice_by_hand():
    """Sudre et al. 2017, eq. 1 over the four pixels: weights 1/1^2 for the lesion, 1/3^2 for the background."""
    shared = LESION[1] / 1 + sum(1 - p for p, t in zip(LESION, TRUTH, strict=True) if not t) / 9
    total = (1 + sum(LESION)) / 1 + (3 + sum(1 - p for p in LESION)) / 9
    return 1 - 2 * shared / total


def dice_ce_by_hand():
    lesion = 2 * LESION[1] / (1 + sum(LESION))
    background = 2 * sum(1 - p for p, t in zip(LESION, TRUTH, strict=True) if not t) / (3 + sum(1 - p for p in LESION))
    entropy = -sum(math.log(p if t else 1 - p) for p, t in zip(LESION, TRUTH, strict=True)) / 4
    return 1 - (lesion + background) / 2 + entropy


def cross_entropy_by_hand():
    return (math.log(2 + math.e) - 1 + math.log(2 + math.e**2) - 2) / 2


@pytest.mark.parametrize(
    "weights",
    [{}, {"classification": 0}, {"classification": 0.5}, {"classification": 2}, {"tracking": 1}],
)
def test_weights_other_than_0_and_1_are_refused(weights):
    with pytest.raises(ConfigurationError, match="give 0 or 1 to classification"):
        ChestLoss(weights)


def test_another_segmentation_loss_is_refused():
    with pytest.raises(ConfigurationError, match="'focal' is none of generalized_dice, dice_ce"):
        ChestLoss({"segmentation": 1}, segmentation="focal")


def test_the_tasks_of_weight_1_in_their_order():
    weights = {"reconstruction": 1, "segmentation": 0, "classification": 1}
    assert tasks_of(weights) == ["classification", "reconstruction"]


def test_every_term_and_their_sum(outputs, batch):
    weights = dict.fromkeys(("classification", "segmentation", "reconstruction", "detection"), 1)
    terms = {name: float(value) for name, value in ChestLoss(weights)(outputs, batch).items()}
    expected = {
        "classification": cross_entropy_by_hand(),
        "segmentation": generalized_dice_by_hand(),
        "reconstruction": (0.25 + 0.25) / 4,
        "detection": 3.0,
    }
    assert terms == pytest.approx(expected | {"total": sum(expected.values())}, rel=1e-5)


def test_dice_and_cross_entropy_as_the_second_loss(outputs, batch):
    terms = ChestLoss({"segmentation": 1}, segmentation="dice_ce")(outputs, batch)
    assert float(terms["segmentation"]) == pytest.approx(dice_ce_by_hand(), rel=1e-4)


def test_a_task_of_weight_0_is_not_computed(outputs, batch):
    terms = ChestLoss({"classification": 1, "segmentation": 0, "reconstruction": 1, "detection": 0})(
        {name: outputs[name] for name in ("classification", "reconstruction")}, batch
    )
    assert set(terms) == {"classification", "reconstruction", "total"}


def test_a_batch_without_any_lesion_has_a_finite_loss_and_gradient(outputs, batch):
    batch["label"] = torch.zeros_like(batch["label"])
    outputs["segmentation"].requires_grad_()
    loss = ChestLoss({"segmentation": 1})(outputs, batch)["total"]
    loss.backward()
    assert torch.isfinite(loss)
    # Less lesion is better where there is none.
    assert (outputs["segmentation"].grad[:, 1] > 0).all()
