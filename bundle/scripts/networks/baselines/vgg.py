"""VGG-16 (Simonyan and Zisserman, ICLR 2015) from timm; the phases are channels."""

from __future__ import annotations

from ...domain.classes import CLASSES
from .whole_slice import TimmNetwork


class VGG16(TimmNetwork):
    """Thirteen convolutions, two layers of 4096 with dropout; 134.3 M parameters, 138.4 M with ImageNet's 1000 classes.

    There is no normalisation: it wants a smaller learning rate than the others.
    Maps smaller than the 7x7 that the first of the wide layers reads (images below 224x224) are stretched to it.

    Args:
        task: as of ``WholeSliceNetwork``.
        classes: likewise.
        pretrained: start from ImageNet weights.
        mlp_ratio: outputs of the first wide layer over those of the second, 4096; ImageNet's weights are for 1.
    """

    name_in_timm = "vgg16"
    batch_statistics = False

    def __init__(
        self, *, task: str, classes: int = len(CLASSES), pretrained: bool | str = False, mlp_ratio: float = 1.0
    ) -> None:
        super().__init__(task=task, classes=classes, pretrained=pretrained, drop_rate=0.5, mlp_ratio=mlp_ratio)
