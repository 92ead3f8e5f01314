"""The encoder: four blocks of convolution, batch normalisation, ReLU and max-pooling, run on every phase."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.networks.layers.factories import Pool
from torch import Tensor, nn

from ..domain.phases import PHASES
from .convolution import convolution, with_norm_and_relu


class PhaseConvolution(nn.Module):
    """A convolution shared by the phases that tells them apart by a learned embedding.

    Phases are folded into the batch, phase fastest: ``(B * 4, C, *S)``.
    """

    def __init__(self, out_channels: int, *, spatial_dims: int) -> None:
        super().__init__()
        self.conv = convolution(1, out_channels, spatial_dims=spatial_dims, bias=False)
        self.embedding = nn.Parameter(0.02 * torch.randn(len(PHASES), out_channels, *(1,) * spatial_dims))

    def forward(self, phases: Tensor) -> Tensor:
        """``(B * 4, 1, *S)`` to ``(B * 4, C, *S)``."""
        # By a view, not by as many copies of the embedding as there are slices: exported networks take any batch.
        by_phase = self.conv(phases).unflatten(0, [-1, self.embedding.shape[0]])
        return (by_phase + self.embedding).flatten(0, 1)


class Encoder(nn.Module):
    """Four blocks of (Conv 3x3, BN, ReLU, MaxPool), the paper's encoder, on images of one channel.

    Args:
        widths: channels of the four blocks.
        convs_per_block: convolutions before each pooling; 1 is the paper's text.
        spatial_dims: 2 or 3.
        phase_embedding: whether the batch holds the four phases folded, to be told apart.
    """

    def __init__(
        self, widths: Sequence[int], *, convs_per_block: int = 1, spatial_dims: int = 2, phase_embedding: bool = True
    ) -> None:
        super().__init__()
        blocks = []
        in_channels = 1
        for width in widths:
            units = []
            for _ in range(convs_per_block):
                if in_channels == 1 and phase_embedding:
                    operation: nn.Module = PhaseConvolution(width, spatial_dims=spatial_dims)
                else:
                    operation = convolution(in_channels, width, spatial_dims=spatial_dims, bias=False)
                units.append(with_norm_and_relu(operation, width, spatial_dims=spatial_dims))
                in_channels = width
            blocks.append(nn.Sequential(*units))
        self.blocks = nn.ModuleList(blocks)
        self.pool = Pool[Pool.MAX, spatial_dims](2)

    def forward(self, phases: Tensor) -> list[Tensor]:
        """Maps of every level.

        Args:
            phases: ``(N, 1, *S)``.

        Returns:
            Five maps ``(N, C, *S / stride)``: before each pooling (strides 1, 2, 4, 8), and the last, pooled (16).
        """
        maps: list[Tensor] = []
        for block in self.blocks:
            phases = block(phases)
            maps.append(phases)
            phases = self.pool(phases)
        maps.append(phases)
        return maps


class SeparateEncoders(nn.Module):
    """One encoder a phase (``share_encoder=False``), with the interface of one shared ``Encoder``."""

    def __init__(self, widths: Sequence[int], *, convs_per_block: int = 1, spatial_dims: int = 2) -> None:
        super().__init__()
        self.encoders = nn.ModuleList(
            Encoder(widths, convs_per_block=convs_per_block, spatial_dims=spatial_dims, phase_embedding=False)
            for _ in PHASES
        )

    def forward(self, phases: Tensor) -> list[Tensor]:
        """``(B * 4, 1, *S)`` to the five maps ``(B * 4, C, *S / stride)``, as ``Encoder.forward``."""
        by_phase = phases.unflatten(0, [-1, len(self.encoders)])
        maps: list[list[Tensor]] = []
        for phase, encoder in enumerate(self.encoders):
            maps.append(encoder(by_phase[:, phase]))
        return [
            torch.stack([of_phase[level] for of_phase in maps], dim=1).flatten(0, 1) for level in range(len(maps[0]))
        ]


def make_encoder(
    widths: Sequence[int], *, share_encoder: bool, convs_per_block: int, spatial_dims: int
) -> Encoder | SeparateEncoders:
    """The encoder of one domain: shared by the phases, or one each."""
    if share_encoder:
        return Encoder(widths, convs_per_block=convs_per_block, spatial_dims=spatial_dims)
    return SeparateEncoders(widths, convs_per_block=convs_per_block, spatial_dims=spatial_dims)
