"""The dataset layout on disk: nnU-Net v2 raw folders plus ``subjects.csv``."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from pathlib import Path

from ..domain.classes import LABELS
from ..domain.errors import DatasetError
from ..domain.phases import PHASES
from ..domain.writing import replace_when_written
from .case import FILE_ENDING, LIVER_FOLDER, Case, images_folder, labels_folder, phase_file_name
from .discovery import case_in_dataset, discover, require_no_fifth_phase
from .subjects_table import COLUMNS, FOLDS, SPLITS, SUBJECTS_FILE, read_rows, row_problems, times_of

__all__ = [
    "LIVER_FOLDER",
    "Case",
    "case_of_row",
    "images_folder",
    "labels_folder",
    "phase_file_name",
    "read_dataset",
    "select",
    "training_part",
    "validation_part",
    "write_dataset_json",
    "write_subjects",
]

DATASET_FILE = "dataset.json"
CHANNEL_NAMES = {str(index): phase for index, phase in enumerate(PHASES)}


def read_dataset(dataset_dir: str | Path) -> list[Case]:
    """List a dataset's cases; images are looked for, not opened.

    Without ``subjects.csv`` the class comes from the label, ``imagesTr`` is the train split, ``imagesTs`` the
    test split, times are nominal and folds unknown.

    Args:
        dataset_dir: the ``DatasetXXX_Name`` folder.

    Returns:
        Cases in the order of ``subjects.csv``, or sorted by name without it.

    Raises:
        DatasetError: no such folder, no images in it, or ``subjects.csv`` breaks its contract.
    """
    root = Path(dataset_dir)
    if not root.is_dir():
        msg = f"{root}: no such folder. Give the dataset folder that holds imagesTr and subjects.csv as dataset_dir."
        raise DatasetError(msg)
    table = root / SUBJECTS_FILE
    return _listed_cases(root, table) if table.is_file() else _discovered_cases(root)


def case_of_row(row: dict[str, str], root: Path) -> Case:
    """A case from a row of ``subjects.csv`` without problems, and the files that are there."""
    times_s, nominal_times = times_of(row)
    return case_in_dataset(
        root,
        row["case"],
        split=row["split"],
        tumour_class=row["class"],
        fold=int(row["fold"]) if row["fold"] else None,
        site=row["site"],
        times_s=times_s,
        nominal_times=nominal_times,
    )


def select(cases: Iterable[Case], *, split: str | None = None, folds: Iterable[int] | None = None) -> list[Case]:
    """The cases of a split and of some folds; None means all.

    Raises:
        DatasetError: an unknown split, or nothing is left.
    """
    cases = list(cases)
    if split is not None and split not in SPLITS:
        msg = f"split {split!r} is unknown. Use one of {', '.join(SPLITS)}, or none for all cases."
        raise DatasetError(msg)
    wanted_folds = None if folds is None else set(folds)
    chosen = [
        case
        for case in cases
        if (split is None or case.split == split) and (wanted_folds is None or case.fold in wanted_folds)
    ]
    if not chosen:
        fold = "any" if wanted_folds is None else ", ".join(map(str, sorted(wanted_folds)))
        msg = (
            f"none of the {len(cases)} cases has split {split or 'any'} and fold {fold}. "
            f"Fill the columns split and fold of {SUBJECTS_FILE}."
        )
        raise DatasetError(msg)
    return chosen


def training_part(cases: Iterable[Case], fold: int | None = None) -> list[Case]:
    """The cases to train on: split ``train``, or with a fold, all of train and val outside that fold.

    Raises:
        DatasetError: nothing is left.
    """
    if fold is None:
        return select(cases, split="train")
    return select(_outside_test(cases), folds=set(FOLDS) - {fold})


def validation_part(cases: Iterable[Case], fold: int | None = None) -> list[Case]:
    """The cases to validate on: split ``val``, or with a fold, that fold of train and val.

    Raises:
        DatasetError: nothing is left.
    """
    if fold is None:
        return select(cases, split="val")
    return select(_outside_test(cases), folds=[fold])


def write_subjects(dataset_dir: str | Path, cases: Iterable[Case]) -> Path:
    """Write ``subjects.csv``; written aside, then renamed."""
    path = Path(dataset_dir) / SUBJECTS_FILE
    with replace_when_written(path) as aside, aside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for case in cases:
            fold = "" if case.fold is None else case.fold
            times = (
                "" if phase in case.nominal_times else f"{time:.6g}"
                for phase, time in zip(PHASES, case.times_s, strict=True)
            )
            writer.writerow([case.case, case.tumour_class, case.split, fold, case.site, *times])
    return path


def write_dataset_json(dataset_dir: str | Path, name: str, n_training: int) -> Path:
    """Write nnU-Net v2's ``dataset.json``; written aside, then renamed.

    Args:
        dataset_dir: the ``DatasetXXX_Name`` folder.
        name: the dataset's name.
        n_training: number of cases in ``imagesTr`` (train and val).
    """
    path = Path(dataset_dir) / DATASET_FILE
    content = {
        "name": name,
        "channel_names": CHANNEL_NAMES,
        "labels": LABELS,
        "numTraining": n_training,
        "file_ending": FILE_ENDING,
    }
    with replace_when_written(path) as aside:
        aside.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return path


def _listed_cases(root: Path, table: Path) -> list[Case]:
    rows = read_rows(table)
    problems = [
        f"{row['case'] or f'line {line}'}: {problem}. {fix}."
        for line, row in enumerate(rows, start=2)
        for _, problem, fix in row_problems(row)
    ]
    names = [row["case"] for row in rows]
    problems += [
        f"{name}: listed {names.count(name)} times. Keep one row per case."
        for name in dict.fromkeys(names)
        if names.count(name) > 1
    ]
    if problems:
        msg = "\n".join([f"{table}: {len(problems)} fault(s)", *problems])
        raise DatasetError(msg)
    return [case_of_row(row, root) for row in rows]


def _discovered_cases(root: Path) -> list[Case]:
    for split in SPLITS:
        require_no_fifth_phase(root / images_folder(split))
    cases = discover(root)
    if not cases:
        msg = (
            f"{root}: no images. Put <case>_0000{FILE_ENDING} to <case>_0003{FILE_ENDING} "
            f"({', '.join(PHASES)}) into its imagesTr and imagesTs folders."
        )
        raise DatasetError(msg)
    return cases


def _outside_test(cases: Iterable[Case]) -> list[Case]:
    return [case for case in cases if case.split != "test"]
