"""The chest-CT data contract on disk: images, lesions by number, and three tables.

``images/<case>.nii.gz`` HU, RAS+, axial slices along the third axis; ``lesions/<case>.nii.gz`` the number of the lesion
at each voxel, 0 elsewhere;
``subjects.csv`` (case, class, split, fold); ``slices.csv`` (case, slice, class); ``lesions.csv`` (case, slice, lesion,
class, x_min, y_min, x_max, y_max): boxes in voxels of the file's first two axes, the last voxel not included. A slice
is normal or of its subject's class, and not normal where it has a lesion.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..domain.errors import DatasetError
from ..domain.writing import replace_when_written
from ..studies.case import mask_file_name
from ..studies.subjects_table import FOLDS, SPLITS, SUBJECTS_FILE
from .chest_classes import CLASSES, LESIONS, NORMAL

IMAGES, LESION_MASKS = "images", "lesions"
SLICES_FILE, LESIONS_FILE = "slices.csv", "lesions.csv"
BOX = ("x_min", "y_min", "x_max", "y_max")
COLUMNS = {
    SUBJECTS_FILE: ("case", "class", "split", "fold"),
    SLICES_FILE: ("case", "slice", "class"),
    LESIONS_FILE: ("case", "slice", "lesion", "class", *BOX),
}
_SHOWN = 10


@dataclass(frozen=True)
class LesionBox:
    """One lesion in one slice.

    Args:
        slice_index: along the third axis.
        lesion: its number in the mask.
        lesion_class: one of ``LESIONS``.
        box: ``BOX`` in voxels of the file.
    """

    slice_index: int
    lesion: int
    lesion_class: str
    box: tuple[int, int, int, int]


@dataclass(frozen=True)
class ChestCase:
    """One subject's files and rows.

    Args:
        case: identifier.
        subject_class: one of ``CLASSES``.
        split: train, val or test.
        fold: 0-4 on train and val, None on test.
        image_file: HU.
        lesions_file: lesions by number.
        slice_classes: of each slice, in order.
        lesions: all of them.
    """

    case: str
    subject_class: str
    split: str
    fold: int | None
    image_file: Path
    lesions_file: Path
    slice_classes: tuple[str, ...]
    lesions: tuple[LesionBox, ...]


def boxes_of(lesions: np.ndarray) -> list[tuple[int, int, tuple[int, int, int, int]]]:
    """``(slice, lesion, box)`` of every lesion in every slice, ``(X, Y, Z)`` lesions by number."""
    found = []
    for index in range(lesions.shape[2]):
        for number in np.setdiff1d(lesions[:, :, index], 0):
            places = np.argwhere(lesions[:, :, index] == number)
            (x_min, y_min), (x_max, y_max) = places.min(axis=0), places.max(axis=0) + 1
            found.append((index, int(number), (int(x_min), int(y_min), int(x_max), int(y_max))))
    return found


def write_tables(root: Path, cases: Sequence[ChestCase]) -> None:
    """Write the three tables of a dataset, each aside and renamed."""
    _write(root / SUBJECTS_FILE, ((c.case, c.subject_class, c.split, "" if c.fold is None else c.fold) for c in cases))
    _write(root / SLICES_FILE, ((c.case, i, name) for c in cases for i, name in enumerate(c.slice_classes)))
    _write(
        root / LESIONS_FILE,
        ((c.case, b.slice_index, b.lesion, b.lesion_class, *b.box) for c in cases for b in c.lesions),
    )


def read_chest(dataset_dir: str | Path) -> list[ChestCase]:
    """List a dataset's cases; images are looked for, not opened.

    Raises:
        DatasetError: no such dataset, or its tables break their contract; the message lists the faults.
    """
    root = Path(dataset_dir)
    if not (root / SUBJECTS_FILE).is_file():
        msg = (
            f"{root}: no chest dataset, which holds {', '.join(COLUMNS)}, {IMAGES} and {LESION_MASKS}. Make one with "
            "the run id make_chest_phantom of chest_phantom.yaml"
        )
        raise DatasetError(msg)
    faults: list[str] = []
    subjects, slices, lesions = (_rows(root / name, faults) for name in COLUMNS)
    cases = [] if faults else [_case(root, row, slices, lesions, faults) for row in subjects]
    names = [row["case"] for row in subjects]
    faults += [f"{name} is listed twice in {SUBJECTS_FILE}" for name in dict.fromkeys(names) if names.count(name) > 1]
    faults += [] if names else [f"{SUBJECTS_FILE} lists no case"]
    if faults:
        more = [f"and {len(faults) - _SHOWN} more"] if len(faults) > _SHOWN else []
        raise DatasetError("\n".join([f"{root}: {len(faults)} fault(s) to correct", *faults[:_SHOWN], *more]))
    return cases


def _case(
    root: Path, row: dict[str, str], slices: list[dict[str, str]], lesions: list[dict[str, str]], faults: list[str]
) -> ChestCase:
    name = row["case"]
    own_slices = sorted((r for r in slices if r["case"] == name), key=lambda r: int(r["slice"]))
    own_lesions = [r for r in lesions if r["case"] == name]
    case = ChestCase(
        case=name,
        subject_class=row["class"],
        split=row["split"],
        fold=int(row["fold"]) if row["fold"] else None,
        image_file=root / IMAGES / mask_file_name(name),
        lesions_file=root / LESION_MASKS / mask_file_name(name),
        slice_classes=tuple(r["class"] for r in own_slices),
        lesions=tuple(
            LesionBox(int(r["slice"]), int(r["lesion"]), r["class"], tuple(int(r[b]) for b in BOX)) for r in own_lesions
        ),
    )
    checks = (
        (case.subject_class in CLASSES, f"class {case.subject_class!r} is none of {', '.join(CLASSES)}"),
        (case.split in SPLITS, f"split {case.split!r} is none of {', '.join(SPLITS)}"),
        (case.fold is None or case.fold in FOLDS, f"fold {case.fold} is none of {FOLDS[0]} to {FOLDS[-1]}"),
        ((case.split == "test") == (case.fold is None), "train and val have a fold, test has none"),
        (case.image_file.is_file(), f"no file {case.image_file}"),
        (case.lesions_file.is_file(), f"no file {case.lesions_file}"),
        ([int(r["slice"]) for r in own_slices] == list(range(len(own_slices))), f"{SLICES_FILE} misses a slice of it"),
        (bool(own_slices), f"{SLICES_FILE} has no slice of it"),
        (set(case.slice_classes) <= set(CLASSES), f"a class in {SLICES_FILE} is none of {', '.join(CLASSES)}"),
        ({b.lesion_class for b in case.lesions} <= set(LESIONS), f"a class in {LESIONS_FILE} is none of {LESIONS}"),
        (set(case.slice_classes) <= {NORMAL, case.subject_class}, f"its slices in {SLICES_FILE} are of another class"),
        (
            all(case.slice_classes[b.slice_index : b.slice_index + 1] != (NORMAL,) for b in case.lesions),
            f"{SLICES_FILE} calls a slice normal that has a lesion in {LESIONS_FILE}",
        ),
    )
    faults += [f"{name}: {problem}" for fine, problem in checks if not fine]
    return case


def _rows(path: Path, faults: list[str]) -> list[dict[str, str]]:
    if not path.is_file():
        faults.append(f"no file {path.name}")
        return []
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        rows = list(reader)
    missing = [name for name in COLUMNS[path.name] if name not in (reader.fieldnames or ())]
    if missing:
        faults.append(f"{path.name}: no column {', '.join(missing)}")
        return []
    numbers = [name for name in COLUMNS[path.name] if name in ("slice", "lesion", *BOX)]
    faults += [
        f"{path.name}, line {line}: {name} is {row[name]!r}, not a whole number"
        for line, row in enumerate(rows, start=2)
        for name in numbers
        if not _is_whole(row[name])
    ]
    if path.name == SUBJECTS_FILE:
        faults += [
            f"{path.name}, line {line}: fold is {row['fold']!r}, neither empty nor a whole number"
            for line, row in enumerate(rows, start=2)
            if row["fold"] and not _is_whole(row["fold"])
        ]
    return rows


def _is_whole(text: str | None) -> bool:
    return text is not None and text.isascii() and text.isdigit()


def _write(path: Path, rows: Iterable[Sequence]) -> None:
    with replace_when_written(path) as aside, aside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS[path.name])
        writer.writerows(rows)
