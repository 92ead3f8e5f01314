"""The convolution units that encoders, decoders and the locator are made of."""

from __future__ import annotations

from monai.networks.layers.factories import Conv, Norm
from torch import nn


def convolution(
    in_channels: int, out_channels: int, *, spatial_dims: int, kernel_size: int = 3, bias: bool = True
) -> nn.Module:
    """A convolution that keeps the map's size; ``kernel_size`` is odd."""
    return Conv[Conv.CONV, spatial_dims](in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=bias)


def with_norm_and_relu(operation: nn.Module, channels: int, *, spatial_dims: int) -> nn.Sequential:
    """``operation``, batch normalisation, ReLU.

    The order (operation, norm, relu) of the sequence is what ``inference.fold_batch_norm`` relies on.
    """
    return nn.Sequential(operation, Norm[Norm.BATCH, spatial_dims](channels), nn.ReLU(inplace=True))


def double_convolution(in_channels: int, out_channels: int, *, spatial_dims: int) -> nn.Sequential:
    """Twice a 3x3 convolution, batch normalisation, ReLU: a level of a UNet."""
    units = []
    for channels in (in_channels, out_channels):
        operation = convolution(channels, out_channels, spatial_dims=spatial_dims, bias=False)
        units.append(with_norm_and_relu(operation, out_channels, spatial_dims=spatial_dims))
    return nn.Sequential(*units)


def deconvolution(in_channels: int, out_channels: int, *, spatial_dims: int, kernel_size: int) -> nn.Module:
    """A transposed convolution that doubles the map's size; ``kernel_size`` is even."""
    return Conv[Conv.CONVTRANS, spatial_dims](
        in_channels, out_channels, kernel_size, stride=2, padding=kernel_size // 2 - 1, bias=False
    )
