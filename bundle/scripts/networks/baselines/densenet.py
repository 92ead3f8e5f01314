"""DenseNet-121 (Huang et al., CVPR 2017) from timm; the phases are channels."""

from __future__ import annotations

from ...domain.classes import CLASSES
from .whole_slice import WholeSliceNetwork, timm_backbone


class DenseNet121(WholeSliceNetwork):
    """Four dense blocks of growth 32; 7.0 M parameters, 8.0 M with ImageNet's 1000 classes.

    Args:
        task: as of ``WholeSliceNetwork``.
        classes: likewise.
        pretrained: start from ImageNet weights.
    """

    def __init__(self, *, task: str, classes: int = len(CLASSES), pretrained: bool = False) -> None:
        super().__init__(task=task, classes=classes)
        self.backbone = timm_backbone("densenet121", outputs=self.outputs, pretrained=pretrained)
