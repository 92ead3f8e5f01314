"""A faster copy of a network for inference: batch norm folded into the convolutions, channels-last."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.utils.fusion import fuse_conv_bn_eval

from .encoder import PhaseConvolution
from .slice_network import SliceNetwork
from .spectral import HighPass

_CONVOLUTIONS = (_ConvNd, PhaseConvolution)


def inference_copy(network: SliceNetwork, *, matrix_filter: bool = False) -> SliceNetwork:
    """A copy in eval mode that computes the same within 1e-4, faster; the original is left as it is.

    Its ``state_dict`` is not that of the network: save the original.

    Args:
        network: any mode, any device.
        matrix_filter: high-pass by real matrices, for graph compilers without an FFT. In PyTorch the FFT is the
            faster one (four phases of 256x256 on one core: 2.4 ms against 4.9 ms).
    """
    fast = copy.deepcopy(network).eval().requires_grad_(False)
    _fold_batch_norm(fast)
    if matrix_filter:
        for module in fast.modules():
            if isinstance(module, HighPass):
                module.use_matrices()
    layout = torch.channels_last if network.spatial_dims == 2 else torch.channels_last_3d
    return fast.to(memory_format=layout)


def _fold_batch_norm(network: nn.Module) -> None:
    """Fold every batch norm that follows a convolution in a sequence into that convolution, in place."""
    for sequence in [m for m in network.modules() if isinstance(m, nn.Sequential)]:
        if len(sequence) < 2 or not isinstance(sequence[1], _BatchNorm) or not isinstance(sequence[0], _CONVOLUTIONS):
            continue
        operation, norm = sequence[0], sequence[1]
        if isinstance(operation, PhaseConvolution):
            gain = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
            operation.embedding.mul_(gain.view(-1, *operation.embedding.shape[2:]))
            operation.conv = fuse_conv_bn_eval(operation.conv, norm)
        else:
            sequence[0] = fuse_conv_bn_eval(operation, norm, transpose=isinstance(operation, _ConvTransposeNd))
        sequence[1] = nn.Identity()
