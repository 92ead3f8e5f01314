"""MedNeXt (Roy et al., MICCAI 2023) from MONAI, in 2D; the phases are channels."""

from __future__ import annotations

from monai.networks.nets.mednext import create_mednext
from torch import Tensor

from ...domain.errors import ConfigurationError
from ...domain.phases import PHASES
from ..slice_network import SliceNetwork

VARIANTS = ("S", "B", "M", "L")


class MedNeXt(SliceNetwork):
    """A U-shaped network of ConvNeXt blocks, with residual up- and down-sampling.

    Args:
        variant: the paper's sizes ``S``, ``B``, ``M``, ``L``: 5.6, 10.5, 17.6, 61.8 M parameters with kernels of 3 in
            3D; B has 10.4 M in 2D, where only the depth-wise kernels are smaller.
        kernel_size: of the depth-wise convolutions, 3 or 5 in the paper.
        spatial_dims: 2, or 3 to compare the size with the paper's.

    Raises:
        ConfigurationError: unknown variant.
    """

    def __init__(self, *, variant: str = "B", kernel_size: int = 3, spatial_dims: int = 2) -> None:
        if variant not in VARIANTS:
            msg = f"variant must be one of {VARIANTS}; got {variant!r}."
            raise ConfigurationError(msg)
        super().__init__(spatial_dims=spatial_dims, stride=16)
        self.mednext = create_mednext(
            variant, spatial_dims=spatial_dims, in_channels=len(PHASES), out_channels=1, kernel_size=kernel_size
        )

    def forward(
        self, image: Tensor, available: Tensor | None = None, times_s: Tensor | None = None
    ) -> dict[str, Tensor]:
        """``segmentation`` logits ``(B, 1, *S)`` of an image ``(B, 4, *S)``."""
        image, _, _ = self.complete(image, available, times_s)
        return {"segmentation": self.mednext(image)}
