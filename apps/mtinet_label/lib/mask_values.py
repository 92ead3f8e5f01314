"""What a client calls the values of its mask, and what they are called here."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lib.errors import BadRequestError
from scripts.domain.classes import CLASSES, LABELS

_CLASS_NAME = re.compile(rf"({'|'.join(CLASSES)})(?:[ _-]?\d{{1,3}})?", re.IGNORECASE)
_SEGMENT = re.compile(r"segment(\d{1,3})_(name|labelvalue)\s*:=\s*(.*)", re.IGNORECASE)
_NUMBER = re.compile(r"[0-9]{1,5}")
_LONGEST_HEADER = 65536


def with_our_values(mask: np.ndarray, *, classes: Any, names: Any, segments: Mapping[int, str]) -> np.ndarray:
    """A mask with the values of ``LABELS``.

    Args:
        mask: ``(X, Y, Z)`` with a client's values.
        classes: class by voxel value, e.g. ``{"1": "hcc"}``; then every value needs one. Goes before everything else.
        names: Slicer's ``label_info``, a list of ``{"name": …, "idx": …}`` in the order of the exported segments,
            whose values are 1, 2 and so on.
        segments: names by value, as the file itself says them. A value that nobody names is one of ``LABELS``.

    Returns:
        ``(X, Y, Z)`` uint8.

    Raises:
        BadRequestError: values that are no whole numbers, or stand for no class.
    """
    low, high = (float(value) for value in (mask.min(), mask.max()))
    if not (low >= 0 and high <= np.iinfo(np.uint16).max):
        msg = "the mask holds values that are not those of a label volume"
        raise BadRequestError(msg)
    present = np.unique(mask)
    if (present != np.rint(present)).any():
        msg = "the mask holds values that are no whole numbers"
        raise BadRequestError(msg)
    values = [int(value) for value in present if value > 0]
    table = np.zeros(max(values, default=0) + 1, dtype=np.uint8)
    known = {LABELS[name]: name for name in CLASSES}
    named = _named(values, classes=classes, names=names, segments=segments)
    for value in values:
        if value not in named and (classes or value not in known):
            meanings = "" if classes else f": use {', '.join(f'{n} {name}' for n, name in known.items())}"
            msg = f"the mask holds the value {value}, which stands for no class{meanings}"
            raise BadRequestError(msg)
        table[value] = LABELS[_class(named.get(value) or known[value])]
    return table[mask.astype(np.uint16)]


def segments_of(nrrd: bytes) -> dict[int, str]:
    """The segments' names by value in Slicer's own format: ``Segment0_Name:=hcc`` and ``Segment0_LabelValue:=1``."""
    header = nrrd[: max(nrrd.find(b"\n\n", 0, _LONGEST_HEADER), 0)].decode("latin-1")
    found: dict[str, dict[str, str]] = {}
    for match in map(_SEGMENT.fullmatch, header.splitlines()):
        if match:
            found.setdefault(match[1], {})[match[2].lower()] = match[3].strip()
    numbered = (each for each in found.values() if "name" in each and _NUMBER.fullmatch(each.get("labelvalue", "")))
    return {int(each["labelvalue"]): each["name"] for each in numbered}


def _named(values: Sequence[int], *, classes: Any, names: Any, segments: Mapping[int, str]) -> dict[int, str]:
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
