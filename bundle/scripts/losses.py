"""The losses of MTI-Net (eqs. 2-4, TIM and TDD) and their weighted sum; everything in float32."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

import torch
from monai.losses import DiceLoss
from torch import Tensor, nn
from torch.nn import functional as F

from .domain.classes import CLASSES
from .domain.errors import ConfigurationError

SEGMENTATION_LOSSES = ("bce", "dice_bce")
TIM_VARIANTS = ("mean", "sum", "map")
_EPS = 1e-6


def segmentation_loss(logits: Tensor, mask: Tensor) -> Tensor:
    """Binary cross-entropy, mean over slices and pixels (eq. 2); ``(B, 1, *S)`` both."""
    return F.binary_cross_entropy_with_logits(logits, mask)


def regression_loss(curve: Tensor, target: Tensor, selected: Tensor) -> Tensor:
    """Mean absolute error over the selected entries (eq. 3); all ``(B, 4)``, ``selected`` bool."""
    return _mean_where((curve - target).abs(), selected)


def classification_loss(logits: Tensor, tumour_class: Tensor, selected: Tensor) -> Tensor:
    """Cross-entropy ``-log p_u`` (eq. 4), mean over the selected slices.

    Args:
        logits: ``(B, K)``.
        tumour_class: ``(B,)`` long; any value where not selected.
        selected: ``(B,)`` bool.
    """
    target = torch.where(selected, tumour_class, torch.zeros_like(tumour_class))
    return _mean_where(F.cross_entropy(logits, target, reduction="none"), selected)


def implied_curve(logits: Tensor, image: Tensor) -> Tensor:
    """The curve that a segmentation implies: ``Σ p x / (Σ p + ε)`` per phase.

    Args:
        logits: ``(B, 1, *S)``.
        image: ``(B, 4, *S)`` normalised.

    Returns:
        ``(B, 4)``.
    """
    probability = torch.sigmoid(logits).flatten(2)
    return (probability * image.flatten(2)).sum(dim=2) / (probability.sum(dim=2) + _EPS)


def task_interaction_loss(
    logits: Tensor, image: Tensor, mask: Tensor, target: Tensor, selected: Tensor, *, variant: str = "mean"
) -> Tensor:
    """TIM: L1 between what the segmentation implies and the true enhancement.

    Args:
        logits: ``(B, 1, *S)`` segmentation.
        image: ``(B, 4, *S)`` normalised.
        mask: ``(B, 1, *S)`` truth.
        target: ``(B, 4)`` true curve.
        selected: ``(B, 4)`` bool: phases available on slices with tumour; others are skipped.
        variant: ``mean`` compares mean intensities; ``sum`` the sums ``Σ p x`` and ``Σ y x`` over the true area;
            ``map`` the masked images ``p x`` and ``y x`` pixel by pixel.

    Raises:
        ConfigurationError: unknown variant.
    """
    if variant == "mean":
        return _mean_where((implied_curve(logits, image) - target).abs(), selected)
    difference = (torch.sigmoid(logits) - mask).flatten(2) * image.flatten(2)
    if variant == "sum":
        area = mask.flatten(2).sum(dim=2) + _EPS
        return _mean_where((difference.sum(dim=2) / area).abs(), selected)
    if variant == "map":
        return _mean_where(difference.abs().mean(dim=2), selected)
    msg = f"tim must be one of {TIM_VARIANTS}; got {variant!r}."
    raise ConfigurationError(msg)


def localisation_loss(logits: Tensor, mask: Tensor) -> Tensor:
    """Cross-entropy of the locator's spatial softmax to the mask's share of each cell, over slices with tumour.

    Args:
        logits: ``(B, 1, *s)``.
        mask: ``(B, 1, *S)``; area-pooled to the logits' grid.
    """
    pool = F.adaptive_avg_pool3d if logits.dim() == 5 else F.adaptive_avg_pool2d
    area = pool(mask, logits.shape[2:]).flatten(1)
    log_attention = torch.log_softmax(logits.flatten(1), dim=1)
    total = area.sum(dim=1)
    return _mean_where(-(area * log_attention).sum(dim=1) / (total + _EPS), total > 0)


def smoothed_truth(tumour_class: Tensor, classes: int, smoothing: float | Tensor = 0.1) -> Tensor:
    """Class vectors of the discriminator's real side, ``(B, classes)``.

    A one-hot vector against soft probabilities is told apart at a glance, so the truth is softened to
    ``(1 - s) · one-hot + s / classes``.

    Args:
        tumour_class: ``(B,)`` long; a negative entry gives the vector of class 0, to be left out by the caller.
        classes: number of classes.
        smoothing: s, one for all or ``(B, 1)``.
    """
    one_hot = F.one_hot(tumour_class.clamp(min=0), classes).float()
    return one_hot * (1.0 - smoothing) + smoothing / classes


def random_smoothing(slices: int, device: torch.device | str, mean: float = 0.1) -> Tensor:
    """Smoothing of each slice's class vector, uniform in ``(0, 2 mean)``, ``(B, 1)``.

    One value for all would be a mark by itself: the discriminator would learn to spell it.
    """
    return 2.0 * mean * torch.rand(slices, 1, device=device)


def discriminator_loss(
    real_logits: Tensor, fake_logits: Tensor, selected: Tensor, *, real_target: float = 0.9
) -> Tensor:
    """Binary cross-entropy of the discriminator: real ``real_target`` (one-sided smoothing), fake 0; all ``(B,)``."""
    real = F.binary_cross_entropy_with_logits(real_logits, torch.full_like(real_logits, real_target), reduction="none")
    return 0.5 * _mean_where(real + F.softplus(fake_logits), selected)


def generator_loss(fake_logits: Tensor, selected: Tensor) -> Tensor:
    """Non-saturating adversarial loss ``-log D(fake)`` of the network; both ``(B,)``."""
    return _mean_where(F.softplus(-fake_logits), selected)


@dataclass(frozen=True)
class LossWeights:
    """Factors of the terms in the total; a term of weight 0 is not computed."""

    segmentation: float = 1.0
    regression: float = 1.0
    classification: float = 1.0
    tim: float = 0.1
    adversarial: float = 0.01
    localisation: float = 0.1


class MultiTaskLoss(nn.Module):
    """The network's loss: the tasks' own, TIM, the adversarial term and the locator's.

    Slices without tumour count for segmentation only (with three classes also for classification, as "healthy"), and
    phases that are not available for nothing.

    Args:
        weights: ``LossWeights``, or its fields by name.
        segmentation: ``bce`` (eq. 2), or ``dice_bce``, which adds the soft Dice loss over the batch.
        tim: variant of ``task_interaction_loss``.

    Raises:
        ConfigurationError: unknown loss, variant or weight.
    """

    def __init__(
        self,
        *,
        weights: LossWeights | Mapping[str, float] | None = None,
        segmentation: str = "bce",
        tim: str = "mean",
    ) -> None:
        super().__init__()
        if segmentation not in SEGMENTATION_LOSSES:
            msg = f"segmentation must be one of {SEGMENTATION_LOSSES}; got {segmentation!r}."
            raise ConfigurationError(msg)
        if tim not in TIM_VARIANTS:
            msg = f"tim must be one of {TIM_VARIANTS}; got {tim!r}."
            raise ConfigurationError(msg)
        self.weights = weights if isinstance(weights, LossWeights) else _weights_of(weights or {})
        self.dice = DiceLoss(sigmoid=True, batch=True) if segmentation == "dice_bce" else None
        self.tim = tim

    def forward(
        self, outputs: Mapping[str, Tensor], batch: Mapping[str, Tensor], fake_logits: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Unweighted terms of the tasks that the network has, and ``total``, their weighted sum.

        Args:
            outputs: of ``MTINet``.
            batch: ``image (B, 4, *S)``, ``label (B, 1, *S)``, ``curve (B, 4)``, ``tumour_class (B,)`` (-1 without
                tumour), ``available (B, 4)``.
            fake_logits: ``(B,)`` of the discriminator on the network's curves and probabilities; None in warm-up.
        """
        with torch.autocast(device_type=batch["image"].device.type, enabled=False):
            outputs = {name: output.float() for name, output in outputs.items()}
            terms = self._terms(outputs, batch, fake_logits)
            total = sum(getattr(self.weights, name) * term for name, term in terms.items())
        return {**terms, "total": total}

    def _terms(
        self, outputs: Mapping[str, Tensor], batch: Mapping[str, Tensor], fake_logits: Tensor | None
    ) -> dict[str, Tensor]:
        mask = batch["label"].float()
        has_tumour = mask.flatten(1).any(dim=1)
        readable = batch["available"] & has_tumour[:, None]
        terms: dict[str, Tensor] = {}
        if "segmentation" in outputs:
            terms["segmentation"] = segmentation_loss(outputs["segmentation"], mask)
            if self.dice is not None:
                terms["segmentation"] = terms["segmentation"] + self.dice(outputs["segmentation"], mask)
            if self.weights.tim and "regression" in outputs:
                terms["tim"] = task_interaction_loss(
                    outputs["segmentation"], batch["image"].float(), mask, batch["curve"], readable, variant=self.tim
                )
        if "regression" in outputs:
            terms["regression"] = regression_loss(outputs["regression"], batch["curve"], readable)
        if "classification" in outputs:
            terms["classification"] = _classification_term(outputs["classification"], batch["tumour_class"], has_tumour)
        if "localisation" in outputs and self.weights.localisation:
            terms["localisation"] = localisation_loss(outputs["localisation"], mask)
        if fake_logits is not None and self.weights.adversarial:
            terms["adversarial"] = generator_loss(fake_logits.float(), batch["tumour_class"] >= 0)
        return terms


def _classification_term(logits: Tensor, tumour_class: Tensor, has_tumour: Tensor) -> Tensor:
    selected = tumour_class >= 0
    if logits.shape[1] > len(CLASSES):
        tumour_class = torch.where(has_tumour, tumour_class, torch.full_like(tumour_class, len(CLASSES)))
        selected = selected | ~has_tumour
    return classification_loss(logits, tumour_class, selected)


def _mean_where(values: Tensor, selected: Tensor) -> Tensor:
    """Mean of the selected values; a differentiable zero where there are none."""
    kept = torch.where(selected, values, torch.zeros_like(values))
    return kept.sum() / selected.sum().clamp(min=1)


def _weights_of(weights: Mapping[str, float]) -> LossWeights:
    unknown = sorted(set(weights) - {field.name for field in fields(LossWeights)})
    if unknown:
        msg = f"Unknown loss weights {unknown}: use {[field.name for field in fields(LossWeights)]}."
        raise ConfigurationError(msg)
    return LossWeights(**weights)
