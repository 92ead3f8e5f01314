"""Masks that a client sends: NRRD, NIfTI or bare bytes, brought to the study's reference grid."""

from __future__ import annotations

import json
import math
import tempfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from lib.errors import BadRequestError
from lib.grids import nearest, reference_grid
from lib.nrrd_file import read_nrrd
from lib.studies.study import OpenStudy
from scripts.domain.classes import CLASSES, LABELS
from scripts.studies.nifti import FileError, read_volume

_GZIP_MAGIC = b"\x1f\x8b"
_NIFTI_SIZES = (b"\x5c\x01\x00\x00", b"\x00\x00\x01\x5c", b"\x1c\x02\x00\x00", b"\x00\x00\x02\x1c")
"""How NIfTI-1 and NIfTI-2 files begin, in both byte orders."""

_LARGEST_VOXEL, _NIFTI_HEADER = 8, 1 << 16


def read_mask(
    content: bytes, study: OpenStudy, series: str | None, *, classes: Mapping[str, str] | None = None
) -> np.ndarray:
    """A client's mask on the study's reference grid.

    Args:
        content: an NRRD or NIfTI file, whose own geometry counts, or one byte a voxel on the grid of ``series``, the
            columns fastest.
        study: the case.
        series: the series or phase file that the mask was drawn on; None is the reference.
        classes: class name by voxel value, as ``class_names`` gives it; None where the values are those of ``LABELS``.

    Returns:
        ``(X, Y, Z)`` uint8 of ``LABELS`` values in the axes of the case's reference file.

    Raises:
        BadRequestError: not a mask, not on the series' grid, or values that no class stands for.
    """
    grid = study.grid(series)
    most_voxels = 2 * max(math.prod(known.shape) for known in study.series.values())
    if content.startswith(b"NRRD"):
        volume, affine = read_nrrd(content, most_voxels=most_voxels)
    elif content.startswith((_GZIP_MAGIC, *_NIFTI_SIZES)):
        volume, affine = _read_nifti(content, most_bytes=most_voxels * _LARGEST_VOXEL + _NIFTI_HEADER)
    elif len(content) == math.prod(grid.shape):
        volume, affine = np.frombuffer(content, dtype=np.uint8).reshape(grid.shape, order="F"), grid.affine
    else:
        expected = " x ".join(str(n) for n in grid.shape)
        msg = f"the mask is neither NRRD nor NIfTI, nor one byte for each of the series' {expected} voxels"
        raise BadRequestError(msg)
    shape, reference = reference_grid(study)
    return nearest(_of_classes(volume, classes), affine, shape=shape, target=reference)


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


def _of_classes(volume: np.ndarray, classes: Mapping[str, str] | None) -> np.ndarray:
    values = np.unique(volume)
    meaning = {float(LABELS[name]): LABELS[name] for name in CLASSES}
    if classes is not None:
        meaning = {float(value): LABELS[name] for value, name in classes.items()}
    unknown = [f"{value:g}" for value in values if value != 0 and float(value) not in meaning]
    if unknown:
        msg = f"the mask holds the value {unknown[0]}, which stands for no class"
        raise BadRequestError(msg)
    mask = np.zeros(volume.shape, dtype=np.uint8)
    for value, label in meaning.items():
        mask[volume == value] = label
    return mask


def _read_nifti(content: bytes, *, most_bytes: int) -> tuple[np.ndarray, np.ndarray]:
    if content.startswith(_GZIP_MAGIC):
        unpack = zlib.decompressobj(wbits=31)
        try:
            content = unpack.decompress(content, most_bytes)
        except zlib.error as error:
            msg = "the mask's packed data is damaged"
            raise BadRequestError(msg) from error
        if not unpack.eof:
            msg = "the mask is larger than any of the study's series, or its file is cut off"
            raise BadRequestError(msg)
    with tempfile.TemporaryDirectory(prefix="mtinet-mask-") as folder:
        file = Path(folder, "mask.nii")
        file.write_bytes(content)
        try:
            return read_volume(file)
        except FileError as error:
            msg = f"the mask is no use: {error.problem}. {error.fix}"
            raise BadRequestError(msg) from error
