"""A mask that a client sent, whatever it calls its values, on the reference grid and with ours."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from lib.errors import BadRequestError
from lib.grids import nearest
from lib.nrrd_file import read_nrrd
from lib.studies.study import OpenStudy
from scripts.domain.classes import CLASSES, LABELS

ENDINGS = (".nii.gz", ".nii", ".nrrd")
MOST_VOXELS = 1 << 28
"""A larger volume is refused before it is unpacked: 512 x 512 x 1024."""

_CLASS_NAME = re.compile(rf"({'|'.join(CLASSES)})(?:[ _-]?\d{{1,3}})?", re.IGNORECASE)
_SEGMENT = re.compile(r"segment(\d{1,3})_(name|labelvalue)\s*:=\s*(.*)", re.IGNORECASE)
_NUMBER = re.compile(r"[0-9]{1,5}")
_LONGEST_HEADER = 65536


def read_mask(file: Path, study: OpenStudy, *, classes: Any = None, names: Any = None) -> np.ndarray:
    """A client's mask file as the label store wants it.

    The file may lie on any grid of the study's world; values between voxels are those of the nearest one.

    Args:
        file: ``.nii.gz``, ``.nii`` or ``.nrrd`` (also Slicer's ``.seg.nrrd`` without overlapping segments).
        study: the study.
        classes: class by voxel value, e.g. ``{"1": "hcc"}``; goes before everything else.
        names: Slicer's ``label_info``, a list of ``{"name": …, "idx": …}`` in the order of the exported segments,
            whose values are 1, 2 and so on.

    Returns:
        ``(X, Y, Z)`` uint8 of ``LABELS`` values on the study's reference grid, in the order of its file.

    Raises:
        BadRequestError: no file of one label volume, a value without a class, or nothing of it lies in the study.
    """
    mask, affine, segments = _volume(file)
    mask = _with_our_values(mask, _classes(mask, classes=classes, names=names, segments=segments))
    grid = study.grid(study.reference)
    placed = nearest(mask, affine, shape=grid.shape, target=grid.affine)
    if mask.any() and not placed.any():
        msg = "nothing of the mask lies inside the study's reference phase: is it another study's?"
        raise BadRequestError(msg)
    return placed


def _volume(file: Path) -> tuple[np.ndarray, np.ndarray, dict[int, str]]:
    """Voxels, affine and, from Slicer's own format, the segments' names by value."""
    if file.name.lower().endswith(".nrrd"):
        content = file.read_bytes()
        voxels, affine = read_nrrd(content, most_voxels=MOST_VOXELS)
        return voxels, affine, _segments(content)
    if not file.name.lower().endswith(ENDINGS):
        msg = f"a mask is a file with the ending {', '.join(ENDINGS)}"
        raise BadRequestError(msg)
    try:
        image = nib.load(file)
        shape, affine = tuple(image.shape), np.asarray(image.affine, dtype=float)
        if len(shape) == 3 and min(shape) > 0 and math.prod(shape) <= MOST_VOXELS:
            return np.asanyarray(image.dataobj), affine, {}
    except Exception as error:  # nibabel raises many kinds, and their messages name the file with its folder
        msg = "the mask cannot be read as NIfTI; save it again"
        raise BadRequestError(msg) from error
    msg = "the mask is not one 3D volume"
    raise BadRequestError(msg)


def _segments(content: bytes) -> dict[int, str]:
    """Slicer's ``Segment0_Name:=hcc`` and ``Segment0_LabelValue:=1``."""
    header = content[: max(content.find(b"\n\n", 0, _LONGEST_HEADER), 0)].decode("latin-1")
    found: dict[str, dict[str, str]] = {}
    for match in map(_SEGMENT.fullmatch, header.splitlines()):
        if match:
            found.setdefault(match[1], {})[match[2].lower()] = match[3].strip()
    numbered = (each for each in found.values() if "name" in each and _NUMBER.fullmatch(each.get("labelvalue", "")))
    return {int(each["labelvalue"]): each["name"] for each in numbered}


def _classes(mask: np.ndarray, *, classes: Any, names: Any, segments: Mapping[int, str]) -> dict[int, int]:
    """The value of ``LABELS`` for each of the mask's own."""
    low, high = (float(value) for value in (mask.min(), mask.max()))
    if not (low >= 0 and high <= np.iinfo(np.uint16).max):
        msg = "the mask holds values that are not those of a label volume"
        raise BadRequestError(msg)
    present = np.unique(mask)
    if (present != np.rint(present)).any():
        msg = "the mask holds values that are no whole numbers"
        raise BadRequestError(msg)
    values = [int(value) for value in present if value > 0]
    named = _named(values, classes=classes, names=names, segments=segments)
    return {0: 0} | {value: LABELS[_class(named[value])] if value in named else value for value in values}


def _named(values: Sequence[int], *, classes: Any, names: Any, segments: Mapping[int, str]) -> dict[int, str]:
    """What the client calls its values; a value that it does not name is one of ``LABELS``."""
    if classes:
        if not isinstance(classes, Mapping) or not all(_NUMBER.fullmatch(str(value)) for value in classes):
            msg = 'classes is no mapping of voxel values to classes, such as {"1": "hcc"}'
            raise BadRequestError(msg)
        return {int(value): str(name) for value, name in classes.items()}
    if any(value in segments for value in values):
        return dict(segments)
    listed = [each for each in names if isinstance(each, Mapping)] if isinstance(names, list) else []
    texts = [str(each.get("name", "")) for each in listed]
    if max(values, default=0) <= len(texts):
        return dict(enumerate(texts, start=1))
    by_index = {each["idx"]: text for each, text in zip(listed, texts, strict=True) if isinstance(each.get("idx"), int)}
    return by_index if all(value in by_index for value in values) else {}


def _class(name: str) -> str:
    match = _CLASS_NAME.fullmatch(name.strip())
    if match is None:
        msg = f"a segment's name is none of {', '.join(CLASSES)}; rename it in the viewer"
        raise BadRequestError(msg)
    return match[1].lower()


def _with_our_values(mask: np.ndarray, ours: Mapping[int, int]) -> np.ndarray:
    unknown = sorted(set(ours.values()) - set(LABELS.values()))
    if unknown:
        classes = ", ".join(f"{LABELS[name]} {name}" for name in CLASSES)
        msg = f"the mask holds the value {unknown[0]}, which stands for no class: use {classes}"
        raise BadRequestError(msg)
    table = np.zeros(max(ours) + 1, dtype=np.uint8)
    for value, our in ours.items():
        table[value] = our
    return table[mask.astype(np.uint16)]
