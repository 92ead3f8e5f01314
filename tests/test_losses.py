"""The losses, against NumPy written from the paper."""

import numpy as np
import pytest
import torch
from monai.losses import DiceLoss

from scripts.domain.errors import ConfigurationError
from scripts.losses import (
    LossWeights,
    MultiTaskLoss,
    classification_loss,
    discriminator_loss,
    generator_loss,
    implied_curve,
    localisation_loss,
    random_smoothing,
    regression_loss,
    segmentation_loss,
    smoothed_truth,
    task_interaction_loss,
)


@pytest.fixture
def batch() -> dict[str, torch.Tensor]:
    """Three slices of 24 x 16: hcc, none, hemangioma without its portal-venous phase."""
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(3, 4, 24, 16, generator=generator)
    available = torch.ones(3, 4, dtype=torch.bool)
    available[2, 2] = False
    image[2, 2] = 0.0
    label = torch.zeros(3, 1, 24, 16)
    label[0, 0, 4:10, 3:9] = 1
    label[2, 0, 12:20, 6:8] = 1
    area = label.sum(dim=(2, 3)).clamp(min=1)
    return {
        "image": image,
        "label": label,
        "curve": (image * label).sum(dim=(2, 3)) / area,
        "tumour_class": torch.tensor([1, -1, 0]),
        "available": available,
    }


@pytest.fixture
def outputs() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    shapes = {
        "segmentation": (3, 1, 24, 16),
        "regression": (3, 4),
        "classification": (3, 2),
        "localisation": (3, 1, 12, 8),
    }
    return {key: torch.randn(shape, generator=generator).requires_grad_() for key, shape in shapes.items()}


def _sigmoid(logits: torch.Tensor) -> np.ndarray:
    return 1 / (1 + np.exp(-logits.detach().double().numpy()))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"segmentation": "focal"}, r"segmentation must be one of .*'focal'"),
        ({"tim": "median"}, r"tim must be one of .*'median'"),
        ({"weights": {"dice": 1.0}}, r"Unknown loss weights \['dice'\]: use \['segmentation'"),
    ],
)
def test_unknown_options_are_refused(options, message):
    with pytest.raises(ConfigurationError, match=message):
        MultiTaskLoss(**options)


def test_unknown_tim_variant_is_refused(outputs, batch):
    with pytest.raises(ConfigurationError, match="tim must be one of"):
        task_interaction_loss(
            outputs["segmentation"], batch["image"], batch["label"], batch["curve"], batch["available"], variant="max"
        )


def test_equation_2(outputs, batch):
    p, y = _sigmoid(outputs["segmentation"]), batch["label"].double().numpy()
    expected = -np.sum(y * np.log(p) + (1 - y) * np.log(1 - p)) / (3 * 24 * 16)
    assert segmentation_loss(outputs["segmentation"], batch["label"]).item() == pytest.approx(expected, rel=1e-5)


def test_equation_3(outputs, batch):
    predicted, target = outputs["regression"].detach().numpy(), batch["curve"].numpy()
    chosen = [(0, 0), (0, 1), (0, 2), (0, 3), (2, 0), (2, 1), (2, 3)]
    expected = np.mean([abs(predicted[at] - target[at]) for at in chosen])
    selected = batch["available"] & torch.tensor([[True], [False], [True]])
    assert regression_loss(outputs["regression"], batch["curve"], selected).item() == pytest.approx(expected, rel=1e-5)


def test_equation_4(outputs, batch):
    logits = outputs["classification"].detach().double().numpy()
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    expected = np.mean([-np.log(p[0, 1]), -np.log(p[2, 0])])
    loss = classification_loss(outputs["classification"], batch["tumour_class"], batch["tumour_class"] >= 0)
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_the_true_mask_implies_the_true_curve(batch):
    logits = 200.0 * (batch["label"] - 0.5)
    implied = implied_curve(logits, batch["image"])
    torch.testing.assert_close(implied[[0, 2]], batch["curve"][[0, 2]], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("variant", ["mean", "sum", "map"])
def test_task_interaction(outputs, batch, variant):
    """Predicted mask times each image against the true mask's enhancement, on slices with tumour."""
    p, x = _sigmoid(outputs["segmentation"]), batch["image"].double().numpy()
    y = batch["label"].double().numpy()
    terms = []
    for n, phase in [(0, 0), (0, 1), (0, 2), (0, 3), (2, 0), (2, 1), (2, 3)]:
        masked, true = p[n, 0] * x[n, phase], y[n, 0] * x[n, phase]
        if variant == "mean":
            terms.append(abs(masked.sum() / p[n].sum() - true.sum() / y[n].sum()))
        elif variant == "sum":
            terms.append(abs(masked.sum() - true.sum()) / y[n].sum())
        else:
            terms.append(np.abs(masked - true).mean())
    loss = MultiTaskLoss(tim=variant)(outputs, batch)["tim"]
    assert loss.item() == pytest.approx(np.mean(terms), rel=1e-4)


def test_localisation_is_a_cross_entropy_over_space(outputs, batch):
    logits = outputs["localisation"].detach().double().numpy()
    terms = []
    for n in (0, 2):
        area = batch["label"][n, 0].double().numpy().reshape(12, 2, 8, 2).mean(axis=(1, 3))
        log_attention = logits[n, 0] - np.log(np.exp(logits[n, 0]).sum())
        terms.append(-(area / area.sum() * log_attention).sum())
    loss = localisation_loss(outputs["localisation"], batch["label"])
    assert loss.item() == pytest.approx(np.mean(terms), rel=1e-4)


def test_localisation_in_three_dimensions():
    mask = torch.zeros(1, 1, 8, 8, 4)
    mask[0, 0, :2, :2, :2] = 1
    logits = torch.full((1, 1, 4, 4, 2), -50.0)
    logits[0, 0, 0, 0, 0] = 50.0
    assert localisation_loss(logits, mask).item() == pytest.approx(0.0, abs=1e-4)


def test_dice_is_monais(outputs, batch):
    plain = MultiTaskLoss()(outputs, batch)["segmentation"]
    both = MultiTaskLoss(segmentation="dice_bce")(outputs, batch)["segmentation"]
    dice = DiceLoss(sigmoid=True, batch=True)(outputs["segmentation"], batch["label"])
    torch.testing.assert_close(both, plain + dice)


def test_adversarial_losses():
    real, fake = torch.tensor([0.3, -1.0, 2.0]), torch.tensor([0.7, 0.2, -0.4])
    selected = torch.tensor([True, False, True])
    d_real, d_fake = _sigmoid(real)[[0, 2]], _sigmoid(fake)[[0, 2]]
    expected = -np.mean(0.9 * np.log(d_real) + 0.1 * np.log(1 - d_real) + np.log(1 - d_fake)) / 2
    assert discriminator_loss(real, fake, selected).item() == pytest.approx(expected, rel=1e-5)
    assert generator_loss(fake, selected).item() == pytest.approx(-np.mean(np.log(d_fake)), rel=1e-5)


def test_smoothed_truth():
    truth = smoothed_truth(torch.tensor([1, 0, -1]), 2, smoothing=0.2)
    torch.testing.assert_close(truth, torch.tensor([[0.1, 0.9], [0.9, 0.1], [0.9, 0.1]]))


def test_random_smoothing_differs_from_slice_to_slice_around_its_mean():
    torch.manual_seed(0)
    smoothing = random_smoothing(4000, "cpu", mean=0.1)
    assert smoothing.shape == (4000, 1)
    assert smoothing.min() >= 0
    assert smoothing.max() <= 0.2
    assert smoothing.unique().numel() > 1000
    assert smoothing.mean() == pytest.approx(0.1, abs=0.005)


def test_total_is_the_weighted_sum(outputs, batch):
    fake_logits = torch.tensor([0.3, 5.0, -0.2])
    terms = MultiTaskLoss()(outputs, batch, fake_logits)
    weights = {
        "segmentation": 1.0,
        "regression": 1.0,
        "classification": 1.0,
        "tim": 0.1,
        "adversarial": 0.01,
        "localisation": 0.1,
    }
    assert set(terms) == {*weights, "total"}
    torch.testing.assert_close(terms["total"], sum(weight * terms[name] for name, weight in weights.items()))


def test_no_tim_is_a_weight(outputs, batch):
    assert "tim" not in MultiTaskLoss(weights={"tim": 0.0})(outputs, batch)
    assert "tim" not in MultiTaskLoss(weights=LossWeights(tim=0.0))(outputs, batch)


@pytest.mark.parametrize(
    ("tasks", "expected"),
    [
        ({"segmentation"}, {"segmentation"}),
        ({"segmentation", "regression"}, {"segmentation", "regression", "tim"}),
        ({"segmentation", "classification"}, {"segmentation", "classification"}),
    ],
)
def test_removed_tasks_have_no_terms(outputs, batch, tasks, expected):
    terms = MultiTaskLoss()({task: outputs[task] for task in tasks}, batch)
    assert set(terms) == {*expected, "total"}


def test_absent_phases_and_tumour_free_slices_count_for_nothing(outputs, batch):
    terms = MultiTaskLoss()(outputs, batch, torch.zeros(3))
    terms["total"].backward()
    regression, classification = outputs["regression"].grad, outputs["classification"].grad
    assert regression[2, 2] == 0
    assert not regression[1].any()
    assert not classification[1].any()
    assert not outputs["localisation"].grad[1].any()
    assert outputs["segmentation"].grad[1].any()


def test_three_classes_learn_from_healthy_slices(outputs, batch):
    logits = torch.tensor([[0.0, 2.0, 0.0], [0.0, 0.0, 3.0], [1.0, 0.0, 0.0]], requires_grad=True)
    loss = MultiTaskLoss()({**outputs, "classification": logits}, batch)["classification"]
    p = torch.softmax(logits, dim=1)
    torch.testing.assert_close(loss, -torch.log(torch.stack([p[0, 1], p[1, 2], p[2, 0]])).mean())


@pytest.mark.parametrize("tim", ["mean", "sum", "map"])
def test_a_batch_without_tumour_gives_differentiable_zeros(outputs, batch, tim):
    healthy = {
        **batch,
        "label": torch.zeros_like(batch["label"]),
        "curve": torch.zeros(3, 4),
        "tumour_class": torch.full((3,), -1),
    }
    terms = MultiTaskLoss(tim=tim)(outputs, healthy, outputs["regression"].sum(dim=1))
    for name in ("regression", "classification", "tim", "adversarial", "localisation"):
        assert terms[name].item() == 0, name
        assert terms[name].requires_grad, name
    terms["total"].backward()
    assert all(torch.isfinite(value.grad).all() for value in outputs.values())


def test_float32_under_autocast(outputs, batch):
    expected = MultiTaskLoss(segmentation="dice_bce")(outputs, batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        terms = MultiTaskLoss(segmentation="dice_bce")(outputs, batch)
    for name, value in terms.items():
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, expected[name])
