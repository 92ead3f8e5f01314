"""Masks that a client sends: NRRD, NIfTI or bare bytes, brought to the study's reference grid."""

from __future__ import annotations

import json
import math
import tempfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from lib.errors import BadRequestError
from lib.grids import from_series
from lib.mask_values import segments_of, with_our_values
from lib.nrrd_file import read_nrrd
from lib.studies.study import OpenStudy
from scripts.domain.classes import CLASSES
from scripts.studies.nifti import FileError, open_nifti

_GZIP_MAGIC = b"\x1f\x8b"
_NIFTI_SIZES = (b"\x5c\x01\x00\x00", b"\x00\x00\x01\x5c", b"\x1c\x02\x00\x00", b"\x00\x00\x02\x1c")
"""How NIfTI-1 and NIfTI-2 files begin, in both byte orders."""

_FINER = 8
"""A mask may have so many times the voxels of the study's largest series: 3D Slicer draws on finer grids, too."""

_LARGEST_VOXEL, _NIFTI_HEADER = 8, 1 << 16


def read_mask(
    content: bytes, study: OpenStudy, series: str | None = None, *, classes: Any = None, names: Any = None
) -> np.ndarray:
    """A client's mask on the study's reference grid.

    It may lie on any grid in the scanner coordinates of the series that it was drawn on; a series that was registered
    is followed back to the reference.

    Args:
        content: an NRRD (also Slicer's ``.seg.nrrd`` without overlapping segments) or NIfTI file, whose own geometry
            counts, or one byte a voxel on the grid of ``series``, the columns fastest.
        study: the case.
        series: the series or phase file that the mask was drawn on; None is the reference.
        classes: see ``with_our_values``.
        names: likewise.

    Returns:
        ``(X, Y, Z)`` uint8 of ``LABELS`` values in the axes of the case's reference file.

    Raises:
        BadRequestError: not a mask, not on the series' grid, values that no class stands for, or nothing of it lies
            in the study.
        UnknownError: no such series.
    """
    volume, affine, segments = _volume(content, study, series)
    mask = with_our_values(volume, classes=classes, names=names, segments=segments)
    placed = from_series(mask, affine, study, series)
    if mask.any() and not placed.any():
        msg = "nothing of the mask lies inside the study's reference phase: is it another study's?"
        raise BadRequestError(msg)
    return placed


def class_names(text: str) -> dict[str, str] | None:
    """The ``classes`` entry of a form: a JSON object of class names by voxel value; None where it is empty.

    Raises:
        BadRequestError: it is none.
    """
    if not text.strip():
        return None
    try:
        classes = json.loads(text)
    except ValueError:
        classes = None
    values_fit = isinstance(classes, dict) and all(value.isdecimal() and len(value) < 6 for value in classes)
    if not values_fit or any(name not in CLASSES for name in classes.values()):
        msg = f'classes is no JSON object such as {{"1": "hcc"}}, of voxel values and of {", ".join(CLASSES)}'
        raise BadRequestError(msg)
    return classes


def _volume(content: bytes, study: OpenStudy, series: str | None) -> tuple[np.ndarray, np.ndarray, dict[int, str]]:
    """Voxels, their affine, and the segments' names by value where the file says them."""
    grid = study.grid(series)
    most_voxels = _FINER * max(math.prod(known.shape) for known in study.series.values())
    if content.startswith(b"NRRD"):
        return *read_nrrd(content, most_voxels=most_voxels), segments_of(content)
    if content.startswith((_GZIP_MAGIC, *_NIFTI_SIZES)):
        return *_read_nifti(content, most_bytes=most_voxels * _LARGEST_VOXEL + _NIFTI_HEADER), {}
    if len(content) == math.prod(grid.shape):
        return np.frombuffer(content, dtype=np.uint8).reshape(grid.shape, order="F"), grid.affine, {}
    expected = " x ".join(str(n) for n in grid.shape)
    msg = f"the mask is neither NRRD nor NIfTI, nor one byte for each of the series' {expected} voxels"
    raise BadRequestError(msg)


def _read_nifti(content: bytes, *, most_bytes: int) -> tuple[np.ndarray, np.ndarray]:
    if content.startswith(_GZIP_MAGIC):
        unpack = zlib.decompressobj(wbits=31)
        try:
            content = unpack.decompress(content, most_bytes)
        except zlib.error as error:
            msg = "the mask's packed data is damaged"
            raise BadRequestError(msg) from error
        if not unpack.eof:
            msg = "the mask is far larger than any of the study's series, or its file is cut off"
            raise BadRequestError(msg)
    elif len(content) > most_bytes:
        msg = "the mask is far larger than any of the study's series"
        raise BadRequestError(msg)
    with tempfile.TemporaryDirectory(prefix="mtinet-mask-") as folder:
        file = Path(folder, "mask.nii")
        file.write_bytes(content)
        try:
            image = open_nifti(file)
        except FileError as error:
            msg = f"the mask is no use: {error.problem}. {error.fix}"
            raise BadRequestError(msg) from error
        if len(image.shape) != 3 or min(image.shape) < 1:
            msg = "the mask is not one 3D volume"
            raise BadRequestError(msg)
        return np.asanyarray(image.dataobj), image.affine
