"""Shows our cases to nnU-Net as its raw data: by links, and by files of our own where it could not read the links.

nnU-Net learns two nested regions, the tumour and in it the HCC, instead of the two classes beside each other. The first
is what every other arm's segmentation learns and what Dice is measured on; with classes, a voxel that is surely tumour
but not surely of one class could fall to the background. The second makes it a classifier too. In its answers 1 is
tumour that is not HCC, a hemangioma, and 2 is HCC: the values of our labels.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

import nibabel as nib

from ...domain.classes import LABELS
from ...domain.errors import DatasetError
from ...domain.phases import PHASES
from ...studies.case import FILE_ENDING, Case, images_folder, labels_folder, mask_file_name, phase_file_name
from ...studies.layout import CHANNEL_NAMES, DATASET_FILE
from ...studies.nifti import open_nifti, same_grid
from ...studies.reading import read_study

DATASET = "Dataset001_Liver"
DATASET_ID = 1

REGIONS = {"background": LABELS["background"], "tumour": [LABELS["hemangioma"], LABELS["hcc"]], "hcc": LABELS["hcc"]}
REGION_VALUES = [LABELS["hemangioma"], LABELS["hcc"]]
"""Written into a mask one over the other, in the order of the regions."""


def lay_out_training(cases: Sequence[Case], raw: Path) -> None:
    """Make ``raw/Dataset001_Liver`` of the cases to train and validate on, anew.

    Raises:
        DatasetError: a case has no label.
        StudyError: a case cannot be read.
    """
    unlabelled = [case.case for case in cases if case.label_file is None]
    if unlabelled:
        msg = f"no label of {', '.join(unlabelled)}: nnU-Net cannot learn from it. Add it, or leave the case out"
        raise DatasetError(msg)
    dataset = raw / DATASET
    shutil.rmtree(dataset, ignore_errors=True)
    images, labels = dataset / images_folder("train"), dataset / labels_folder("train")
    labels.mkdir(parents=True)
    lay_out_images(cases, images)
    for case in cases:
        (labels / mask_file_name(case.case)).symlink_to(case.label_file.resolve())
    content = {
        "name": "liver",
        "channel_names": CHANNEL_NAMES,
        "labels": REGIONS,
        "regions_class_order": REGION_VALUES,
        "numTraining": len(cases),
        "file_ending": FILE_ENDING,
        # Its default reader refuses oblique affines that are rounded; this one reads as we do.
        "overwrite_image_reader_writer": "NibabelIOWithReorient",
    }
    (dataset / DATASET_FILE).write_text(json.dumps(content, indent=2) + "\n")


def lay_out_images(cases: Iterable[Case], folder: Path) -> None:
    """Put the four phases of each case into a folder.

    nnU-Net wants four files on one grid. Where a study has them, they are linked. Where it has one file of four
    channels, phases on other grids, or lacks a phase, what every other arm sees of it is written: phases on the
    reference grid, an absent one zero.

    Raises:
        StudyError: a case cannot be read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for case in cases:
        names = [phase_file_name(case.case, phase) for phase in range(len(PHASES))]
        if _on_one_grid(case):
            for name, file in zip(names, case.phase_files, strict=True):
                (folder / name).symlink_to(file.resolve())
        else:
            study = read_study(case)
            for name, volume in zip(names, study.image, strict=True):
                nib.save(nib.Nifti1Image(volume, study.affine), folder / name)


def _on_one_grid(case: Case) -> bool:
    if any(file is None or not file.name.endswith(FILE_ENDING) for file in case.phase_files):
        return False
    first, *others = (open_nifti(file) for file in case.phase_files)
    return all(
        same_grid(other.shape, other.affine, first.shape, first.affine)
        # nnU-Net compares the spacings to the last digit.
        and other.header.get_zooms() == first.header.get_zooms()
        for other in others
    )
