"""LLD-MMRI: 498 patients, eight phases, seven kinds of lesion; the original release and MedSAM2's with masks.

Source: Lou et al., Neural Networks 2025 (SDR-Former), https://github.com/LMMMEng/LLD-MMRI-Dataset; masks: Ma et al.,
arXiv:2504.03600. CC BY-NC 4.0. Neither release says when its phases were taken, so times are nominal.

What is known to be wrong with the data, and what happens here:

- NIfTI headers without spacing and origin: the annotation gives them (identity direction in LPS).
- Patients that carry a hyphen in one place and none in another: matched on their digits.
- Masks of each phase on that phase's grid: the arterial one is taken.
- Phases on different grids: resampled, or with ``register`` aligned, onto the arterial one.
- Phases with their slices in reverse: found by comparing the images, put right, and said; so is a mask that fits its
  boxes only in reverse. A study with all four phases in reverse cannot be told from a sound one.
- Phases that lie centimetres apart, or on another intensity scale: said, not changed.
- Boxes only (original release): imported without a label and so for testing; no mask is made from a box.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from ...domain.entry import entry_point
from ...domain.errors import DatasetError, StudyError
from ...domain.phases import PHASES, REFERENCE_INDEX, REFERENCE_PHASE
from ..case import Case
from ..subjects_table import CASE_PATTERN
from .conversion import ConversionOptions, convert, require_folder, require_new_folder
from .dealing import SHARES
from .lesion_label import as_lesion
from .lld_annotation import CATEGORIES, PHASE_NAMES, WITHHELD, Annotation, digits_of, read_annotation
from .lld_label_tables import TableEntry, read_label_tables
from .slice_order import SliceOrder, put_right
from .source_case import LeftOut, SourceCase, SourceImages, Volume, read_mask, read_phase

SITE = "LLD-MMRI"

_FILE = re.compile(r"(?P<patient>[^_]+)_(?P<category>.+)_(?P<phase>(?!0000)[^_]+)(?:_0000)?\.nii\.gz")
"""MedSAM2's names: images with ``_0000``, labels without."""

_SAID_SHIFT_MM = 10.0
"""From here on, how far a phase lies from the arterial one goes into the table."""

_CLEARLY = 0.5
"""Share of a mask's voxels by which one slice order has to fit its boxes better than the other."""


@dataclass(frozen=True)
class _Files:
    """The images and labels of a release, by digits of the patient and phase name without spaces.

    Args:
        images: MedSAM2's images.
        labels: MedSAM2's labels.
        patients: the original release's folders, by digits.
    """

    images: dict[tuple[str, str], list[Path]] = field(default_factory=dict)
    labels: dict[tuple[str, str], list[Path]] = field(default_factory=dict)
    patients: dict[str, list[Path]] = field(default_factory=dict)


@entry_point
def import_lld_mmri(
    input_dir: str,
    output_dir: str,
    register: str | None = "none",
    split_shares: Sequence[float] = SHARES,
) -> None:
    """Import HCC and hemangioma of LLD-MMRI; the run id ``import_lld_mmri`` of ``configs/import_layouts.yaml``.

    Args:
        input_dir: folder with ``images`` and the annotation, of either release.
        output_dir: new or empty folder for the dataset.
        register: ``none``, ``rigid`` or ``deformable``.
        split_shares: of train, val and test, where there are no label tables.

    Raises:
        SystemExit: the annotation or a label table is wrong, with every fault, or no case could be imported; nothing
            is written.
    """
    convert_lld_mmri(input_dir, output_dir, options=ConversionOptions(register, split_shares))


def convert_lld_mmri(
    input_dir: str | Path, output_dir: str | Path, *, options: ConversionOptions | None = None
) -> list[Case]:
    """``import_lld_mmri`` as a library function.

    Returns:
        The cases of the new dataset.

    Raises:
        ConfigurationError: an option is wrong, or ``output_dir`` holds something.
        DatasetError: the annotation or a label table is wrong; or no case could be imported.
    """
    root = require_folder(input_dir, "LLD-MMRI's images and annotation")
    require_new_folder(output_dir)
    annotation = read_annotation(root)
    tables = read_label_tables(root)
    files = _find_files(root)
    by_digits: dict[str, list[str]] = {}
    for patient in annotation.patients:
        by_digits.setdefault(digits_of(patient), []).append(patient)
    cases: list[SourceCase] = []
    left = [
        LeftOut(_case_name(entry.patient), "in a label table, but not in the annotation.")
        for digits, entry in tables.items()
        if digits not in by_digits
    ]
    for digits, patients in by_digits.items():
        for patient in patients:
            try:
                if len(patients) > 1 or not digits:
                    msg = "its digits name no single patient of the annotation."
                    raise StudyError(msg)
                cases.append(_source_case(annotation, patient, files, tables))
            except StudyError as error:
                left.append(LeftOut(_case_name(patient), str(error)))
    return convert(cases, left, output_dir, name="lld_mmri", options=options or ConversionOptions())


def _find_files(root: Path) -> _Files:
    folder = root / "images"
    if not folder.is_dir():
        msg = f"{root}: no folder images in it. Give the folder that LLD-MMRI was unpacked into."
        raise DatasetError(msg)
    files = _Files()
    for path in sorted(folder.iterdir()):
        if path.is_dir() and digits_of(path.name):
            files.patients.setdefault(digits_of(path.name), []).append(path)
    for place, found in ((folder, files.images), (root / "labels", files.labels)):
        for path in sorted(place.glob("*.nii.gz")):
            if match := _FILE.fullmatch(path.name):
                found.setdefault((digits_of(match["patient"]), match["phase"]), []).append(path)
    return files


def _source_case(annotation: Annotation, patient: str, files: _Files, tables: dict[str, TableEntry]) -> SourceCase:
    category = annotation.category_of(patient)
    entry = tables.get(digits_of(patient))
    if entry is not None and WITHHELD not in (category, entry.category) and entry.category != category:
        msg = f"category {entry.category} in a label table, but {category} in the annotation."
        raise StudyError(msg)
    if category == WITHHELD and entry is not None:
        category = entry.category
    if category == WITHHELD:
        msg = "its category is withheld."
        raise StudyError(msg)
    name = annotation.categories.get(category, str(category))
    tumour_class = next((ours for ours, theirs in CATEGORIES.items() if theirs == name), None)
    if tumour_class is None:
        msg = f"category {name}, neither hemangioma nor HCC."
        raise StudyError(msg)
    split, fold = "", None
    if tables:
        # The challenge's tables list what it gave out to train and validate on; the rest was its test set.
        split, fold = ("test", None) if entry is None else (entry.split, entry.fold)
    return SourceCase(
        _case_name(patient),
        partial(_read, annotation, patient, files, tumour_class),
        tumour_class=tumour_class,
        split=split,
        fold=fold,
        site=SITE,
    )


def _case_name(patient: str) -> str:
    """The identifier without the hyphen that it has only in some places."""
    name = patient.replace("-", "")
    return name if CASE_PATTERN.fullmatch(name) else f"MR{digits_of(patient)}"


def _read(annotation: Annotation, patient: str, files: _Files, tumour_class: str) -> SourceImages:
    entries = [annotation.phase(patient, PHASE_NAMES[phase]) for phase in PHASES]
    volumes = []
    for phase, entry in zip(PHASES, entries, strict=True):
        name = PHASE_NAMES[phase]
        file = _image_file(files, patient, name, entry.study_uid, entry.series_uid)
        volumes.append(Volume(read_phase(file, name).data, entry.affine))
    reference = entries[REFERENCE_INDEX]
    label, remarks = _read_label(files, patient, volumes[REFERENCE_INDEX], reference.box_slices)
    phases, flipped, orders = put_right(volumes, REFERENCE_INDEX)
    remarks += _order_remarks(flipped, orders)
    if label is not None:
        data = label[..., ::-1] if flipped[REFERENCE_INDEX] else label
        label = Volume(as_lesion(data, tumour_class), phases[REFERENCE_INDEX].affine)
    return SourceImages(tuple(phases), label, remarks=tuple(remarks))


def _image_file(files: _Files, patient: str, name: str, study_uid: str, series_uid: str) -> Path:
    digits = digits_of(patient)
    found = files.images.get((digits, name.replace(" ", "")), [])
    for folder in files.patients.get(digits, []):
        original = folder / study_uid / f"{series_uid}.nii.gz"
        found = [*found, *([original] if original.is_file() else [])]
    if len(found) != 1:
        msg = f"{name}: {'no image file' if not found else f'{len(found)} image files, not one'}."
        raise StudyError(msg)
    return found[0]


def _read_label(
    files: _Files, patient: str, image: Volume, box_slices: frozenset[int]
) -> tuple[np.ndarray | None, list[str]]:
    """The arterial phase's mask in the slice order of its image; None where the release has none."""
    found = files.labels.get((digits_of(patient), PHASE_NAMES[REFERENCE_PHASE]), [])
    if not found:
        return None, []
    if len(found) > 1:
        msg = f"label: {len(found)} files, not one."
        raise StudyError(msg)
    label = read_mask(found[0], "label").data
    if label.shape != image.data.shape:
        msg = f"label: shape {label.shape}, but its image's is {image.data.shape}."
        raise StudyError(msg)
    voxels = np.count_nonzero(label, axis=(0, 1))
    if not voxels.any():
        msg = "label: empty, but the annotation has a lesion."
        raise StudyError(msg)
    inside = np.isin(np.arange(len(voxels)), list(box_slices))
    fits, fits_reversed = ((order * inside).sum() / voxels.sum() for order in (voxels, voxels[::-1]))
    if fits_reversed > fits + _CLEARLY:
        return label[..., ::-1], ["label reversed in z to fit its boxes"]
    return label, ["label outside its boxes' slices"] if box_slices and fits < _CLEARLY else []


def _order_remarks(flipped: Sequence[bool], orders: Sequence[SliceOrder | None]) -> list[str]:
    remarks = []
    for phase, flag, order in zip(PHASES, flipped, orders, strict=True):
        if flag:
            remarks.append(f"{phase} was stored in reverse slice order: put right")
        elif order is not None and not flipped[REFERENCE_INDEX] and abs(order.stored.shift_mm) >= _SAID_SHIFT_MM:
            remarks.append(f"{phase} lies {abs(order.stored.shift_mm):.0f} mm from arterial in z: use register")
    return remarks
