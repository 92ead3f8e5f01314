"""ResNet-50 (He et al., CVPR 2016) from timm; the phases are channels."""

from __future__ import annotations

from .whole_slice import TimmNetwork


class ResNet50(TimmNetwork):
    """Sixteen bottleneck blocks; 23.5 M parameters, 25.6 M with ImageNet's 1000 classes."""

    name_in_timm = "resnet50"
