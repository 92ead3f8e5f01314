"""Swin UNETR (Hatamizadeh et al., BrainLes 2021) from MONAI, in 2D; the phases are channels."""

from __future__ import annotations

from monai.networks.nets import SwinUNETR as MonaiSwinUNETR
from torch import Tensor
from torch.nn import functional as F

from ...domain.phases import PHASES
from ..slice_network import SliceNetwork

_STRIDE = 32


class SwinUNETR(SliceNetwork):
    """A Swin Transformer whose five resolutions feed a convolutional decoder.

    Images are padded with zeros to multiples of 32, at least 64: its instance normalisation needs more than one
    position on the coarsest map. Not traceable: OpenVINO mistakes the shapes around MONAI's patch merging.

    Args:
        feature_size: channels of the first level; 48 is the paper's (62 M parameters in 3D, 25 M in 2D).
        window_size: side of an attention window, in tokens.
        spatial_dims: 2, or 3 to compare the size with the paper's.
    """

    traceable = False

    def __init__(self, *, feature_size: int = 48, window_size: int = 7, spatial_dims: int = 2) -> None:
        super().__init__(spatial_dims=spatial_dims, stride=1)
        self.swin_unetr = MonaiSwinUNETR(
            in_channels=len(PHASES),
            out_channels=1,
            feature_size=feature_size,
            window_size=window_size,
            spatial_dims=spatial_dims,
        )

    def forward(
        self, image: Tensor, available: Tensor | None = None, times_s: Tensor | None = None
    ) -> dict[str, Tensor]:
        """``segmentation`` logits ``(B, 1, *S)`` of an image ``(B, 4, *S)``."""
        image, _, _ = self.complete(image, available, times_s)
        sizes = image.shape[2:]
        missing = [max(-size % _STRIDE, 2 * _STRIDE - size) for size in sizes]
        # F.pad lists the last axis first.
        padding = [amount for missing_there in reversed(missing) for amount in (0, missing_there)]
        logits = self.swin_unetr(F.pad(image, padding))
        for axis, size in enumerate(sizes, start=2):
            logits = logits.narrow(axis, 0, size)
        return {"segmentation": logits}
