"""A phantom's volume as a file that a seed makes the same on every machine."""

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np


def write_seeded(volume: np.ndarray, affine: np.ndarray, path: Path) -> None:
    """Write a gzipped NIfTI whose bytes depend on nothing but the volume: no time, no name in the header.

    Packed by zlib, unlike the studies' own writer: igzip chooses its code by the processor.

    Args:
        volume: ``(X, Y, Z)``, of a type that NIfTI knows.
        affine: ``(4, 4)`` to RAS world, mm.
        path: the file; its folder exists.
    """
    image = nib.Nifti1Image(volume, affine)
    image.header.set_xyzt_units("mm", "sec")
    with path.open("wb") as file, gzip.GzipFile("", "wb", compresslevel=1, fileobj=file, mtime=0) as packed:
        packed.write(image.to_bytes())
