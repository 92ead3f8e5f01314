"""What the network itself says about how much a study would teach it: three signals, from one pass over its slices."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from scripts.networks.mtinet import MTINet
from scripts.networks.sampling import draw

DEFINITION = 2
"""To be counted up when a signal is computed otherwise: signals of one ranking must not come from two formulas."""

SAMPLES = 8
SAMPLED_SLICES = 8
"""Only the slices where a tumour is suspected most are asked again with dropout."""

INJECTED_DROPOUT = 0.1
"""Of the shipped weights, which never saw dropout in the decoder."""

SMALLEST_ML = 1.0
"""A tumour that is expected to be smaller counts as so large, or a study without one would be the most uncertain."""

_SLICES_A_PASS = 16
_EPS = 1e-6


@dataclass(frozen=True, eq=False)
class Signals:
    """Of one study.

    Args:
        uncertainty: what the answers with dropout disagree about: mutual information (Houlsby et al. 2011) of mask and
            network, bits for each voxel of the tumour that they expect, and that of the study's class, bits.
        consistency: TIM's own error: mean absolute difference of the regression head's curve and the curve that the
            segmentation implies, normalised intensity.
        features: ``(K,)`` the deepest fused maps where the tumour is suspected.
    """

    uncertainty: float
    consistency: float
    features: np.ndarray


def measure(
    network: MTINet,
    image: Tensor,
    available: Tensor,
    times_s: Tensor,
    *,
    voxel_ml: float,
    samples: int = SAMPLES,
    injected: float = INJECTED_DROPOUT,
) -> Signals:
    """The signals of one study.

    Args:
        network: in eval mode, with all three tasks.
        image: ``(S, 4, H, W)`` normalised slices on the network grid, zero where a phase is absent.
        available: ``(4,)`` bool.
        times_s: ``(4,)`` seconds.
        voxel_ml: volume that a pixel of a slice stands for.
        samples: answers with dropout.
        injected: as of ``sampling.draw``.
    """
    tumour, regression, deepest = _answer(network, image, available, times_s)
    suspected = suspicion(tumour)
    area = suspected.sum(dim=(1, 2))
    chosen = tumour.amax(dim=(1, 2)).topk(min(SAMPLED_SLICES, len(image))).indices
    sampled = draw(
        network,
        image[chosen],
        available.expand(len(chosen), -1),
        times_s.expand(len(chosen), -1),
        samples=samples,
        injected=injected,
    )
    return Signals(
        uncertainty=mask_uncertainty(sampled.tumour, voxel_ml) + class_uncertainty(sampled.classes, area[chosen]),
        consistency=disagreement(suspected, image, regression, available),
        features=describe(deepest, suspected).numpy(),
    )


def suspicion(tumour: Tensor) -> Tensor:
    """Probabilities ``(S, H, W)`` of at least half the study's largest, 0 elsewhere; never all 0."""
    return torch.where(tumour >= 0.5 * tumour.max(), tumour, torch.zeros_like(tumour))


def mask_uncertainty(tumour: Tensor, voxel_ml: float) -> float:
    """Mutual information of mask and network over the expected tumour, bits a voxel; ``tumour (T, S, H, W)``.

    Dice is an error for each voxel of the tumour, too. The sum alone, or its largest part, follows the tumour's size,
    and large tumours are found best: that ranks studies the wrong way round (``signal_quality.py`` measures it).
    """
    expected = tumour.mean(dim=0)
    information = (_entropy(expected) - _entropy(tumour).mean(dim=0)).sum()
    return float((information / expected.sum().clamp(min=SMALLEST_ML / voxel_ml)).clamp(min=0.0))


def class_uncertainty(classes: Tensor, area: Tensor) -> float:
    """Mutual information of the study's class and the network, bits.

    Args:
        classes: ``(T, S, 2)`` probabilities.
        area: ``(S,)`` suspected tumour of each slice, which weighs them.
    """
    second = (classes[..., 1] * area).sum(dim=1) / area.sum().clamp(min=_EPS)
    return float((_entropy(second.mean()) - _entropy(second).mean()).clamp(min=0.0))


def disagreement(suspected: Tensor, image: Tensor, regression: Tensor, available: Tensor) -> float:
    """Mean absolute difference of head and mask over the available phases, slices weighed by suspected area."""
    area = suspected.sum(dim=(1, 2))
    implied = (suspected[:, None] * image).sum(dim=(2, 3)) / area.clamp(min=_EPS)[:, None]
    difference = (implied - regression).abs()[:, available].mean(dim=1)
    return float((difference * area).sum() / area.sum().clamp(min=_EPS))


def describe(deepest: Tensor, suspected: Tensor) -> Tensor:
    """``(K,)`` the mean of ``(S, K, h, w)`` where the tumour is suspected, ``(S, H, W)``."""
    weight = torch.nn.functional.adaptive_avg_pool2d(suspected[:, None], deepest.shape[2:])
    return (deepest * weight).sum(dim=(0, 2, 3)) / weight.sum().clamp(min=_EPS)


def _answer(network: MTINet, image: Tensor, available: Tensor, times_s: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Without dropout: probability ``(S, H, W)``, the head's curve ``(S, 4)``, the deepest maps ``(S, K, h, w)``."""
    parts = []
    with torch.inference_mode():
        for slices in image.split(_SLICES_A_PASS):
            maps = network.encoder(slices)
            count = len(slices)
            heads = network.head(maps, slices, available.expand(count, -1), times_s.expand(count, -1))
            parts.append((network.decoder(maps).float().sigmoid()[:, 0], heads["regression"], maps[-1].float()))
    tumour, regression, deepest = (torch.cat(part) for part in zip(*parts, strict=True))
    return tumour, regression, deepest


def _entropy(probability: Tensor) -> Tensor:
    """Of a yes-or-no variable, bits."""
    p = probability.clamp(_EPS, 1.0 - _EPS)
    return -(p * p.log2() + (1.0 - p) * (1.0 - p).log2())
