"""``subjects.csv``: its columns, and what can be wrong with a row."""

from __future__ import annotations

import csv
import math
import re
from pathlib import Path

from ..domain.classes import CLASSES, NO_LESION
from ..domain.errors import DatasetError
from ..domain.phases import NOMINAL_TIMES_S, PHASES

SUBJECTS_FILE = "subjects.csv"
TIME_COLUMNS = tuple(f"t_{phase}" for phase in PHASES)
COLUMNS = ("case", "class", "split", "fold", "site", *TIME_COLUMNS)
SPLITS = ("train", "val", "test")
FOLDS = range(5)
CASE_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def times_of(row: dict[str, str]) -> tuple[tuple[float, float, float, float], tuple[str, ...]]:
    """Seconds after the injection per phase, nominal where a row leaves them empty, and for which contrast phases."""
    times_s = tuple(float(row[name] or nominal) for name, nominal in zip(TIME_COLUMNS, NOMINAL_TIMES_S, strict=True))
    return times_s, tuple(phase for phase, name in zip(PHASES[1:], TIME_COLUMNS[1:], strict=True) if not row[name])


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


def row_problems(row: dict[str, str]) -> list[tuple[str, str, str]]:
    """What is wrong with one row of ``subjects.csv``.

    Returns:
        ``(column, problem, fix)``, one per fault.
    """
    problems = []
    if not CASE_PATTERN.fullmatch(row["case"]):
        fix = "Use letters, digits, '.', '_' and '-' only"
        problems.append(("case", f"case id {row['case']!r} cannot name a file", fix))
    unlabelled = row["split"] == "test" and not row["class"]
    if row["class"] not in (*CLASSES, NO_LESION) and not unlabelled:
        fix = f"Use one of {', '.join((*CLASSES, NO_LESION))}; empty only on test cases, where it is not known"
        problems.append(("class", f"unknown class {row['class']!r}", fix))
    if row["split"] not in SPLITS:
        problems.append(("split", f"unknown split {row['split']!r}", f"Use one of {', '.join(SPLITS)}"))
    if row["split"] == "test" and row["fold"]:
        problems.append(("fold", f"fold {row['fold']!r} on a test case", "Leave the fold of test cases empty"))
    elif row["fold"] and row["fold"] not in {str(fold) for fold in FOLDS}:
        problems.append(("fold", f"fold {row['fold']!r} is not 0-4", "Use 0-4 on train and val, empty on test"))
    for column in TIME_COLUMNS:
        if row[column] and not _is_time(row[column]):
            fix = "Write seconds, or leave it empty"
            problems.append((column, f"{column} {row[column]!r} is not a number", fix))
    return problems


def _is_time(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
