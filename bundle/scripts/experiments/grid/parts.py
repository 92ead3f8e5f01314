"""Which subjects a fold trains on, validates on and is scored on: the same for every arm, and apart."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...domain.classes import CLASSES, NO_LESION
from ...domain.errors import ConfigurationError, DatasetError
from ...related import chest_classes
from ...studies.layout import read_dataset, training_part, validation_part
from ...studies.subjects_table import SUBJECTS_FILE


@dataclass(frozen=True)
class Subject:
    """One row of ``subjects.csv``; ``scorable`` says whether its truth is there."""

    case: str
    split: str
    fold: int | None
    tumour_class: str
    scorable: bool = True


@dataclass(frozen=True)
class Parts:
    """The subjects of one fold.

    Args:
        fold: the number.
        training: what the weights learn from.
        validation: what the training validates on. With a test split, the best weights are chosen here; without one,
            these are the scored subjects themselves, and nothing is chosen: the last weights stay.
        scored: what the tables report on.
        split: ``test``, or ``fold`` where the dataset has no test split.
    """

    fold: int
    training: tuple[str, ...]
    validation: tuple[str, ...]
    scored: tuple[str, ...]
    split: str

    @property
    def keep(self) -> str:
        """Which epoch's weights stay: ``train.yaml``'s key ``keep``."""
        return "best" if self.split == "test" else "last"


def liver_subjects(dataset_dir: str | Path) -> list[Subject]:
    """The subjects of a dataset of four-phase liver studies.

    Raises:
        DatasetError: it has no table of folds, or the table breaks its contract.
    """
    _require_table(Path(dataset_dir))
    return [
        Subject(case.case, case.split, case.fold, case.tumour_class, scorable=case.label_file is not None)
        for case in read_dataset(dataset_dir)
    ]


def other_subjects(dataset_dir: str | Path) -> list[Subject]:
    """The subjects of a dataset of another kind, whose table has the columns case, split and fold too.

    Raises:
        DatasetError: it has no such table, or a fold is no number.
    """
    table = _require_table(Path(dataset_dir))
    with table.open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    absent = {"case", "split", "fold"} - set(rows[0] if rows else ())
    if absent:
        msg = f"{table}: lists no case, or lacks the column(s) {', '.join(sorted(absent))}"
        raise DatasetError(msg)
    if wrong := [row["case"] for row in rows if row["fold"] and not row["fold"].isdecimal()]:
        msg = f"{table}: the fold of {', '.join(wrong[:5])} is no whole number. Give one, or leave it empty on test"
        raise DatasetError(msg)
    return [
        Subject(row["case"], row["split"], int(row["fold"]) if row["fold"] else None, row.get("class") or "")
        for row in rows
    ]


@dataclass(frozen=True)
class DatasetKind:
    """How the table of a kind of dataset is read, and which classes each fold must hold."""

    read: Callable[[Path], list[Subject]]
    classes: tuple[str, ...] = ()


_KINDS = {None: DatasetKind(liver_subjects, CLASSES), "chest": DatasetKind(other_subjects, chest_classes.CLASSES)}


def kind_of(name: str | None) -> DatasetKind:
    """The kind of dataset of that name in an arm's ``dataset``; an unknown one has the columns that all must have."""
    return _KINDS.get(name, DatasetKind(other_subjects))


def parts_of(subjects: Sequence[Subject], fold: int) -> Parts:
    """Deal the subjects of a dataset for one held-out fold.

    Raises:
        DatasetError: a part is empty, or a subject would be in two that must be apart.
    """
    training, validation = (
        tuple(subject.case for subject in part(subjects, fold)) for part in (training_part, validation_part)
    )
    test = tuple(subject.case for subject in subjects if subject.split == "test" and subject.scorable)
    parts = Parts(fold, training, validation, test or validation, "test" if test else "fold")
    _require_apart(parts)
    return parts


def require_folds(subjects: Iterable[Subject], folds: Sequence[int], dataset_dir: str | Path) -> None:
    """Refuse folds that the dataset does not have.

    Raises:
        ConfigurationError: it has others.
    """
    there = sorted({subject.fold for subject in subjects if subject.fold is not None})
    absent = [fold for fold in folds if fold not in there]
    if absent:
        has = f"has only {', '.join(map(str, there))}" if there else "has none"
        msg = (
            f"{dataset_dir}: no subject is in fold {', '.join(map(str, absent))}; its table {has}. "
            f"Give fewer --folds, or fill the column fold of {SUBJECTS_FILE}"
        )
        raise ConfigurationError(msg)


def require_classes(subjects: Sequence[Subject], parts: Parts, dataset_dir: str | Path, classes: Sequence[str]) -> None:
    """Refuse a fold that cannot teach every class.

    Args:
        subjects: of the dataset.
        parts: of the fold.
        dataset_dir: for the message.
        classes: that are told apart.

    Raises:
        DatasetError: a class is missing from what the fold trains on.
    """
    training = set(parts.training)
    taught = {subject.tumour_class for subject in subjects if subject.case in training}
    absent = [name for name in classes if name not in taught]
    if absent:
        msg = (
            f"{dataset_dir}: fold {parts.fold} has no {' and no '.join(absent)} among the {len(training)} subjects "
            "that it trains on: no arm could learn to tell the classes apart. Add subjects, or deal the folds by class"
        )
        raise DatasetError(msg)


def spread(subjects: Sequence[Subject], count: int) -> list[Subject]:
    """A few subjects, those with a lesion first, of each class in turn."""
    by_class: dict[str, list[Subject]] = {}
    for subject in subjects:
        by_class.setdefault(subject.tumour_class, []).append(subject)
    ranked = [
        (subject.tumour_class in ("", NO_LESION), place, subject)
        for same in by_class.values()
        for place, subject in enumerate(same)
    ]
    return [subject for _, _, subject in sorted(ranked, key=lambda each: each[:2])[:count]]


def _require_table(root: Path) -> Path:
    table = root / SUBJECTS_FILE
    if not table.is_file():
        msg = f"{table}: no such file. The grid takes its folds from there, so that they are the same for every arm"
        raise DatasetError(msg)
    return table


def _require_apart(parts: Parts) -> None:
    training, validation, scored = map(set, (parts.training, parts.validation, parts.scored))
    both = training & (validation | scored)
    if parts.split == "test":
        both |= validation & scored
    if both:
        msg = (
            f"fold {parts.fold}: {', '.join(sorted(both))} would be in two parts of the fold. Keep one row per subject"
        )
        raise DatasetError(msg)
