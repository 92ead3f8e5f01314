"""The studies that a fine-tuning learns from and is judged on, as a dataset in the nnU-Net raw layout."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import nibabel as nib
import numpy as np

from lib.errors import BadRequestError
from lib.labels.label import Label
from lib.labels.store import LabelStore
from lib.studies.folder import FolderSource
from lib.studies.study import StudySource
from scripts.domain.classes import CLASSES, LABELS, NO_LESION, tumour_class_of
from scripts.domain.errors import MTINetError
from scripts.domain.writing import replace_when_written
from scripts.studies.case import Case, images_folder, labels_folder, mask_file_name, phase_file_name
from scripts.studies.case_checks import check_case
from scripts.studies.layout import read_dataset, write_dataset_json, write_subjects
from scripts.studies.nifti_writing import write_nifti

ORIGINAL_CASES = 40
_HELD_OUT_OF = 5
"""One study in five is held out."""


@dataclass(frozen=True)
class TrainingSet:
    """A dataset on disk.

    Args:
        folder: nnU-Net raw layout; split val is held out.
        cases: how many: ``corrected`` by readers and ``original``, to learn from; ``held_out``.
        learned: the cases to learn from.
        left_out: why a reader's label is not used, by case.
    """

    folder: Path
    cases: Mapping[str, int]
    learned: Sequence[str]
    left_out: Mapping[str, str]


def held_out_rank(case_id: str) -> float:
    """A number in [0, 1) that is a case's own for ever: below a fifth it is held out, whenever it was labelled."""
    return int(hashlib.sha256(case_id.encode()).hexdigest()[:12], 16) / 16**12


def build(
    folder: Path,
    *,
    source: StudySource,
    labels: LabelStore,
    original: Sequence[Case] = (),
    original_cases: int = ORIGINAL_CASES,
    learned: Collection[str] = (),
) -> TrainingSet:
    """Write the dataset: what readers said, mixed with studies that were labelled from the start.

    Images are linked, not copied. A study that is labelled once is held out for ever or never, by a hash of its name;
    only where that would hold out no lesion at all, one study with a lesion is. What promoted weights once learned from
    is never held out again, whatever became of its label or split since.

    Args:
        folder: new.
        source: opens the readers' studies.
        labels: readers' labels count as corrected studies; version 0, which came with the dataset, as original ones.
        original: labelled cases of another dataset; its test split is left alone.
        original_cases: how many original cases to learn from at most; as many as half of it are held out.
        learned: cases that promoted weights learned from.

    Raises:
        BadRequestError: there are not two studies with a lesion, one to learn from and one to hold out.
    """
    corrected, left_out = _corrected(source, labels, folder)
    taken = {case.case for case in corrected} | left_out.keys()
    pool = {case.case: case for case in (*_given(source, labels), *original) if case.split != "test"}
    others = [case for name, case in pool.items() if name not in taken and case.label_file is not None]
    chosen = _hold_one_out([*_dealt(corrected, learned), *_some(others, original_cases, learned)], learned)
    written = [_write(case, folder) for case in chosen]
    write_subjects(folder, written)
    write_dataset_json(folder, folder.name, len(written))
    to_learn = [case for case in written if case.split == "train"]
    return TrainingSet(
        folder=folder,
        cases={
            "corrected": sum(case.case in taken for case in to_learn),
            "original": sum(case.case not in taken for case in to_learn),
            "held_out": len(written) - len(to_learn),
        },
        learned=[case.case for case in to_learn],
        left_out=left_out,
    )


def original_dataset(folder: str) -> list[Case]:
    """The labelled cases of ``--conf original_data``; none where it is empty.

    Raises:
        DatasetError: it is no dataset.
    """
    return [case for case in read_dataset(folder) if case.label_file is not None] if folder else []


def _corrected(source: StudySource, labels: LabelStore, folder: Path) -> tuple[list[Case], dict[str, str]]:
    """The studies that a reader labelled, and why some of them cannot be used."""
    given = set() if labels.dataset is None else labels.dataset.cases()
    sound, left_out = [], {}
    for case_id in labels.labelled():
        # A label of the dataset would be read only to learn that no reader gave it.
        label = None if case_id in given and not (labels.folder / case_id).is_dir() else labels.latest(case_id)
        if label is None or label.version == 0:
            continue
        try:
            case = _with_label(source.open(case_id).case, label, folder)
        except MTINetError as error:
            left_out[case_id] = f"it cannot be opened ({type(error).__name__})"
            continue
        faults = check_case(replace(case, split="train"), folder).faults
        if faults:
            left_out[case_id] = faults[0].problem
        else:
            sound.append(case)
    return sound, left_out


def _given(source: StudySource, labels: LabelStore) -> list[Case]:
    """The source's own labelled cases, where they count."""
    return list(source.cases().values()) if labels.dataset is not None and isinstance(source, FolderSource) else []


def _with_label(case: Case, label: Label, folder: Path) -> Case:
    """The case with the reader's mask, whose voxels all have the study's class, as the bundle wants it."""
    image = nib.load(label.mask_file)
    mask = np.asarray(image.dataobj)
    tumour_class = label.diagnosis if label.diagnosis in CLASSES else tumour_class_of(mask)
    value = LABELS[tumour_class] if tumour_class != NO_LESION else 0
    file = folder / "masks" / mask_file_name(case.case)
    with replace_when_written(file) as aside:
        write_nifti(((mask > 0) * value).astype(np.uint8), image.affine, aside)
    return replace(case, label_file=file, tumour_class=tumour_class)


def _dealt(cases: Sequence[Case], learned: Collection[str]) -> list[Case]:
    held_out = {x.case for x in cases if held_out_rank(x.case) * _HELD_OUT_OF < 1 and x.case not in learned}
    return [replace(x, split="val" if x.case in held_out else "train", fold=None) for x in cases]


def _some(cases: Sequence[Case], original_cases: int, learned: Collection[str]) -> list[Case]:
    """The same few whenever it is asked, each in the split that it always had."""
    if not any(case.split == "val" for case in cases):
        cases = _dealt(cases, learned)
    cases = [replace(case, split="train") if case.case in learned else case for case in cases]
    ranked = sorted(cases, key=lambda case: held_out_rank(case.case))
    train = [case for case in ranked if case.split == "train"][:original_cases]
    val = [case for case in ranked if case.split == "val"][: (original_cases + 1) // 2]
    return [replace(case, fold=None, tumour_class=case.tumour_class or _class_of(case)) for case in (*train, *val)]


def _class_of(case: Case) -> str:
    return tumour_class_of(np.asarray(nib.load(case.label_file).dataobj))


def _hold_one_out(cases: list[Case], learned: Collection[str]) -> list[Case]:
    with_lesion = [case for case in cases if case.tumour_class in CLASSES]
    if len(with_lesion) < 2:
        msg = (
            f"{len(with_lesion)} of {len(cases)} labelled studies can be used and have a lesion, and it takes two: one "
            "to learn from, one to compare the weights on. Label more studies, or start the server with original_data"
        )
        raise BadRequestError(msg)
    for missing, other in (("val", "train"), ("train", "val")):
        if not any(case.split == missing for case in with_lesion):
            free = [x for x in with_lesion if x.split == other and (missing == "train" or x.case not in learned)]
            if not free:
                msg = (
                    "the served weights have learned from every labelled study with a lesion, so none is left to "
                    "compare weights on. Label one more"
                )
                raise BadRequestError(msg)
            moved = min(free, key=lambda case: held_out_rank(case.case))
            cases = [replace(case, split=missing) if case is moved else case for case in cases]
            with_lesion = [case for case in cases if case.tumour_class in CLASSES]
    return cases


def _write(case: Case, folder: Path) -> Case:
    """Link a case's files where the layout wants them."""
    images, labels = folder / images_folder(case.split), folder / labels_folder(case.split)
    for phase, file in enumerate(case.phase_files):
        if file is not None:
            _link(file, images / phase_file_name(case.case, phase))
    _link(case.label_file, labels / mask_file_name(case.case))
    return case


def _link(file: Path, name: Path) -> None:
    name.parent.mkdir(parents=True, exist_ok=True)
    name.symlink_to(file.resolve())
