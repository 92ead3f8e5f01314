"""Multi-domain fusion (MdIEF, eq. 1) and its ablations: how spatial and spectral maps become one."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ..domain.errors import ConfigurationError
from .convolution import convolution

WEIGHTINGS = ("gap_softmax", "shannon", "learned")


def global_average_pool(maps: Tensor) -> Tensor:
    """``(N, C, *S)`` to ``(N, C)`` float32."""
    return maps.mean(dim=list(range(2, maps.dim())), dtype=torch.float32)


def shannon_entropy(maps: Tensor) -> Tensor:
    """Entropy of each channel's spatially softmaxed activations over its maximum, ``(N, C, *S)`` to ``(N, C)``."""
    activations = maps.flatten(2).float()
    log_share = torch.log_softmax(activations, dim=-1)
    return -(log_share.exp() * log_share).sum(dim=-1) / math.log(activations.shape[-1])


class WeightedFusion(nn.Module):
    """MdIEF: ``X_spa (1 + gamma_spa) + X_spe (1 + gamma_spe)``, gamma a two-way softmax per channel (eq. 1).

    Args:
        channels: channels of each domain's map.
        weighting: what the softmax is taken of: ``gap_softmax`` global average pools (eq. 1 as written; no entropy),
            ``shannon`` the entropy of the activations, ``learned`` a linear map of both domains' pools.

    Raises:
        ConfigurationError: unknown weighting.
    """

    def __init__(self, channels: int, *, weighting: str = "gap_softmax") -> None:
        super().__init__()
        if weighting not in WEIGHTINGS:
            msg = f"fusion_weights must be one of {WEIGHTINGS}; got {weighting!r}."
            raise ConfigurationError(msg)
        self.weighting = weighting
        self.gate = nn.Linear(2 * channels, 2 * channels) if weighting == "learned" else None

    def weights(self, spatial: Tensor, spectral: Tensor) -> Tensor:
        """gamma of both domains, ``(2, N, C)`` float32, summing to one over the first axis."""
        if self.weighting == "shannon":
            scores = torch.stack([shannon_entropy(spatial), shannon_entropy(spectral)])
        else:
            pools = [global_average_pool(maps) for maps in (spatial, spectral)]
            if self.gate is not None:
                scores = torch.stack(self.gate(torch.cat(pools, dim=1)).float().chunk(2, dim=1))
            else:
                scores = torch.stack(pools)
        return torch.softmax(scores, dim=0)

    def forward(self, spatial: Tensor, spectral: Tensor) -> Tensor:
        """Two maps ``(N, C, *S)`` to their fusion of the same shape."""
        gain = (1.0 + self.weights(spatial, spectral)).to(spatial.dtype)
        for _ in range(spatial.dim() - 2):
            gain = gain.unsqueeze(-1)
        # In place on the product: these are the largest tensors of the network.
        return (spatial * gain[0]).addcmul_(spectral, gain[1])


class ConcatFusion(nn.Module):
    """The ablation "No MdIEF": both domains concatenated, 1x1 convolution, no gamma."""

    def __init__(self, channels: int, *, spatial_dims: int) -> None:
        super().__init__()
        self.conv = convolution(2 * channels, channels, spatial_dims=spatial_dims, kernel_size=1)

    def forward(self, spatial: Tensor, spectral: Tensor) -> Tensor:
        """Two maps ``(N, C, *S)`` to one of the same shape."""
        return self.conv(torch.cat([spatial, spectral], dim=1))


def make_fusion(channels: int, *, fusion: str, weighting: str, spatial_dims: int) -> WeightedFusion | ConcatFusion:
    """The fusion of one level: ``mdief`` or ``concat``."""
    if fusion == "concat":
        return ConcatFusion(channels, spatial_dims=spatial_dims)
    return WeightedFusion(channels, weighting=weighting)
