"""TransUNet (Chen et al., arXiv 2102.04306) from timm's parts, all weights random; the phases are channels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from timm.layers import StdConv2d
from timm.models.resnetv2 import ResNetV2
from timm.models.vision_transformer import Block
from torch import Tensor, nn
from torch.nn import functional as F

from ...domain.phases import PHASES
from ..convolution import convolution, double_convolution, with_norm_and_relu
from ..slice_network import SliceNetwork

_STAGE_CHANNELS = (256, 512, 1024)
_STEM_CHANNELS = 64


class PatchTransformer(nn.Module):
    """ViT on a map, one token a position: learned position embeddings, pre-norm blocks, a last norm.

    Args:
        in_channels: of the map.
        dim: of the tokens.
        depth: number of blocks.
        heads: of the attention.
        mlp_dim: of the feed-forward layers.
        dropout: of embeddings, projections and feed-forward layers.
        grid: height and width of the position embeddings; maps of another size get them interpolated.
    """

    def __init__(
        self, in_channels: int, *, dim: int, depth: int, heads: int, mlp_dim: int, dropout: float, grid: int
    ) -> None:
        super().__init__()
        self.project = nn.Conv2d(in_channels, dim, 1)
        self.positions = nn.Parameter(torch.zeros(1, dim, grid, grid))
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.Sequential(
            *(Block(dim, heads, mlp_ratio=mlp_dim / dim, qkv_bias=True, proj_drop=dropout) for _ in range(depth))
        )
        self.norm = nn.LayerNorm(dim, eps=1e-6)

    def forward(self, maps: Tensor) -> Tensor:
        """``(B, C, h, w)`` to ``(B, dim, h, w)``."""
        maps = self.project(maps)
        tokens = (maps + self._positions_on(maps.shape[2:])).flatten(2).transpose(1, 2)
        tokens = self.norm(self.blocks(self.dropout(tokens)))
        return tokens.transpose(1, 2).unflatten(2, list(maps.shape[2:]))

    def _positions_on(self, size: Sequence[int]) -> Tensor:
        if list(size) == list(self.positions.shape[2:]):
            return self.positions
        return F.interpolate(self.positions, size=list(size), mode="bicubic", align_corners=False)


class TransUNet(SliceNetwork):
    """Three ResNet-50 stages, ViT-B on their 1/16 map, and a decoder with the stages' maps as skips; 105 M parameters.

    The paper starts from ImageNet weights of the encoder; here all start at random, as those of every compared system.
    Not traceable: at a fixed batch OpenVINO 2026.4 crashes over a stage of several of timm's bottlenecks.

    Args:
        layers: residual blocks of the three stages.
        dim: of the tokens.
        depth: Transformer blocks.
        heads: of the attention.
        mlp_dim: of the feed-forward layers.
        dropout: in the Transformer.
        decoder_widths: channels of the four decoder levels.
        position_grid: side of the position embeddings' grid; 16 fits images of 256x256.
    """

    traceable = False

    def __init__(
        self,
        *,
        layers: Sequence[int] = (3, 4, 9),
        dim: int = 768,
        depth: int = 12,
        heads: int = 12,
        mlp_dim: int = 3072,
        dropout: float = 0.1,
        decoder_widths: Sequence[int] = (256, 128, 64, 16),
        position_grid: int = 16,
    ) -> None:
        super().__init__(stride=16)
        self.encoder = ResNetV2(
            layers=list(layers),
            channels=_STAGE_CHANNELS,
            stem_chs=_STEM_CHANNELS,
            num_classes=0,
            in_chans=len(PHASES),
            global_pool="",
            preact=False,
            conv_layer=StdConv2d,
        )
        self.transformer = PatchTransformer(
            _STAGE_CHANNELS[-1],
            dim=dim,
            depth=depth,
            heads=heads,
            mlp_dim=mlp_dim,
            dropout=dropout,
            grid=position_grid,
        )
        bottleneck = 2 * decoder_widths[0]
        self.narrow = with_norm_and_relu(
            convolution(dim, bottleneck, spatial_dims=2, bias=False), bottleneck, spatial_dims=2
        )
        skips = (_STAGE_CHANNELS[1], _STAGE_CHANNELS[0], _STEM_CHANNELS, 0)
        inputs = (bottleneck, *decoder_widths[:-1])
        self.decoder = nn.ModuleList(
            double_convolution(channels + skip, width, spatial_dims=2)
            for channels, skip, width in zip(inputs, skips, decoder_widths, strict=True)
        )
        self.segmentation = nn.Conv2d(decoder_widths[-1], 1, 3, padding=1)

    def forward(
        self, image: Tensor, available: Tensor | None = None, times_s: Tensor | None = None
    ) -> dict[str, Tensor]:
        """``segmentation`` logits ``(B, 1, H, W)`` of an image ``(B, 4, H, W)``."""
        image, _, _ = self.complete(image, available, times_s)
        # Maps at 1/2 (the stem's, before its pooling), 1/4, 1/8 and 1/16.
        *skips, maps = self.encoder.forward_intermediates(image, intermediates_only=True)
        maps = self.narrow(self.transformer(maps))
        for block in self.decoder:
            maps = F.interpolate(maps, scale_factor=2.0, mode="bilinear", align_corners=True)
            maps = block(torch.cat([maps, skips.pop()], dim=1) if skips else maps)
        return {"segmentation": self.segmentation(maps)}
