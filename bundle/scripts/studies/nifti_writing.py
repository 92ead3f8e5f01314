"""Writes one volume or mask as NIfTI whose header holds nothing but the geometry."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
from isal import igzip

_COMPRESSION = 2
"""Of igzip, faster than any of zlib: images of noise hardly get smaller with more effort."""


def write_nifti(data: np.ndarray, affine: np.ndarray, file: Path) -> None:
    """Write ``(X, Y, Z)`` voxels in their own type: no text of the source, no time, the same bytes each time.

    Args:
        data: of a type that NIfTI knows.
        affine: ``(4, 4)`` to RAS world, mm: the scanner's coordinates.
        file: packed if it ends in ``.gz``; its folder is made if it is missing.
    """
    image = nib.Nifti1Image(data, affine)
    image.header.set_xyzt_units("mm", "sec")
    image.header.set_qform(affine, code="scanner", strip_shears=True)
    image.header.set_sform(affine, code="scanner")
    save_image(image, file)


def save_image(image: nib.Nifti1Image, file: Path) -> None:
    """Write an image with a header of its own, likewise."""
    content = image.to_bytes()
    if file.suffix == ".gz":
        content = igzip.compress(content, _COMPRESSION, mtime=0)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
