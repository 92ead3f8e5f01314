"""GoogLeNet, "Inception" (Szegedy et al., CVPR 2015), from torchvision; the phases are channels."""

from __future__ import annotations

import torch
from timm.models import adapt_input_conv
from torch import nn
from torchvision.models import GoogLeNet_Weights
from torchvision.models import googlenet as torchvision_googlenet

from ...domain.classes import CLASSES
from ...domain.phases import PHASES
from ...domain.switches import is_on
from .whole_slice import WholeSliceNetwork, no_imagenet_weights


class GoogLeNet(WholeSliceNetwork):
    """Nine inception modules; 5.6 M parameters, 6.6 M with ImageNet's 1000 classes.

    As in torchvision: batch normalisation, which the paper did not have yet, 3x3 convolutions where it has 5x5. The two
    auxiliary heads are off.

    Args:
        task: as of ``WholeSliceNetwork``.
        classes: likewise.
        pretrained: start from ImageNet weights.
    """

    def __init__(self, *, task: str, classes: int = len(CLASSES), pretrained: bool | str = False) -> None:
        super().__init__(task=task, classes=classes)
        pretrained = is_on(pretrained)
        # PyTorch's initial weights: torchvision's own are so small that, before batch normalisation, every step of the
        # optimiser turns them far.
        self.backbone = _imagenet() if pretrained else torchvision_googlenet(aux_logits=False, init_weights=False)
        first = self.backbone.conv1
        of_rgb = first.conv
        first.conv = nn.Conv2d(len(PHASES), of_rgb.out_channels, 7, stride=2, padding=3, bias=False)
        if pretrained:
            with torch.no_grad():
                first.conv.weight.copy_(adapt_input_conv(len(PHASES), of_rgb.weight))
        self.backbone.fc = nn.Linear(self.backbone.fc.in_features, self.outputs)


def _imagenet() -> nn.Module:
    try:
        # Its own normalisation is for three colours.
        return torchvision_googlenet(weights=GoogLeNet_Weights.IMAGENET1K_V1, aux_logits=False, transform_input=False)
    except (OSError, RuntimeError) as error:
        raise no_imagenet_weights("googlenet", error) from error
