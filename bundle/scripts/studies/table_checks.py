"""Integrity of a dataset's tables and folders: every fault that shows without opening an image."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path

from ..domain.classes import LABELS
from ..domain.errors import DatasetError
from ..domain.phases import PHASES
from .case import LIVER_FOLDER, Case, images_folder, labels_folder, mask_file_name, phase_file_name
from .discovery import cases_in_folder, discover
from .fault import Fault
from .layout import CHANNEL_NAMES, DATASET_FILE, case_of_row
from .subjects_table import SUBJECTS_FILE, read_rows, row_problems

_FOLDERS = tuple(folder(split) for split in ("train", "test") for folder in (images_folder, labels_folder))


def check_table(root: Path) -> tuple[list[Case], list[Fault]]:
    """The cases whose files can be looked at, once each, and the faults of ``subjects.csv``.

    Args:
        root: the dataset folder; without a readable table its file names make the list.
    """
    table = root / SUBJECTS_FILE
    if not table.is_file():
        return discover(root), []
    try:
        rows = read_rows(table)
    except DatasetError as error:
        return discover(root), [Fault("", table, str(error).removeprefix(f"{table}: "), "Correct the table")]
    faults, cases = [], {}
    for row in rows:
        problems = row_problems(row)
        faults += [Fault(row["case"], table, problem, fix) for _, problem, fix in problems]
        wrong = {column for column, _, _ in problems}
        if "case" not in wrong and row["case"] not in cases:
            # What the row says wrongly is left open, so that the case's files are checked all the same.
            known = row | dict.fromkeys(wrong, "")
            if "split" in wrong:
                known["split"] = "test" if row["case"] in cases_in_folder(root / images_folder("test")) else "train"
            cases[row["case"]] = case_of_row(known, root)
            faults += _time_faults(cases[row["case"]], table)
    return list(cases.values()), faults + list(_repeated(rows, table))


def check_folders(root: Path, cases: Iterable[Case]) -> list[Fault]:
    """Faults of the folders: a case in Tr and Ts, files of no listed case, a ``dataset.json`` that disagrees.

    Args:
        root: the dataset folder.
        cases: the cases that should be there.
    """
    cases = list(cases)
    in_both = set(cases_in_folder(root / images_folder("train"))) & set(cases_in_folder(root / images_folder("test")))
    faults = [
        Fault(name, root, "the subject has images in imagesTr and imagesTs, so it is in two splits", "Keep one of them")
        for name in sorted(in_both)
    ]
    expected = {root / folder / name for case in cases for folder, name in _file_names(case)}
    for folder in (*_FOLDERS, LIVER_FOLDER):
        there = sorted(file for file in (root / folder).glob("*") if not file.name.startswith("."))
        faults += [
            Fault("", file, "orphan file: no listed case has it in this folder", _orphan_fix(folder))
            for file in there
            if file not in expected and not any(file.name.startswith(f"{name}_") for name in in_both)
        ]
    return faults + _dataset_json_faults(root / DATASET_FILE)


def _time_faults(case: Case, table: Path) -> list[Fault]:
    if all(earlier < later for earlier, later in pairwise(case.times_s)):
        return []
    times = ", ".join(f"{phase} {time:g} s" for phase, time in zip(PHASES, case.times_s, strict=True))
    problem = f"swapped phase: the times do not increase ({times})"
    return [Fault(case.case, table, problem, "Correct the times, or the order of _0000 to _0003")]


def _repeated(rows: list[dict[str, str]], table: Path) -> Iterator[Fault]:
    for name, count in Counter(row["case"] for row in rows).items():
        if count > 1:
            splits = sorted({row["split"] for row in rows if row["case"] == name})
            yield Fault(name, table, f"duplicate id: listed {count} times", "Keep one row per case")
            if len(splits) > 1:
                yield Fault(name, table, f"the subject is in two splits ({', '.join(splits)})", "Keep one of them")


def _file_names(case: Case) -> Iterator[tuple[str, str]]:
    for phase in range(len(PHASES)):
        yield images_folder(case.split), phase_file_name(case.case, phase)
    yield labels_folder(case.split), mask_file_name(case.case)
    yield LIVER_FOLDER, mask_file_name(case.case)


def _orphan_fix(folder: str) -> str:
    what = "<case>_0000.nii.gz to _0003.nii.gz" if folder.startswith("images") else "<case>.nii.gz"
    return f"Add the case to {SUBJECTS_FILE} with the right split, rename the file to {what}, or move it elsewhere"


def _dataset_json_faults(file: Path) -> list[Fault]:
    """nnU-Net's own description must name the channels and labels as they are."""
    if not file.is_file():
        return []
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        channels, labels = content["channel_names"], content["labels"]
    except (ValueError, LookupError, TypeError) as error:
        return [Fault("", file, f"not a dataset description of nnU-Net v2 ({error!r})", "Write it again, or remove it")]
    faults = []
    if channels != CHANNEL_NAMES:
        problem = f"swapped or missing phase: channel_names is {channels}"
        faults.append(Fault("", file, problem, f"Bring files and channel_names into the order {CHANNEL_NAMES}"))
    if labels != LABELS:
        faults.append(Fault("", file, f"labels is {labels}", f"Bring label values and labels to {LABELS}"))
    return faults
