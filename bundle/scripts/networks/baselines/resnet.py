"""ResNet-50 (He et al., CVPR 2016) from timm; the phases are channels."""

from __future__ import annotations

from ...domain.classes import CLASSES
from .whole_slice import WholeSliceNetwork, timm_backbone


class ResNet50(WholeSliceNetwork):
    """Sixteen bottleneck blocks; 23.5 M parameters, 25.6 M with ImageNet's 1000 classes.

    Args:
        task: as of ``WholeSliceNetwork``.
        classes: likewise.
        pretrained: start from ImageNet weights.
    """

    def __init__(self, *, task: str, classes: int = len(CLASSES), pretrained: bool = False) -> None:
        super().__init__(task=task, classes=classes)
        self.backbone = timm_backbone("resnet50", outputs=self.outputs, pretrained=pretrained)
