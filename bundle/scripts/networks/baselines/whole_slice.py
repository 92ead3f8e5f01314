"""Image classification networks that answer for a whole slice: four intensities, or the classes; no mask."""

from __future__ import annotations

import math
from typing import Any

import timm
from torch import Tensor, nn

from ...domain.classes import CLASSES
from ...domain.errors import ConfigurationError
from ...domain.phases import PHASES
from ...domain.switches import is_on
from ..slice_network import SliceNetwork

WHOLE_SLICE_TASKS = ("regression", "classification")

_STRIDE = 32


class WholeSliceNetwork(SliceNetwork):
    """Base of VGG-16, ResNet-50, DenseNet-121 and GoogLeNet: the phases are channels, the last layer is the answer.

    Images of any size are taken: the backbones end in a global mean.

    Args:
        task: ``regression``, the last layer gives the intensity of each phase, or ``classification``.
        classes: 2 (``CLASSES``), or 3 with "healthy" appended; a regression has none.

    Raises:
        ConfigurationError: unknown task, or another number of classes.
    """

    batch_statistics = True
    """Whether the backbone has batch normalisation, which needs more than one value of a channel to train."""

    def __init__(self, *, task: str, classes: int = len(CLASSES)) -> None:
        super().__init__(stride=1)
        if task not in WHOLE_SLICE_TASKS:
            msg = f"task must be one of {WHOLE_SLICE_TASKS}; got {task!r}."
            raise ConfigurationError(msg)
        if classes not in (len(CLASSES), len(CLASSES) + 1):
            msg = f"classes must be 2 ({', '.join(CLASSES)}) or 3 (with healthy); got {classes}."
            raise ConfigurationError(msg)
        self.task = task
        self.classes = classes
        self.outputs = len(PHASES) if task == "regression" else classes
        self.backbone: nn.Module | None = None

    def forward(
        self, image: Tensor, available: Tensor | None = None, times_s: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Answer for a batch of slices.

        Args:
            image: ``(B, 4, H, W)`` normalised.
            available: ``(B, 4)`` bool; phases that are not there are zero.
            times_s: not used: none of these systems knows of time.

        Returns:
            ``regression (B, 4)`` or ``classification (B, K)``.

        Raises:
            ConfigurationError: an image of another shape, or a batch too small for batch normalisation to train on.
        """
        image, _, _ = self.complete(image, available, times_s)
        if self.training and self.batch_statistics:
            _check_batch(image)
        return {self.task: self.backbone(image).float()}


class TimmNetwork(WholeSliceNetwork):
    """Base of those that are timm's, with one input channel a phase; a subclass gives the name.

    Args:
        task: as of ``WholeSliceNetwork``.
        classes: likewise.
        pretrained: start from ImageNet weights, the first layer's repeated over the phases; timm downloads them.
        options: of that network in timm.

    Raises:
        ConfigurationError: as of ``WholeSliceNetwork``, or the weights cannot be had.
    """

    name_in_timm: str

    def __init__(
        self, *, task: str, classes: int = len(CLASSES), pretrained: bool | str = False, **options: Any
    ) -> None:
        super().__init__(task=task, classes=classes)
        name, pretrained = self.name_in_timm, is_on(pretrained)
        try:
            self.backbone = timm.create_model(
                name, pretrained=pretrained, in_chans=len(PHASES), num_classes=self.outputs, **options
            )
        except (OSError, RuntimeError) as error:
            if not pretrained:
                raise
            raise no_imagenet_weights(name, error) from error


def no_imagenet_weights(name: str, error: Exception) -> ConfigurationError:
    """The error of a backbone whose ImageNet weights could not be had."""
    return ConfigurationError(
        f"The ImageNet weights of {name} cannot be had ({type(error).__name__}). "
        "Set pretrained: false, or run once where they can be downloaded."
    )


def _check_batch(image: Tensor) -> None:
    slices, _, height, width = image.shape
    if slices * math.ceil(height / _STRIDE) * math.ceil(width / _STRIDE) < 2:
        msg = (
            f"One slice of {height}x{width} leaves batch normalisation a single value of each channel to train on: "
            "give batch_size 2 or more, or image_size 64 or more."
        )
        raise ConfigurationError(msg)
