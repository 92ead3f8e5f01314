"""A CSV of paths: one row a subject, one column a phase."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np

from ...domain.classes import CLASSES, NO_LESION
from ...domain.entry import entry_point
from ...domain.errors import DatasetError, StudyError
from ...domain.phases import PHASES
from ..case import Case
from ..sources import ENDINGS
from ..subjects_table import COLUMNS as SUBJECT_COLUMNS
from ..subjects_table import row_problems, times_of
from .conversion import ConversionOptions, convert, require_new_folder
from .dealing import SHARES
from .lesion_label import as_lesion
from .source_case import SourceCase, SourceImages, Volume, read_mask, read_phase

REQUIRED = ("case", *PHASES)
MASKS = ("label", "liver")
COLUMNS = (*REQUIRED, *MASKS, *(column for column in SUBJECT_COLUMNS if column != "case"))


@entry_point
def import_csv(
    table: str,
    output_dir: str,
    register: str | None = "none",
    split_shares: Sequence[float] = SHARES,
) -> None:
    """Import the NIfTI files that a CSV names; the run id ``import_csv`` of ``configs/import_layouts.yaml``.

    Args:
        table: the CSV. Columns ``case``, ``pre``, ``arterial``, ``portal_venous``, ``delayed``; where known ``label``,
            ``liver``, ``class``, ``split``, ``fold``, ``site``, ``t_pre`` … ``t_delayed``. Paths are relative to it.
        output_dir: new or empty folder for the dataset.
        register: ``none``, ``rigid`` or ``deformable``.
        split_shares: of train, val and test, where the column ``split`` is empty.

    Raises:
        SystemExit: with all faults of the table, or because no case could be imported; nothing is written.
    """
    convert_csv(table, output_dir, options=ConversionOptions(register, split_shares))


def convert_csv(table: str | Path, output_dir: str | Path, *, options: ConversionOptions | None = None) -> list[Case]:
    """``import_csv`` as a library function.

    A label's values are ours (1 hemangioma, 2 hcc); with a class in the row it may also be a mask with one value,
    whichever.

    Returns:
        The cases of the new dataset.

    Raises:
        ConfigurationError: an option is wrong, or ``output_dir`` holds something.
        DatasetError: the table is wrong, with every fault and its line; or no case could be imported.
    """
    if not table or not Path(table).is_file():
        msg = f"table {table}: no such file. Give the CSV with the columns {', '.join(REQUIRED)}."
        raise DatasetError(msg)
    require_new_folder(output_dir)
    cases = _cases(Path(table))
    return convert(cases, [], output_dir, name="csv", options=options or ConversionOptions())


def _cases(table: Path) -> list[SourceCase]:
    rows = _rows(table)
    faults = [f"line {line}: {fault}" for line, row in rows for fault in _row_faults(row, table.parent)]
    faults += _repeated(rows, table.parent)
    splits = {bool(row["split"]) for _, row in rows}
    if len(splits) > 1:
        lines = ", ".join(str(line) for line, row in rows if not row["split"])
        faults.append(f"split: empty in line(s) {lines}, filled in the others. Fill all, or none to have them dealt.")
    if faults:
        raise DatasetError("\n".join([f"{table}: {len(faults)} fault(s), nothing is written", *faults]))
    return [_source_case(row, table.parent) for _, row in rows]


def _rows(table: Path) -> list[tuple[int, dict[str, str]]]:
    """The rows with their lines; every known column is there, empty where the table lacks it."""
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, restkey="")
            reader.fieldnames = columns = [name.strip().lower() for name in reader.fieldnames or ()]
            _require_columns(columns, table)
            rows = []
            for row in reader:
                cells = {name: (row.get(name) or "").strip() for name in COLUMNS}
                if any(cells.values()):
                    rows.append((reader.line_num, cells | {"surplus": "".join(row.get("") or ())}))
    except (UnicodeDecodeError, csv.Error) as error:
        msg = f"{table}: not a UTF-8 comma-separated table ({error}). Save it as CSV (UTF-8)."
        raise DatasetError(msg) from error
    if not rows:
        msg = f"{table}: lists no case. Add one row per case with the columns {', '.join(COLUMNS)}."
        raise DatasetError(msg)
    return rows


def _require_columns(columns: Sequence[str], table: Path) -> None:
    if len(columns) == 1 and any(mark in columns[0] for mark in ";\t"):
        msg = f"{table}: its columns are not separated by commas. Save it with commas."
        raise DatasetError(msg)
    faults = []
    if absent := [name for name in REQUIRED if name not in columns]:
        faults.append(f"line 1: lacks the column(s) {', '.join(absent)}.")
    if unknown := [name or "''" for name in columns if name not in COLUMNS]:
        faults.append(f"line 1: does not know the column(s) {', '.join(unknown)}. Rename them, or take them out.")
    if repeated := sorted({name for name in columns if columns.count(name) > 1}):
        faults.append(f"line 1: has the column(s) {', '.join(repeated)} twice. Keep one.")
    if faults:
        columns_text = f"The columns are {', '.join(COLUMNS)}."
        raise DatasetError("\n".join([f"{table}: {len(faults)} fault(s), nothing is written", *faults, columns_text]))


def _row_faults(row: dict[str, str], folder: Path) -> list[str]:
    # An empty class or split is allowed here; row_problems knows only the table of a finished dataset.
    finished = row | {"class": row["class"] or NO_LESION, "split": row["split"] or "train"}
    faults = [f"{problem}. {fix}." for _, problem, fix in row_problems(finished)]
    for column in (*PHASES, *MASKS):
        if row[column]:
            faults += _path_faults(folder / row[column], column)
    if not row["pre"] and not row["arterial"] and not row["portal_venous"] and not row["delayed"]:
        faults.append(f"names no image. Give {', '.join(PHASES)}.")
    files = [row[phase] for phase in PHASES if row[phase]]
    if len(set(files)) < len(files):
        faults.append("the same file for two phases. Give each phase its own.")
    if row["split"] in ("train", "val") and not row["label"]:
        faults.append(f"split {row['split']} without a label. Give a label, or the split test.")
    if not any("is not a number" in fault for fault in faults):
        times, _ = times_of(row)
        if not all(earlier < later for earlier, later in pairwise(times)):
            shown = ", ".join(f"{phase} {time:g} s" for phase, time in zip(PHASES, times, strict=True))
            faults.append(f"the times do not increase ({shown}; nominal where empty). Correct them, or the phases.")
    if row["surplus"]:
        faults.append("more cells than columns. Put cells that hold a comma into quotes.")
    return faults


def _path_faults(path: Path, column: str) -> list[str]:
    """Named by the column: a path would show the names of the user's folders, and the line says which it is."""
    if path.is_dir() or path.suffix.lower() in (".dcm", ".ima"):
        return [f"{column}: a folder or DICOM, not a NIfTI file. DICOM is imported by import_dicom."]
    if not path.is_file():
        return [f"{column}: no such file. Correct the path; it is relative to the table."]
    if not path.name.endswith(ENDINGS):
        return [f"{column}: not called .nii.gz or .nii. Give a NIfTI file; DICOM is imported by import_dicom."]
    return []


def _repeated(rows: Sequence[tuple[int, dict[str, str]]], folder: Path) -> list[str]:
    """Cases that two rows name, and images that two cases share."""
    faults = []
    for what, keys in (
        ("case", lambda row: {row["case"]} - {""}),
        ("image file", lambda row: {(folder / row[phase]).resolve() for phase in PHASES if row[phase]}),
    ):
        first: dict[object, int] = {}
        for line, row in rows:
            others = {first.setdefault(key, line) for key in keys(row)} - {line}
            faults += [f"line {line}: the same {what} as line {other}. Keep one of them." for other in sorted(others)]
    return faults


def _source_case(row: dict[str, str], folder: Path) -> SourceCase:
    files = {column: folder / row[column] for column in (*PHASES, *MASKS) if row[column]}
    times_s, nominal_times = times_of(row)
    return SourceCase(
        row["case"],
        partial(_read, files, row["class"]),
        tumour_class=row["class"],
        split=row["split"],
        fold=int(row["fold"]) if row["fold"] else None,
        site=row["site"],
        times_s=times_s,
        nominal_times=nominal_times,
    )


def _read(files: dict[str, Path], tumour_class: str) -> SourceImages:
    phases = tuple(read_phase(files[phase], phase) if phase in files else None for phase in PHASES)
    label = liver = None
    if "label" in files:
        stored = read_mask(files["label"], "label")
        label = Volume(_our_label(stored.data, tumour_class), stored.affine)
    if "liver" in files:
        stored = read_mask(files["liver"], "liver mask")
        liver = Volume((stored.data > 0).astype(np.uint8), stored.affine)
    return SourceImages(phases, label, liver)


def _our_label(label: np.ndarray, tumour_class: str) -> np.ndarray:
    values = np.unique(label)
    if len(values[values != 0]) == 1 and tumour_class in CLASSES and values.min() >= 0:
        return as_lesion(label, tumour_class)
    if not set(values.tolist()) <= {0, 1, 2}:
        shown = ", ".join(f"{value:g}" for value in values[:5])
        msg = (
            f"label: holds the values {shown}. Use 0 background, 1 hemangioma, 2 hcc, or one value for the lesion and "
            "its class in the column class."
        )
        raise StudyError(msg)
    return label.astype(np.uint8)
