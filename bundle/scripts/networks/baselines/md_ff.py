"""MD-FF, in the spirit of Xu et al. 2024 (the paper compared with; DM-FF in its own words), whose code is not public.

Known of it: an attention encoder-decoder per phase, a shared-feature fusion module and a decision-evidence fusion
module. Widths and formulas are unstated; the ones here are ours.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.networks.nets.attentionunet import AttentionBlock
from torch import Tensor, nn
from torch.nn import functional as F

from ...domain.phases import PHASES
from ..convolution import convolution, deconvolution, double_convolution, with_norm_and_relu
from ..evidence import combine, ignore_absent, tumour_logits
from ..slice_network import SliceNetwork

_CLASSES = 2
"""Background and tumour."""


def subjective_masses(evidence: Tensor) -> Tensor:
    """Masses of subjective logic: ``m_k = e_k / S``, unknown ``K / S``, with ``S = Σ e + K`` (Sensoy et al., 2018).

    Args:
        evidence: ``(..., 2, H, W)``, non-negative, of background and tumour.

    Returns:
        ``(..., 3, H, W)``.
    """
    strength = evidence.sum(dim=-3, keepdim=True) + _CLASSES
    return torch.cat([evidence / strength, _CLASSES / strength], dim=-3)


class GatedLevel(nn.Module):
    """One level of a decoder: up, the skip through an attention gate (Oktay et al., 2018), two convolutions."""

    def __init__(self, deep_channels: int, channels: int) -> None:
        super().__init__()
        up = deconvolution(deep_channels, channels, spatial_dims=2, kernel_size=2)
        self.up = with_norm_and_relu(up, channels, spatial_dims=2)
        self.gate = AttentionBlock(spatial_dims=2, f_g=channels, f_l=channels, f_int=max(channels // 2, 1))
        self.block = double_convolution(2 * channels, channels, spatial_dims=2)

    def forward(self, deep: Tensor, skip: Tensor) -> Tensor:
        """``deep (B, C', H / 2, W / 2)``, ``skip (B, C, H, W)``; returns ``(B, C, H, W)``."""
        deep = self.up(deep)
        return self.block(torch.cat([self.gate(g=deep, x=skip), deep], dim=1))


class PhasePath(nn.Module):
    """Attention encoder-decoder of one phase: its image to its evidence for background and tumour.

    Args:
        widths: channels of the levels, the deepest last.
    """

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        channels = (1, *widths)
        self.encoder = nn.ModuleList(
            double_convolution(*pair, spatial_dims=2) for pair in zip(channels, widths, strict=False)
        )
        self.decoder = nn.ModuleList(
            GatedLevel(deep, shallow) for deep, shallow in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        self.evidence = nn.Conv2d(widths[0], _CLASSES, 1)

    def encode(self, phase: Tensor) -> list[Tensor]:
        """Maps of all levels of a phase ``(B, 1, H, W)``, the deepest last."""
        maps: list[Tensor] = []
        for block in self.encoder:
            phase = block(F.max_pool2d(phase, 2) if maps else phase)
            maps.append(phase)
        return maps

    def decode(self, maps: list[Tensor], deep: Tensor) -> Tensor:
        """Evidence ``(B, 2, H, W)``, non-negative.

        Args:
            maps: of ``encode``.
            deep: what takes the place of the deepest of them.
        """
        for level, skip in zip(self.decoder, maps[-2::-1], strict=True):
            deep = level(deep, skip)
        return F.softplus(self.evidence(deep).float())


class SharedFeatureFusion(nn.Module):
    """What the phases have in common, from all their deepest maps, handed back to each as far as it asks for it.

    ``f_p + gate_p * shared``, the gate by channel from the means of ``f_p`` and of ``shared``.

    Args:
        channels: of the deepest maps.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        shared = convolution(len(PHASES) * channels, channels, spatial_dims=2, kernel_size=1, bias=False)
        self.shared = with_norm_and_relu(shared, channels, spatial_dims=2)
        self.gates = nn.ModuleList(
            nn.Sequential(nn.Linear(2 * channels, channels), nn.ReLU(), nn.Linear(channels, channels), nn.Sigmoid())
            for _ in PHASES
        )

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """One map ``(B, C, h, w)`` a phase to the same."""
        shared = self.shared(torch.cat(maps, dim=1))
        common = shared.mean(dim=(2, 3))
        fused = []
        for own, gate in zip(maps, self.gates, strict=True):
            weights = gate(torch.cat([own.mean(dim=(2, 3)), common], dim=1))
            fused.append(own + weights[:, :, None, None] * shared)
        return fused


class MDFF(SliceNetwork):
    """Four attention encoder-decoders that share features at the bottom and combine their decisions as evidence.

    Decision-evidence fusion: every phase's evidence becomes a mass function, an absent phase's the vacuous one, and
    Dempster's rule combines the four.

    Args:
        widths: channels of the levels of each phase's path.
    """

    def __init__(self, *, widths: Sequence[int] = (16, 32, 64, 128, 256)) -> None:
        super().__init__(stride=2 ** (len(widths) - 1))
        self.paths = nn.ModuleList(PhasePath(widths) for _ in PHASES)
        self.share = SharedFeatureFusion(widths[-1])

    def forward(
        self, image: Tensor, available: Tensor | None = None, times_s: Tensor | None = None
    ) -> dict[str, Tensor]:
        """``segmentation`` logits ``(B, 1, H, W)`` of an image ``(B, 4, H, W)``."""
        image, available, _ = self.complete(image, available, times_s)
        maps = [path.encode(image[:, phase, None]) for phase, path in enumerate(self.paths)]
        deepest = self.share([of_phase[-1] for of_phase in maps])
        evidence = [path.decode(of_phase, deep) for path, of_phase, deep in zip(self.paths, maps, deepest, strict=True)]
        masses = subjective_masses(torch.stack(evidence, dim=1))
        return {"segmentation": tumour_logits(combine(ignore_absent(masses, available)))}
