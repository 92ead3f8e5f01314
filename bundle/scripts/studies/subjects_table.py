"""``subjects.csv``: its columns, and what can be wrong with a row."""

from __future__ import annotations

import csv
import math
import re
from pathlib import Path

from ..domain.classes import CLASSES, NO_LESION
from ..domain.errors import DatasetError
from ..domain.phases import PHASES

SUBJECTS_FILE = "subjects.csv"
COLUMNS = ("case", "class", "split", "fold", "site", *(f"t_{phase}" for phase in PHASES))
SPLITS = ("train", "val", "test")
FOLDS = range(5)
CASE_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def read_rows(table: Path) -> list[dict[str, str]]:
    """The rows of ``subjects.csv`` as text, stripped.

    Raises:
        DatasetError: not a UTF-8 table, no rows, or a column is missing.
    """
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            columns = [name.strip() for name in reader.fieldnames or ()]
            reader.fieldnames = columns
            rows = [{name: (row[name] or "").strip() for name in columns} for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        msg = f"{table}: not a UTF-8 comma-separated table ({error}). Save it as CSV; columns: {', '.join(COLUMNS)}."
        raise DatasetError(msg) from error
    absent = [name for name in COLUMNS if name not in columns]
    if absent:
        msg = f"{table}: lacks the column(s) {', '.join(absent)}. The columns are {', '.join(COLUMNS)}."
        raise DatasetError(msg)
    if not rows:
        msg = f"{table}: lists no case. Add one row per case with the columns {', '.join(COLUMNS)}."
        raise DatasetError(msg)
    return rows


def row_problems(row: dict[str, str]) -> list[tuple[str, str]]:
    """What is wrong with one row of ``subjects.csv``, as ``(problem, fix)`` pairs."""
    problems = []
    if not CASE_PATTERN.fullmatch(row["case"]):
        problems.append((f"case id {row['case']!r} is not a file name", "Use letters, digits, '.', '_' and '-' only"))
    if row["class"] not in (*CLASSES, NO_LESION):
        problems.append((f"unknown class {row['class']!r}", f"Use one of {', '.join((*CLASSES, NO_LESION))}"))
    if row["split"] not in SPLITS:
        problems.append((f"unknown split {row['split']!r}", f"Use one of {', '.join(SPLITS)}"))
    if row["split"] == "test" and row["fold"]:
        problems.append((f"fold {row['fold']!r} on a test case", "Leave the fold of test cases empty"))
    elif row["fold"] and row["fold"] not in {str(fold) for fold in FOLDS}:
        problems.append((f"fold {row['fold']!r} is not 0-4", "Use 0-4 on train and val, empty on test"))
    for phase in PHASES:
        if row[f"t_{phase}"] and not _is_time(row[f"t_{phase}"]):
            problems.append(
                (f"t_{phase} {row[f't_{phase}']!r} is not a number of seconds", "Write seconds, or leave it empty")
            )
    return problems


def _is_time(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
