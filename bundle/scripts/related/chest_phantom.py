"""Writes a cohort of chest phantoms in the layout of ``chest_layout``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ..domain.entry import entry_point
from ..domain.errors import ConfigurationError
from ..domain.writing import folder_when_written, require_empty
from ..phantom.seeded_file import write_seeded
from ..studies.case import mask_file_name
from ..studies.subjects_table import FOLDS
from .chest_classes import CLASSES, NORMAL
from .chest_layout import IMAGES, LESION_MASKS, ChestCase, LesionBox, boxes_of, write_tables
from .chest_subject import VERSION, ChestGrid, make_subject

SHAPE = (256, 256, 16)
TRUTH_FILE = "chest_phantom.json"
_SPLITS = ("train", "test", "val", "train", "train", "train", "test", "train", "val", "train")
"""The splits of a class's subjects, over and over: 6 train, 2 val and 2 test of ten, all three among three."""


@entry_point
def make_chest_phantom(subjects: int, seed: int, output_dir: str, shape: Sequence[int] = SHAPE) -> None:
    """Make a cohort; the run id ``make_chest_phantom`` of ``configs/chest_phantom.yaml``.

    Args:
        subjects: number of subjects, a third of each class.
        seed: same seed, same bytes.
        output_dir: new or empty folder.
        shape: voxels right-left, posterior-anterior, inferior-superior; the longer side of a slice is 384 mm.

    Raises:
        SystemExit: an argument is wrong, or ``output_dir`` holds something; nothing is written.
    """
    write_chest_cohort(subjects, seed, output_dir, shape=shape)


def write_chest_cohort(subjects: int, seed: int, output_dir: str | Path, *, shape: Sequence[int] = SHAPE) -> None:
    """``make_chest_phantom`` as a library function.

    Raises:
        ConfigurationError: an argument is wrong, or ``output_dir`` holds something; nothing is written.
    """
    _require_whole("subjects", subjects, at_least=1)
    _require_whole("seed", seed, at_least=0)
    if not isinstance(shape, Sequence) or len(shape) != 3:
        msg = f"shape is {shape!r}; it must be three whole numbers, such as [256,256,16]"
        raise ConfigurationError(msg)
    for size, least in zip(shape, (32, 32, 4), strict=True):
        _require_whole(f"a size of shape {list(shape)}", size, at_least=least)
    grid = ChestGrid(tuple(shape))
    output = Path(output_dir).resolve()
    require_empty(output)
    with folder_when_written(output) as aside:
        for folder in (IMAGES, LESION_MASKS):
            (aside / folder).mkdir()
        places = _places(subjects, seed)
        cases = [_make(aside, *place, seed, grid) for place in tqdm(places, desc="make_chest_phantom", unit="study")]
        write_tables(aside, cases)
        about = {"version": VERSION, "seed": seed, "shape": list(grid.shape), "spacing_mm": list(grid.spacing_mm)}
        (aside / TRUTH_FILE).write_text(json.dumps(about, indent=1) + "\n")


def _places(subjects: int, seed: int) -> list[tuple[str, int, str, str, int | None]]:
    """Case, index, class, split and fold of every subject, the classes in proportion in each split and fold."""
    width = len(str(subjects))
    counts, dealt, places = dict.fromkeys(CLASSES, 0), 0, []
    for index in range(subjects):
        kind = CLASSES[index % len(CLASSES)]
        split = _SPLITS[counts[kind] % len(_SPLITS)]
        counts[kind] += 1
        fold = None
        if split != "test":
            fold, dealt = dealt % len(FOLDS), dealt + 1
        places.append((f"chest-{seed}-{index + 1:0{width}d}", index, kind, split, fold))
    return places


def _make(
    root: Path, name: str, index: int, kind: str, split: str, fold: int | None, seed: int, grid: ChestGrid
) -> ChestCase:
    subject = make_subject(np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(index,))), kind, grid)
    files = [root / folder / mask_file_name(name) for folder in (IMAGES, LESION_MASKS)]
    for volume, file in zip((subject.image, subject.lesions), files, strict=True):
        write_seeded(volume, grid.affine, file)
    boxes = tuple(LesionBox(z, lesion, kind, box) for z, lesion, box in boxes_of(subject.lesions))
    with_lesion = {each.slice_index for each in boxes}
    slice_classes = tuple(kind if z in with_lesion else NORMAL for z in range(grid.shape[2]))
    return ChestCase(name, kind, split, fold, *files, slice_classes, boxes)


def _require_whole(name: str, value: object, *, at_least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < at_least:
        msg = f"{name} is {value!r}; it must be a whole number of at least {at_least}"
        raise ConfigurationError(msg)
