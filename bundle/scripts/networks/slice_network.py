"""What every network of the bundle has in common: four phases of a slice in, logits by task out."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..domain.classes import CLASSES
from ..domain.errors import ConfigurationError
from ..domain.phases import NOMINAL_TIMES_S, PHASES


class SliceNetwork(nn.Module):
    """The contract of MTI-Net and of every system that it is compared with.

    ``forward(image, available=None, times_s=None)`` takes ``(B, 4, *S)`` normalised phases, ``(B, 4)`` bool and
    ``(B, 4)`` s, and returns float32 logits by task, those of tasks that it does not have absent: ``segmentation
    (B, 1, *S)``, ``regression (B, 4)`` normalised intensity, ``classification (B, K)``. The trainer, the study inferer
    and the metrics need no more.

    Args:
        spatial_dims: 2 or 3.
        stride: every size of an image must be divisible by it.

    Attributes:
        classes: those of the data that the network is made for: 2 (``CLASSES``), or 3 with "healthy" appended; the K of
            its ``classification``, and of the discriminator that plays against it.
        learns_from_label: whether the training forward takes the mask ``(B, 1, *S)`` as a fourth argument, as a
            diffusion model does, which learns to denoise it.
        traceable: whether graph compilers can take the forward pass over. If not, only PyTorch runs the network: one
            that samples in a loop, as they would unroll the loop and freeze its noise, or one that they fail at.
        mean_curve: ``(4,)`` no part of the forward pass: the training split's mean curve, normalised, the reference of
            ``mae_ratio``, travels with the weights.
        image_size: likewise the pixels of the network grid that the weights were trained on.
    """

    classes = len(CLASSES)
    learns_from_label = False
    traceable = True

    def __init__(self, *, spatial_dims: int = 2, stride: int = 16) -> None:
        super().__init__()
        self.spatial_dims = spatial_dims
        self.stride = stride
        self.register_buffer("nominal_times_s", torch.tensor(NOMINAL_TIMES_S), persistent=False)
        self.register_buffer("mean_curve", torch.zeros(len(PHASES)))
        self.register_buffer("image_size", torch.zeros((), dtype=torch.int64))

    def complete(
        self, image: Tensor, available: Tensor | None, times_s: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The inputs with their defaults: all phases there, nominal times; phases that are not are zero.

        Raises:
            ConfigurationError: an image of another shape.
        """
        if not (torch.jit.is_scripting() or torch.jit.is_tracing()):
            _check_image(image, self.spatial_dims, self.stride)
        if times_s is None:
            times_s = self.nominal_times_s.expand(image.shape[0], -1)
        if available is None:
            available = torch.ones_like(times_s, dtype=torch.bool)
            return image, available, times_s
        there = available
        for _ in range(self.spatial_dims):
            there = there.unsqueeze(-1)
        return torch.where(there, image, torch.zeros_like(image)), available, times_s


def _check_image(image: Tensor, spatial_dims: int, stride: int) -> None:
    shape = list(image.shape)
    if len(shape) != spatial_dims + 2 or shape[1] != len(PHASES):
        msg = f"Image has shape {shape}; give (slices, 4 phases) and {spatial_dims} sizes: stack the four phases."
        raise ConfigurationError(msg)
    for size in shape[2:]:
        if size % stride != 0:
            msg = f"Image has sizes {shape[2:]}, not all divisible by {stride}: pad or crop it to multiples."
            raise ConfigurationError(msg)
