"""ResUNet++ (Jha et al., IEEE ISM 2019), written from its paper; the phases are channels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ...domain.phases import PHASES
from ..slice_network import SliceNetwork

ATROUS_RATES = (1, 6, 12, 18)


def _norm_relu_conv(in_channels: int, out_channels: int, stride: int = 1) -> list[nn.Module]:
    """Pre-activation: the normalisation comes before the convolution."""
    convolution = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1)
    return [nn.BatchNorm2d(in_channels), nn.ReLU(), convolution]


class SqueezeExcite(nn.Module):
    """Weights of the channels from their means, by a bottleneck of 1/8."""

    def __init__(self, channels: int, *, ratio: int = 8) -> None:
        super().__init__()
        self.weights = nn.Sequential(
            nn.Linear(channels, channels // ratio, bias=False),
            nn.ReLU(),
            nn.Linear(channels // ratio, channels, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, maps: Tensor) -> Tensor:
        """``(B, C, H, W)`` to the same."""
        return maps * self.weights(maps.mean(dim=(2, 3)))[:, :, None, None]


class ResidualBlock(nn.Module):
    """Two convolutions and a 1x1 shortcut, summed, then squeeze-excite.

    Args:
        in_channels: of the input.
        out_channels: of the output.
        stride: of the first convolution and the shortcut.
        stem: the network's first block: the image is not normalised and activated before its first convolution.
    """

    def __init__(self, in_channels: int, out_channels: int, *, stride: int = 1, stem: bool = False) -> None:
        super().__init__()
        first = _norm_relu_conv(in_channels, out_channels, stride)
        self.convolutions = nn.Sequential(*(first[2:] if stem else first), *_norm_relu_conv(out_channels, out_channels))
        self.shortcut = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 1, stride=stride), nn.BatchNorm2d(out_channels)
        )
        self.excite = SqueezeExcite(out_channels)

    def forward(self, maps: Tensor) -> Tensor:
        """``(B, C, H, W)`` to ``(B, C', H / stride, W / stride)``."""
        return self.excite(self.convolutions(maps) + self.shortcut(maps))


class AtrousPyramid(nn.Module):
    """ASPP: 3x3 convolutions of dilation 1, 6, 12 and 18, each normalised, summed, then 1x1."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 3, padding=rate, dilation=rate), nn.BatchNorm2d(out_channels)
            )
            for rate in ATROUS_RATES
        )
        self.mix = nn.Conv2d(out_channels, out_channels, 1)

    def forward(self, maps: Tensor) -> Tensor:
        """``(B, C, H, W)`` to ``(B, C', H, W)``."""
        return self.mix(sum(branch(maps) for branch in self.branches))


class AttentionGate(nn.Module):
    """The deeper map, multiplied by what it and the encoder's map agree on.

    ``deep * conv(relu(bn(pool(conv(relu(bn(skip)))) + conv(relu(bn(deep))))))``; there is no sigmoid in it.
    """

    def __init__(self, skip_channels: int, channels: int) -> None:
        super().__init__()
        self.of_skip = nn.Sequential(*_norm_relu_conv(skip_channels, channels), nn.MaxPool2d(2))
        self.of_deep = nn.Sequential(*_norm_relu_conv(channels, channels))
        self.attention = nn.Sequential(*_norm_relu_conv(channels, channels))

    def forward(self, skip: Tensor, deep: Tensor) -> Tensor:
        """``skip (B, C, 2H, 2W)``, ``deep (B, C', H, W)``; returns ``(B, C', H, W)``."""
        return deep * self.attention(self.of_skip(skip) + self.of_deep(deep))


class DecoderBlock(nn.Module):
    """Attention gate, nearest up-sampling, concatenated skip, residual block."""

    def __init__(self, skip_channels: int, channels: int, out_channels: int) -> None:
        super().__init__()
        self.gate = AttentionGate(skip_channels, channels)
        self.up = nn.Upsample(scale_factor=2)
        self.block = ResidualBlock(channels + skip_channels, out_channels)

    def forward(self, skip: Tensor, deep: Tensor) -> Tensor:
        """``skip (B, C, 2H, 2W)``, ``deep (B, C', H, W)``; returns ``(B, C'', 2H, 2W)``."""
        return self.block(torch.cat([self.up(self.gate(skip, deep)), skip], dim=1))


class ResUNetPlusPlus(SliceNetwork):
    """Residual stem, three residual blocks of stride 2, ASPP, three gated decoder blocks, ASPP, 1x1; 4.1 M parameters.

    Args:
        widths: filters of the stem, of the three blocks and of the bridge.
    """

    def __init__(self, *, widths: Sequence[int] = (16, 32, 64, 128, 256)) -> None:
        super().__init__(stride=8)
        first, second, third, fourth, bridge = widths
        self.stem = ResidualBlock(len(PHASES), first, stem=True)
        self.encoder = nn.ModuleList(
            [
                ResidualBlock(first, second, stride=2),
                ResidualBlock(second, third, stride=2),
                ResidualBlock(third, fourth, stride=2),
            ]
        )
        self.bridge = AtrousPyramid(fourth, bridge)
        self.decoder = nn.ModuleList(
            [
                DecoderBlock(third, bridge, fourth),
                DecoderBlock(second, fourth, third),
                DecoderBlock(first, third, second),
            ]
        )
        self.segmentation = nn.Sequential(AtrousPyramid(second, first), nn.Conv2d(first, 1, 1))

    def forward(
        self, image: Tensor, available: Tensor | None = None, times_s: Tensor | None = None
    ) -> dict[str, Tensor]:
        """``segmentation`` logits ``(B, 1, H, W)`` of an image ``(B, 4, H, W)``."""
        image, _, _ = self.complete(image, available, times_s)
        maps = [self.stem(image)]
        for block in self.encoder:
            maps.append(block(maps[-1]))
        deep = self.bridge(maps.pop())
        for block in self.decoder:
            deep = block(maps.pop(), deep)
        return {"segmentation": self.segmentation(deep)}
