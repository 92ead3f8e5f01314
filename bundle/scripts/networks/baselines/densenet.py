"""DenseNet-121 (Huang et al., CVPR 2017) from timm; the phases are channels."""

from __future__ import annotations

from .whole_slice import TimmNetwork


class DenseNet121(TimmNetwork):
    """Four dense blocks of growth 32; 7.0 M parameters, 8.0 M with ImageNet's 1000 classes."""

    name_in_timm = "densenet121"
