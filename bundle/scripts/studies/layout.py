"""The dataset layout on disk: nnU-Net v2 raw folders plus ``subjects.csv``."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np

from ..domain.classes import CLASSES, LABELS, NO_LESION
from ..domain.errors import DatasetError
from ..domain.phases import NOMINAL_TIMES_S, PHASES
from .subjects_table import CASE_PATTERN, COLUMNS, FOLDS, SPLITS, SUBJECTS_FILE, read_rows, row_problems
from .writing import replace_when_written

FILE_ENDING = ".nii.gz"
LIVER_FOLDER = "liver"

PHASE_FILE_PATTERN = re.compile(rf"(?P<case>{CASE_PATTERN.pattern})_(?P<phase>\d{{4}})\.nii\.gz")


@dataclass(frozen=True)
class Case:
    """Where one subject's files are and what is known about it before any file is opened.

    Args:
        case: identifier, unique in a dataset.
        phase_files: one file per phase in the order of ``PHASES``; None where a phase is missing.
        volume_file: one 4-channel file ``(X, Y, Z, 4)`` instead of the four.
        label_file: voxel values of ``LABELS``.
        liver_file: liver mask.
        tumour_class: one of ``CLASSES``, ``"none"``, or ``""`` where it is unknown.
        split: ``"train"``, ``"val"`` or ``"test"``.
        fold: 0-4 for cross-validation on train and val; None on test or where unknown.
        site: scanner or centre.
        times_s: seconds after the bolus' arrival, per phase.
    """

    case: str
    phase_files: tuple[Path | None, ...] = (None,) * len(PHASES)
    volume_file: Path | None = None
    label_file: Path | None = None
    liver_file: Path | None = None
    tumour_class: str = ""
    split: str = "test"
    fold: int | None = None
    site: str = ""
    times_s: tuple[float, float, float, float] = NOMINAL_TIMES_S

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file that belongs to the case, images first."""
        candidates = (*self.phase_files, self.volume_file, self.label_file, self.liver_file)
        return tuple(file for file in candidates if file is not None)


def images_folder(split: str) -> str:
    """``imagesTs`` for the test split, ``imagesTr`` for train and val."""
    return "imagesTs" if split == "test" else "imagesTr"


def labels_folder(split: str) -> str:
    """``labelsTs`` for the test split, ``labelsTr`` for train and val."""
    return "labelsTs" if split == "test" else "labelsTr"


def phase_file_name(case: str, phase: int) -> str:
    """``<case>_000k.nii.gz``, ``k`` the phase's index in ``PHASES``."""
    return f"{case}_{phase:04d}{FILE_ENDING}"


def read_dataset(dataset_dir: str | Path) -> list[Case]:
    """List a dataset's cases; files are looked for, not opened.

    Without ``subjects.csv`` the class comes from the label (the one exception to "not opened"), ``imagesTr``
    is the train split, ``imagesTs`` the test split, times are nominal and folds unknown.

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
    if not table.is_file():
        return _discover(root)
    rows = read_rows(table)
    problems = [
        f"{row['case'] or f'row {i}'}: {problem}. {fix}."
        for i, row in enumerate(rows, start=2)
        for problem, fix in row_problems(row)
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


def case_of_row(row: dict[str, str], root: Path) -> Case:
    """A case from a row without problems and the files that are there."""
    times_s = tuple(float(row[f"t_{phase}"] or nominal) for phase, nominal in zip(PHASES, NOMINAL_TIMES_S, strict=True))
    return _with_files(
        root,
        row["case"],
        split=row["split"],
        tumour_class=row["class"],
        fold=int(row["fold"]) if row["fold"] else None,
        site=row["site"],
        times_s=times_s,
    )


def select(cases: Iterable[Case], *, split: str | None = None, folds: Iterable[int] | None = None) -> list[Case]:
    """The cases of a split and of some folds; None means all.

    Raises:
        DatasetError: an unknown split, or nothing is left.
    """
    cases = list(cases)
    if split is not None and split not in SPLITS:
        msg = f"split {split!r} is unknown. Use one of {_listed(SPLITS)}, or none for all cases."
        raise DatasetError(msg)
    wanted_folds = None if folds is None else set(folds)
    chosen = [
        case
        for case in cases
        if (split is None or case.split == split) and (wanted_folds is None or case.fold in wanted_folds)
    ]
    if not chosen:
        msg = (
            f"none of the {len(cases)} cases has split {split or 'any'} and fold {_listed(wanted_folds or ['any'])}. "
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
    return select(_for_cross_validation(cases), folds=set(FOLDS) - {fold})


def validation_part(cases: Iterable[Case], fold: int | None = None) -> list[Case]:
    """The cases to validate on: split ``val``, or with a fold, that fold of train and val.

    Raises:
        DatasetError: nothing is left.
    """
    if fold is None:
        return select(cases, split="val")
    return select(_for_cross_validation(cases), folds=[fold])


def write_subjects(dataset_dir: str | Path, cases: Iterable[Case]) -> Path:
    """Write ``subjects.csv``; written aside, then renamed."""
    path = Path(dataset_dir) / SUBJECTS_FILE
    with replace_when_written(path) as aside, aside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for case in cases:
            fold = "" if case.fold is None else case.fold
            writer.writerow(
                [case.case, case.tumour_class, case.split, fold, case.site, *(f"{t:.6g}" for t in case.times_s)]
            )
    return path


def write_dataset_json(dataset_dir: str | Path, name: str, n_training: int) -> Path:
    """Write nnU-Net v2's ``dataset.json``.

    Args:
        dataset_dir: the ``DatasetXXX_Name`` folder.
        name: the dataset's name.
        n_training: number of cases in ``imagesTr`` (train and val).
    """
    path = Path(dataset_dir) / "dataset.json"
    content = {
        "name": name,
        "channel_names": {str(index): phase for index, phase in enumerate(PHASES)},
        "labels": LABELS,
        "numTraining": n_training,
        "file_ending": FILE_ENDING,
    }
    with replace_when_written(path) as aside:
        aside.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return path


def cases_in_folder(folder: Path) -> list[str]:
    """Names of the cases with at least one ``<case>_000k.nii.gz`` in a folder, sorted.

    Raises:
        DatasetError: a case has more channels than the four phases.
    """
    matches = [m for m in (PHASE_FILE_PATTERN.fullmatch(file.name) for file in folder.iterdir()) if m]
    surplus = sorted(m.string for m in matches if int(m["phase"]) >= len(PHASES))
    if surplus:
        msg = (
            f"{folder}: {_listed(surplus)} would be a fifth phase or later. Keep the four phases "
            f"{_listed(PHASES)} as _0000 to _0003 and move the other files elsewhere."
        )
        raise DatasetError(msg)
    return sorted({m["case"] for m in matches})


def _for_cross_validation(cases: Iterable[Case]) -> list[Case]:
    return [case for case in cases if case.split != "test"]


def _discover(root: Path) -> list[Case]:
    cases = []
    for split in ("train", "test"):
        folder = root / images_folder(split)
        if folder.is_dir():
            cases += [
                _with_files(root, name, split=split, tumour_class=_class_of_label(_label_file(root, name, split)))
                for name in cases_in_folder(folder)
            ]
    if not cases:
        msg = (
            f"{root}: no images. Put <case>_0000{FILE_ENDING} to <case>_0003{FILE_ENDING} "
            f"({_listed(PHASES)}) into its imagesTr and imagesTs folders."
        )
        raise DatasetError(msg)
    return cases


def _with_files(root: Path, name: str, *, split: str, **known: object) -> Case:
    images = root / images_folder(split)
    return Case(
        case=name,
        phase_files=tuple(_existing(images / phase_file_name(name, phase)) for phase in range(len(PHASES))),
        label_file=_label_file(root, name, split),
        liver_file=_existing(root / LIVER_FOLDER / f"{name}{FILE_ENDING}"),
        split=split,
        **known,
    )


def _label_file(root: Path, name: str, split: str) -> Path | None:
    return _existing(root / labels_folder(split) / f"{name}{FILE_ENDING}")


def _class_of_label(label_file: Path | None) -> str:
    """The class whose value covers most voxels of a label; ``""`` where there is no readable label."""
    if label_file is None:
        return ""
    try:
        label = np.asanyarray(nib.load(label_file).dataobj)
    except Exception:  # nibabel and gzip raise many kinds; the integrity check names the fault
        return ""
    voxels = {name: int(np.count_nonzero(label == LABELS[name])) for name in CLASSES}
    return max(voxels, key=voxels.get) if any(voxels.values()) else NO_LESION


def _existing(file: Path) -> Path | None:
    return file if file.is_file() else None


def _listed(names: Iterable[object]) -> str:
    return ", ".join(str(name) for name in names)
