"""Dempster-Shafer evidence of the phases about every pixel: discounted, combined, read as a probability.

The frame is {background, tumour}; a phase's mass function has three focal sets, in the order ``FOCAL_SETS``: either
class, and "unknown", which is the whole frame. Masses are non-negative, sum to one, and have shape ``(B, P, 3, *S)``.
"""

from __future__ import annotations

import torch
from torch import Tensor

FOCAL_SETS = ("background", "tumour", "unknown")

_EPS = 1e-6


def ignore_absent(masses: Tensor, available: Tensor) -> Tensor:
    """The vacuous mass function, all on "unknown", for phases that are not there: it is neutral in ``combine``.

    Args:
        masses: ``(B, P, 3, *S)``.
        available: ``(B, P)`` bool.
    """
    background, tumour, unknown = masses.unbind(2)
    there = available.reshape(*available.shape, *(1,) * (background.dim() - 2))
    vacuous = torch.stack([torch.zeros_like(background), torch.zeros_like(tumour), torch.ones_like(unknown)], dim=2)
    return torch.where(there.unsqueeze(2), masses, vacuous)


def discount(masses: Tensor, reliability: Tensor) -> Tensor:
    """Contextual discounting: a phase may be trusted about tumour and not about background.

    With a reliability ``β_k`` of class k, the plausibility of k becomes ``1 - β_k + β_k pl(k)`` (Mercier, Quost &
    Denoeux, Information Fusion 2008; Huang et al., MICCAI 2022). On two classes ``1 - pl(background)`` is the mass of
    tumour, so that mass is multiplied by the reliability of background, and the reverse.

    Args:
        masses: ``(B, P, 3, *S)``.
        reliability: ``(P, 2)`` in [0, 1], of background and tumour.
    """
    background, tumour, _ = masses.unbind(2)
    of_background, of_tumour = (
        of_class.reshape(-1, *(1,) * (background.dim() - 2)) for of_class in reliability.unbind(1)
    )
    background, tumour = background * of_tumour, tumour * of_background
    return torch.stack([background, tumour, 1.0 - background - tumour], dim=2)


def combine(masses: Tensor) -> Tensor:
    """Dempster's rule of combination over the phases, normalised by what does not conflict.

    Commonalities (the mass of a set and of those that hold it) multiply; in logarithms, as products of four may
    underflow.

    Args:
        masses: ``(B, P, 3, *S)``.

    Returns:
        ``(B, 3, *S)`` masses.
    """
    background, tumour, unknown = masses.unbind(2)
    commonality = torch.stack([background + unknown, tumour + unknown, unknown], dim=2)
    logarithm = commonality.clamp_min(_EPS).log().sum(dim=1)
    product = (logarithm - logarithm.amax(dim=1, keepdim=True)).exp()
    unknown = product[:, 2]
    combined = torch.stack([product[:, 0] - unknown, product[:, 1] - unknown, unknown], dim=1)
    return combined / combined.sum(dim=1, keepdim=True)


def tumour_logits(masses: Tensor) -> Tensor:
    """Logits of tumour, whose sigmoid is the normalised plausibility ``pl(tumour) / (pl(tumour) + pl(background))``.

    Args:
        masses: ``(B, 3, *S)``.

    Returns:
        ``(B, 1, *S)``; 0 where nothing is known.
    """
    background, tumour, unknown = masses.unbind(1)
    logits = (tumour + unknown).clamp_min(_EPS).log() - (background + unknown).clamp_min(_EPS).log()
    return logits.unsqueeze(1)
