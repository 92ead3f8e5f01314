"""UNet (Ronneberger et al., MICCAI 2015): MONAI's ``BasicUNet`` with the original widths; the phases are channels."""

from __future__ import annotations

from collections.abc import Sequence

from monai.networks.nets import BasicUNet
from torch import Tensor

from ...domain.phases import PHASES
from ..slice_network import SliceNetwork


class UNet(SliceNetwork):
    """Five levels of two 3x3 convolutions, max-pooling down, transposed convolutions up, concatenated skips.

    31.1 M parameters; 51 G multiply-adds at 256x256, 3 G more than the original, as MONAI's last level does not halve
    its channels on the way up. Instance normalisation and leaky ReLU are MONAI's, too.

    Args:
        widths: channels of the five levels.
    """

    def __init__(self, *, widths: Sequence[int] = (64, 128, 256, 512, 1024)) -> None:
        super().__init__(stride=2 ** (len(widths) - 1))
        features = (*widths, widths[0])
        self.unet = BasicUNet(spatial_dims=2, in_channels=len(PHASES), out_channels=1, features=features)

    def forward(
        self, image: Tensor, available: Tensor | None = None, times_s: Tensor | None = None
    ) -> dict[str, Tensor]:
        """``segmentation`` logits ``(B, 1, H, W)`` of an image ``(B, 4, H, W)``."""
        image, _, _ = self.complete(image, available, times_s)
        return {"segmentation": self.unet(image)}
