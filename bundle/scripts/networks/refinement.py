"""The refinement network: a small 3D U-Net that corrects a tumour probability around a reader's clicks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..domain.errors import ConfigurationError
from ..domain.phases import PHASES

GUIDANCE = ("near lesion", "near none", "like lesion", "like none")
"""How near each pixel lies to a click that says lesion or none, and how much it looks like the tissue there."""

CHANNELS = len(PHASES) + 1 + len(GUIDANCE)
"""The four phases, the probability so far, the guidance."""

_IN_PLANE, _ALL = (1, 3, 3), (3, 3, 3)
_HALVED_IN_PLANE, _HALVED = (1, 2, 2), (2, 2, 2)
_RULE = 8.0
"""Of the rule at a click: enough to turn any probability."""

_LEAK = 0.1
_GROUPS = 4
_LOGIT_SCALE = 4.0
"""Brings the logit among the other channels' values: small probabilities tell apart what is almost a lesion."""
_LEAST = 0.01
"""Probabilities are taken no closer to 0 and 1, or no correction could turn them."""


class RefinementNet(nn.Module):
    """Phases, probability and guidance of a patch in; the logit of the corrected probability out.

    What is added to the probability's logit is a plain rule, much near a click and where it looks alike, plus what the
    network learns, which starts at nothing: an untrained one follows the rule. Where the nearest click says lesion,
    the sum only raises, and where it says none, only lowers: a click never does the opposite of what it says (in
    training a tenth of it passes, or nothing would be learnt there). Without clicks, as with a rough mask, it does
    both.

    Slices are thicker than pixels are wide, so the upper level looks within slices only and is halved in-plane only.
    Groups are normalised, not batches: a patch must mean the same alone as among others. ``(16, 32, 64)`` has 0.28
    million parameters.

    Args:
        widths: channels of the three levels, each divisible by 4.

    Raises:
        ConfigurationError: not three such widths.
    """

    def __init__(self, widths: Sequence[int] = (16, 32, 64)) -> None:
        super().__init__()
        if len(widths) != 3 or any(width < 1 or width % _GROUPS for width in widths):
            msg = f"widths holds the channels of three levels, each divisible by {_GROUPS}; got {tuple(widths)}."
            raise ConfigurationError(msg)
        upper, middle, lower = widths
        self.down = nn.ModuleList(
            [
                _pair(CHANNELS, upper, _IN_PLANE, _IN_PLANE),
                _pair(upper, middle, _IN_PLANE, _ALL),
                _pair(middle, lower, _ALL, _ALL),
            ]
        )
        self.enlarge = nn.ModuleList(
            [
                nn.ConvTranspose3d(lower, middle, _HALVED, _HALVED),
                nn.ConvTranspose3d(middle, upper, _HALVED_IN_PLANE, _HALVED_IN_PLANE),
            ]
        )
        self.merge = nn.ModuleList(
            [_pair(2 * middle, middle, _IN_PLANE, _ALL), _pair(2 * upper, upper, _ALL, _IN_PLANE)]
        )
        self.change = nn.Conv3d(upper, 1, 1)
        nn.init.zeros_(self.change.weight)
        nn.init.zeros_(self.change.bias)

    def forward(self, patch: Tensor) -> Tensor:
        """Corrected logits ``(B, 1, S, H, W)`` float32.

        Args:
            patch: ``(B, 9, S, H, W)``: phases normalised, probability, ``GUIDANCE``; ``S`` divisible by 2, ``H`` and
                ``W`` by 4.

        Raises:
            ConfigurationError: a patch of another shape.
        """
        _check(patch)
        phases, probability, guidance = patch.float().split((len(PHASES), 1, len(GUIDANCE)), dim=1)
        logit = torch.logit(probability, eps=_LEAST)
        top = self.down[0](torch.cat([phases, logit / _LOGIT_SCALE, guidance], dim=1))
        middle = self.down[1](F.max_pool3d(top, _HALVED_IN_PLANE))
        bottom = self.down[2](F.max_pool3d(middle, _HALVED))
        x = self.merge[0](torch.cat([self.enlarge[0](bottom), middle], dim=1))
        x = self.merge[1](torch.cat([self.enlarge[1](x), top], dim=1))
        near_lesion, near_none, like_lesion, like_none = guidance.split(1, dim=1)
        rule = _RULE * (_closeness(near_lesion, like_lesion) - _closeness(near_none, like_none))
        change = rule + self.change(x).float()
        # Both kinds of nearness fall with the distance alike, so the larger one is that of the nearest click.
        sign = torch.sign(near_lesion - near_none)
        leak = _LEAK if self.training else 0.0
        return logit + torch.where(sign == 0, change, sign * F.leaky_relu(sign * change, leak))


def _closeness(near: Tensor, like: Tensor) -> Tensor:
    return near * like.sqrt()


def _pair(in_channels: int, out_channels: int, first: tuple[int, ...], second: tuple[int, ...]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels, kernel in ((in_channels, first), (out_channels, second)):
        padding = tuple(k // 2 for k in kernel)
        layers += [
            nn.Conv3d(channels, out_channels, kernel, padding=padding, bias=False),
            nn.GroupNorm(_GROUPS, out_channels),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)


def _check(patch: Tensor) -> None:
    shape = tuple(patch.shape)
    if len(shape) != 5 or shape[1] != CHANNELS:
        msg = f"The patch has shape {shape}; give (patches, {CHANNELS}, slices, rows, columns)."
        raise ConfigurationError(msg)
    if shape[2] % 2 or shape[3] % 4 or shape[4] % 4:
        msg = f"The patch has sizes {shape[2:]}: slices must be divisible by 2, rows and columns by 4."
        raise ConfigurationError(msg)
