"""The segmentation decoder: four blocks of deconvolution, batch normalisation and ReLU, with or without skips."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.networks.layers.factories import Dropout
from torch import Tensor, nn

from ..domain.phases import PHASES
from .convolution import convolution, deconvolution, with_norm_and_relu


class Decoder(nn.Module):
    """From the four phases' deepest fused maps, concatenated, to one tumour logit a pixel.

    Each block doubles the map and leaves half the width of the level that it reaches. With skips, each block also
    takes the *fused* map of its level (never the spatial one, which would leak into "No Spa"): a 1x1 convolution
    reduces the phases' maps to the block's width, and a 3x3 convolution, BN and ReLU merge both.

    Args:
        widths: the encoder's widths.
        skips: whether fused maps of the upper levels are used.
        dropout: of whole channels of the deepest map, the bottleneck; what ``sampling`` draws from.
        spatial_dims: 2 or 3.
    """

    def __init__(self, widths: Sequence[int], *, skips: bool, dropout: float = 0.0, spatial_dims: int = 2) -> None:
        super().__init__()
        self.dropout = Dropout[Dropout.DROPOUT, spatial_dims](dropout)
        outs = [width // 2 for width in reversed(widths)]
        ins = [len(PHASES) * widths[-1], *outs[:-1]]
        # Without skips nothing but an overlapping kernel lets neighbours agree; with them the 3x3 convolution does.
        kernel_size = 2 if skips else 4
        self.up = nn.ModuleList(
            with_norm_and_relu(
                deconvolution(a, b, spatial_dims=spatial_dims, kernel_size=kernel_size), b, spatial_dims=spatial_dims
            )
            for a, b in zip(ins, outs, strict=True)
        )
        self.reduce = nn.ModuleList()
        self.merge = nn.ModuleList()
        if skips:
            for level_width, out in zip(reversed(widths), outs, strict=True):
                phases = len(PHASES) * level_width
                self.reduce.append(convolution(phases, out, spatial_dims=spatial_dims, kernel_size=1))
                merge = convolution(2 * out, out, spatial_dims=spatial_dims, bias=False)
                self.merge.append(with_norm_and_relu(merge, out, spatial_dims=spatial_dims))
        self.logit = convolution(outs[-1], 1, spatial_dims=spatial_dims, kernel_size=1)
        # Tumour pixels are rare: starting from a probability of 0.1 spares the first hundreds of steps.
        nn.init.constant_(self.logit.bias, -2.2)

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Logits ``(B, 1, *S)``.

        Args:
            maps: fused maps ``(B, 4 C, *S / stride)`` in the order of the encoder; without skips only the last is read.
        """
        x = self.dropout(maps[-1])
        if len(self.merge) == 0:
            for up in self.up:
                x = up(x)
        else:
            for block, (up, reduce, merge) in enumerate(zip(self.up, self.reduce, self.merge, strict=True)):
                x = merge(torch.cat([up(x), reduce(maps[-2 - block])], dim=1))
        return self.logit(x)
