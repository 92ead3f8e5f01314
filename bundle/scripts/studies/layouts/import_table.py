"""The table at the end of an import: which cases were taken, which were left, and why."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...domain.classes import CLASSES, NO_LESION
from ...domain.writing import replace_when_written
from ..case import Case
from ..subjects_table import SPLITS
from .source_case import LeftOut

TABLE_FILE = "import.csv"
COLUMNS = ("case", "taken", "class", "split", "label", "remarks")

_NUMBER = re.compile(r"\d+(?:\.\d+)?")
"""Reasons that differ only in their numbers count as one on the terminal."""

_SHOWN = 5
"""Cases named for one reason on the terminal; the file has all."""


@dataclass(frozen=True)
class Taken:
    """A case that was imported.

    Args:
        case: what the dataset says of it, and its files.
        remarks: what the user should know.
    """

    case: Case
    remarks: tuple[str, ...] = ()


def write_table(folder: Path, taken: Iterable[Taken], left: Iterable[LeftOut]) -> Path:
    """Write ``import.csv``: one row a case, with the remarks, or with the reason it was left out."""
    path = folder / TABLE_FILE
    with replace_when_written(path) as aside, aside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for each in taken:
            labelled = "no" if each.case.label_file is None else "yes"
            row = [each.case.case, "yes", each.case.tumour_class, each.case.split, labelled, "; ".join(each.remarks)]
            writer.writerow(row)
        for each in left:
            writer.writerow([each.case, "no", "", "", "", each.reason])
    return path


def table_text(taken: Sequence[Taken], left: Sequence[LeftOut]) -> str:
    """The same for the terminal: counts by class and split, then remarks and reasons with the cases they concern."""
    lines = [f"{len(taken)} of {len(taken) + len(left)} cases taken"]
    if taken:
        lines += _counts(taken)
    remarks = [(remark, each.case.case) for each in taken for remark in each.remarks]
    lines += _grouped("remarks", remarks)
    lines += _grouped("left out", [(each.reason, each.case) for each in left])
    return "\n".join(lines)


def _counts(taken: Sequence[Taken]) -> list[str]:
    count = Counter((each.case.tumour_class or "unknown", each.case.split) for each in taken)
    splits = [split for split in SPLITS if any(found == split for _, found in count)]
    lines = [f"  {'class':<12}" + "".join(f"{split:>8}" for split in splits)]
    for name in (*CLASSES, NO_LESION, "unknown"):
        if any(found == name for found, _ in count):
            lines.append(f"  {name:<12}" + "".join(f"{count[name, split]:>8}" for split in splits))
    unlabelled = sum(each.case.label_file is None for each in taken)
    return [*lines, f"  {unlabelled} without a label"] if unlabelled else lines


def _grouped(title: str, pairs: Sequence[tuple[str, str]]) -> list[str]:
    if not pairs:
        return []
    groups: dict[str, list[tuple[str, str]]] = {}
    for text, case in pairs:
        groups.setdefault(_NUMBER.sub("…", text), []).append((text, case))
    lines = [f"{title}:"]
    for pattern, group in sorted(groups.items(), key=lambda item: -len(item[1])):
        text = pattern if len({text for text, _ in group}) > 1 else group[0][0]
        more = f", … {len(group) - _SHOWN} more" if len(group) > _SHOWN else ""
        lines.append(f"  {len(group):>4}  {text} ({', '.join(case for _, case in group[:_SHOWN])}{more})")
    return lines
