"""CMU-Net: a U-Net whose encoder also says whether the organ is in the slice."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..domain.errors import ConfigurationError
from ..domain.phases import PHASES, REFERENCE_PHASE
from ..networks.slice_network import SliceNetwork


class CMUNet(SliceNetwork):
    """The context-aware multi-task U-Net of Moseley, Wang and Imran; its baselines differ in their training only.

    Five encoder blocks of two (convolution, leaky ReLU, instance norm) and a max-pooling; five decoder blocks, each
    followed by up-sampling and the concatenation of the encoder's maps of that size; a 1x1 convolution. Global average
    pooling of the encoder's output and one linear layer say whether the organ is in the slice (section 2 there).

    ``forward`` returns ``segmentation (B, 1, H, W)`` logits of the organ and ``organ (B, 1)``, the logit of its
    presence in the slice.

    Args:
        widths: channels of the encoder blocks; the decoder mirrors them.
        phases: which of the four phases it sees, each one channel. The paper's CT has one.

    Raises:
        ConfigurationError: an unknown phase, or none.
    """

    def __init__(
        self, *, widths: Sequence[int] = (16, 32, 64, 128, 256), phases: Sequence[str] = (REFERENCE_PHASE,)
    ) -> None:
        if not phases or not set(phases) <= set(PHASES):
            msg = f"phases is {list(phases)}; give one or more of {', '.join(PHASES)}"
            raise ConfigurationError(msg)
        super().__init__(stride=2 ** len(widths))
        self.seen = [PHASES.index(phase) for phase in phases]
        inputs = (len(phases), *widths[:-1])
        self.encoder = nn.ModuleList(_two_convolutions(i, o) for i, o in zip(inputs, widths, strict=True))
        self.organ = nn.Linear(widths[-1], 1)
        # From the second block on, what a block gets is the block before it beside the encoder's maps of that size.
        mirrored = tuple(reversed(widths))
        inputs = (mirrored[0], *(2 * width for width in mirrored[:-1]))
        self.decoder = nn.ModuleList(_two_convolutions(i, o) for i, o in zip(inputs, mirrored, strict=True))
        self.segment = nn.Conv2d(2 * mirrored[-1], 1, kernel_size=1)

    def forward(self, image: Tensor, available: Tensor | None = None, times_s: Tensor | None = None) -> dict:
        """Slices ``(B, 4, H, W)`` to logits; H and W divisible by 32 and above it.

        Raises:
            ConfigurationError: an image of another shape.
        """
        image, _, _ = self.complete(image, available, times_s)
        if min(image.shape[2:]) <= self.stride:
            msg = f"Image has sizes {list(image.shape[2:])}: its deepest map would be one pixel. Give 64 or more."
            raise ConfigurationError(msg)
        maps, skips = image[:, self.seen], []
        for block in self.encoder:
            skips.append(block(maps))
            maps = F.max_pool2d(skips[-1], 2)
        organ = self.organ(maps.mean(dim=(2, 3)))
        for block, skip in zip(self.decoder, reversed(skips), strict=True):
            maps = F.interpolate(block(maps), scale_factor=2, mode="bilinear", align_corners=False)
            maps = torch.cat([maps, skip], dim=1)
        return {"segmentation": self.segment(maps).float(), "organ": organ.float()}


def _two_convolutions(in_channels: int, out_channels: int) -> nn.Sequential:
    layers = []
    for channels in (in_channels, out_channels):
        layers += [
            nn.Conv2d(channels, out_channels, kernel_size=3, padding=1),
            nn.LeakyReLU(0.2),
            nn.InstanceNorm2d(out_channels),
        ]
    return nn.Sequential(*layers)
