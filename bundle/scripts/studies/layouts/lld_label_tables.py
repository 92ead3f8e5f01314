"""The label tables of LLD-MMRI's challenge: which patient is in which split and fold."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from ...domain.errors import DatasetError
from ..subjects_table import FOLDS
from .lld_annotation import digits_of

FOLDERS = ("classification_dataset/labels", "labels")
"""Where the tables lie: in the original release, or beside the masks."""

_FOLD_FILE = re.compile(r"(train|val)_fold(\d+)")


@dataclass(frozen=True)
class TableEntry:
    """What the tables say of one patient.

    Args:
        patient: identifier as the table writes it.
        category: number; ``lld_annotation.WITHHELD`` where the challenge withholds it.
        split: train, val or test.
        fold: 0-4; None where no table gives one.
    """

    patient: str
    category: int
    split: str
    fold: int | None = None


def read_label_tables(root: Path) -> dict[str, TableEntry]:
    """All tables of a release; none is no fault.

    ``labels*.txt`` without another word is the training split, with ``val`` the validation and with ``test`` the test
    split; ``val_fold1.txt`` to ``val_fold5.txt`` are folds 0 to 4. Lines are ``<patient> <category>``, ending in LF
    or CRLF.

    Args:
        root: the release's folder.

    Returns:
        What they say, by the digits of the patient's identifier.

    Raises:
        DatasetError: with every line that is not of that form.
    """
    entries: dict[str, TableEntry] = {}
    folds: dict[str, int] = {}
    faults: list[str] = []
    for file in sorted(file for folder in FOLDERS for file in (root / folder).glob("*.txt")):
        fold = _FOLD_FILE.fullmatch(file.stem)
        split = _split_of(file.stem)
        for line, patient, category in _lines(file, root, faults):
            digits = digits_of(patient)
            if fold is None:
                known = entries.get(digits)
                if known is not None and (known.split != "train" and split != "train") and known.split != split:
                    faults.append(f"{_named(file, root)} line {line}: in {split} here, but in {known.split} elsewhere.")
                if known is None or known.split == "train":
                    entries[digits] = TableEntry(patient, category, split)
            elif fold[1] == "val":
                folds[digits] = int(fold[2]) - 1
                entries.setdefault(digits, TableEntry(patient, category, "train"))
    faults += [f"val_fold{fold + 1}.txt: folds are 1 to {len(FOLDS)}." for fold in set(folds.values()) - set(FOLDS)]
    if faults:
        raise DatasetError("\n".join([f"{root}: {len(faults)} fault(s) in the label tables", *faults]))
    return {
        digits: replace(entry, fold=None if entry.split == "test" else folds.get(digits))
        for digits, entry in entries.items()
    }


def _split_of(stem: str) -> str:
    words = stem.lower()
    if "test" in words:
        return "test"
    return "val" if "val" in words.replace("trainval", "") else "train"


def _lines(file: Path, root: Path, faults: list[str]) -> list[tuple[int, str, int]]:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        faults.append(f"{_named(file, root)}: not readable as text. Download it again.")
        return []
    found = []
    for line, content in enumerate(text.splitlines(), start=1):
        words = content.split()
        if not words:
            continue
        if len(words) != 2 or not digits_of(words[0]) or not re.fullmatch(r"-?\d+", words[1]):
            faults.append(f"{_named(file, root)} line {line}: not '<patient> <category>'. Correct it.")
            continue
        found.append((line, words[0], int(words[1])))
    return found


def _named(file: Path, root: Path) -> str:
    return file.relative_to(root).as_posix()
