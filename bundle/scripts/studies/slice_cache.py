"""One subject's slices on the network grid, read once and kept for the next start."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Lock

import numpy as np
from tqdm.contrib.concurrent import thread_map

from ..domain.errors import ConfigurationError, DatasetError
from ..domain.writing import replace_when_written
from .case import LIVER_FOLDER, Case
from .network_grid import NetworkGrid
from .normalisation import body_mask
from .reading import read_study

CACHE_VERSION = 1
"""Raise it whenever the arrays would come out differently, or old caches would be used."""

TARGETS = ("tumour", "liver")
"""What the masks of the slices may show."""

_BODY_SHARE = 0.05
"""A slice shows the body when it covers this share of the field of view."""

_ONE_AT_A_TIME = Lock()
"""numpy parses a file's header as Python, which now and then fails in two threads of CPython 3.11 (gh-106905)."""


@dataclass(frozen=True, eq=False)
class SubjectArrays:
    """Slices of one subject, normalised, on the network grid.

    Args:
        case: where they come from.
        image: ``(S, 4, size, size)`` float16, zero where a phase is missing; a memory map when cached.
        label: ``(S, size, size)`` uint8, 1 where more than half of the pixel is tumour (or another target).
        in_body: ``(S,)`` bool, slices that show the body.
        available: ``(4,)`` bool.
        air: normalised intensity of raw zero.
    """

    case: Case
    image: np.ndarray
    label: np.ndarray
    in_body: np.ndarray
    available: np.ndarray
    air: float

    @property
    def tumour_slices(self) -> np.ndarray:
        """Indices of the slices with tumour (or another target)."""
        return np.flatnonzero(self.label.any(axis=(1, 2)))

    @property
    def background_slices(self) -> np.ndarray:
        """Indices of the slices that show the body but no tumour (or another target)."""
        return np.flatnonzero(self.in_body & ~self.label.any(axis=(1, 2)))


def load_subjects(
    cases: Sequence[Case], size: int, cache_dir: str | Path | None = None, *, target: str = "tumour"
) -> list[SubjectArrays]:
    """Read every case, or take it from the cache.

    Args:
        cases: labelled cases.
        size: pixels of the network grid.
        cache_dir: folder for the arrays, told apart by ``size`` and the files' times; None keeps them in memory.
        target: what the masks show, one of ``TARGETS``.

    Returns:
        One entry per case, in their order.

    Raises:
        StudyError: a file is unusable.
        DatasetError: a case has no mask of the target.
        ConfigurationError: an unknown target.
    """
    if target not in TARGETS:
        msg = f"target {target!r} is unknown. Use one of {', '.join(TARGETS)}."
        raise ConfigurationError(msg)
    load = partial(_load, size=size, cache_dir=None if cache_dir is None else Path(cache_dir), target=target)
    workers = len(os.sched_getaffinity(0))
    return thread_map(load, cases, max_workers=workers, desc="reading studies", unit="study")


def _load(case: Case, *, size: int, cache_dir: Path | None, target: str) -> SubjectArrays:
    if target == "tumour" and case.label_file is None:
        msg = f"{case.case}: no label file, which training and validation need. Add it to labelsTr or labelsTs."
        raise DatasetError(msg)
    if target == "liver" and case.liver_file is None:
        msg = f"{case.case}: no liver mask, which training and validation need. Add it to {LIVER_FOLDER}."
        raise DatasetError(msg)
    if cache_dir is None:
        return _read(case, size, target)
    kind = "" if target == "tumour" else f"-{target}"
    stem = cache_dir / f"{case.case}-{size}{kind}-{_fingerprint(case)}"
    image_file, rest_file = stem.with_name(f"{stem.name}.npy"), stem.with_name(f"{stem.name}.npz")
    if not (image_file.is_file() and rest_file.is_file()):
        arrays = _read(case, size, target)
        with replace_when_written(image_file) as aside:
            np.save(aside, arrays.image)
        with replace_when_written(rest_file) as aside:
            np.savez(aside, label=arrays.label, in_body=arrays.in_body, available=arrays.available, air=arrays.air)
    with _ONE_AT_A_TIME, np.load(rest_file) as rest:
        return SubjectArrays(
            case=case,
            image=np.load(image_file, mmap_mode="r"),
            label=rest["label"],
            in_body=rest["in_body"],
            available=rest["available"],
            air=float(rest["air"]),
        )


def _read(case: Case, size: int, target: str) -> SubjectArrays:
    study = read_study(case)
    grid = NetworkGrid.of(study, size)
    available = np.asarray(study.available)
    image = (grid.to_slices(study.image) - np.float32(study.offset)) / np.float32(study.scale)
    image[:, ~available] = 0.0
    masks = np.stack([study.label > 0 if target == "tumour" else study.liver, body_mask(study.image)])
    mask, body = grid.to_slices(masks).swapaxes(0, 1)
    return SubjectArrays(
        case=case,
        image=image.astype(np.float16),
        label=(mask >= 0.5).astype(np.uint8),
        in_body=body.mean(axis=(1, 2)) > _BODY_SHARE,
        available=available,
        air=-study.offset / study.scale,
    )


def _fingerprint(case: Case) -> str:
    files = [(str(file.resolve()), file.stat().st_mtime_ns, file.stat().st_size) for file in case.files]
    return hashlib.sha256(json.dumps([CACHE_VERSION, files]).encode()).hexdigest()[:16]
