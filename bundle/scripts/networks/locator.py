"""The locator: where the tumour lies, found by the heads themselves, and what each phase looks like there.

A deviation from the paper, which averages its tokens over the whole slice. The locator never sees the decoder or its
mask, or the disagreement between heads and mask (TIM) would mean nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.networks.layers.factories import Pad, Pool
from torch import Tensor, nn
from torch.nn import functional as F

from ..domain.phases import PHASES
from .convolution import convolution

IMAGE_FEATURES = 4


class Locator(nn.Module):
    """A small feature pyramid over the fused maps, and pooling under its attention.

    Args:
        widths: the encoder's widths; maps of levels 2-4 (strides 2, 4, 8) and the pooled map (16) are used.
        channels: width of the pyramid.
        sharpness: factor on the logits that narrows the attention to the tumour's centre.
        surround: side of the box, in pixels of stride 2, whose blur spreads the attention to what lies around.
        spatial_dims: 2 or 3.
    """

    def __init__(
        self,
        widths: Sequence[int],
        *,
        channels: int = 32,
        sharpness: float = 2.0,
        surround: int = 9,
        spatial_dims: int = 2,
    ) -> None:
        super().__init__()
        level_widths = [*widths[1:], widths[-1]]
        self.spatial_dims = spatial_dims
        self.sharpness = sharpness
        self.eps = 1e-6
        self.features = IMAGE_FEATURES + sum(level_widths)
        self.lateral = nn.ModuleList(
            convolution(len(PHASES) * width, channels, spatial_dims=spatial_dims, kernel_size=1)
            for width in level_widths
        )
        self.smooth = convolution(channels, channels, spatial_dims=spatial_dims)
        self.logit = convolution(channels, 1, spatial_dims=spatial_dims, kernel_size=1)
        self.halve = Pool[Pool.AVG, spatial_dims](2)
        # Padded apart: average pooling in 3D refuses maps smaller than its kernel.
        pad = Pad[Pad.CONSTANTPAD, spatial_dims](surround // 2, 0.0)
        self.blur = nn.Sequential(pad, Pool[Pool.AVG, spatial_dims](surround, stride=1))

    def forward(self, maps: list[Tensor], image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Locate the tumour and describe every phase there.

        Args:
            maps: the five fused maps ``(B, 4 C, *S / stride)``, strides 1, 2, 4, 8, 16.
            image: ``(B, 4, *S)`` normalised.

        Returns:
            Logits ``(B, 1, *S / 2)``; descriptors ``(B, 4, features)``; each phase's mean intensity where the
            attention lies ``(B, 4)``. All float32.
        """
        logits = self._locate(maps[1:]).float()
        attention = torch.softmax(logits.flatten(2), dim=-1).view_as(logits)
        mean, statistics = self._image_statistics(self.halve(image), logits, attention)
        descriptors = [statistics]
        for level, fused in enumerate(maps[1:]):
            if level > 0:
                # Halving averages, so that the sum over the map stays one after this factor.
                attention = self.halve(attention) * 2**self.spatial_dims
            descriptors.append(_pool_under(attention, fused).unflatten(1, [image.shape[1], -1]))
        return logits, torch.cat(descriptors, dim=2), mean

    def _locate(self, maps: list[Tensor]) -> Tensor:
        pyramid: list[Tensor] = []
        for level, lateral in enumerate(self.lateral):
            pyramid.append(lateral(maps[level]))
        level = len(pyramid) - 1
        x = pyramid[level]
        while level > 0:
            level -= 1
            x = pyramid[level] + F.interpolate(x, scale_factor=2.0, mode="nearest")
        return self.logit(F.relu(self.smooth(F.relu(x))))

    def _image_statistics(self, image: Tensor, logits: Tensor, attention: Tensor) -> tuple[Tensor, Tensor]:
        """Mean ``(B, 4)``, and ``(B, 4, 4)``: mean, deviation, centre and surround against the mean.

        The centre is the sharpened attention, the surround what a box blur spreads beyond it: rim enhancement and the
        contrast to the liver around are what tells the tumours apart.
        """
        image = image.float()
        cells = logits.flatten(2).shape[2]
        sharpened = torch.softmax(self.sharpness * logits.flatten(2), dim=-1).view_as(logits)
        spread = F.relu(self.blur(attention) - attention) + self.eps / cells
        surround = (spread.flatten(2) / spread.flatten(2).sum(dim=2, keepdim=True)).view_as(logits)
        mean = _pool_under(attention, image)
        variance = _pool_under(attention, image * image) - mean * mean
        deviation = torch.sqrt(F.relu(variance) + self.eps)
        centre = _pool_under(sharpened, image) - mean
        contrast = _pool_under(surround, image) - mean
        return mean, torch.stack([mean, deviation, centre, contrast], dim=2)


def _pool_under(weights: Tensor, maps: Tensor) -> Tensor:
    """Mean of ``(B, C, *S)`` under weights ``(B, 1, *S)`` that sum to one, ``(B, C)``; always in float32."""
    values, weight = maps.flatten(2).float(), weights.flatten(2).float().transpose(1, 2)
    if torch.jit.is_scripting():
        return torch.matmul(values, weight).squeeze(2)
    with torch.autocast(device_type=maps.device.type, enabled=False):
        return torch.matmul(values, weight).squeeze(2)
