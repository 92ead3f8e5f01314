"""Chest slices for training, and whole subjects for validation, on the network grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import nibabel as nib
import numpy as np
import torch
from torch.utils.data import Dataset
from tqdm import tqdm

from ..domain.errors import DatasetError
from ..studies.network_grid import NetworkGrid
from ..studies.nifti import read_volume
from ..studies.slices import collate
from .chest_classes import CLASSES, LESIONS
from .chest_layout import LESIONS_FILE, SLICES_FILE, ChestCase, boxes_of

LOWEST_HU, HIGHEST_HU = -1000.0, 400.0
"""This window becomes 0 to 1."""


@dataclass(frozen=True, eq=False)
class ChestArrays:
    """Slices of one subject on the network grid.

    Args:
        case: where they come from.
        grid: from the file's grid to this one and back.
        affine: of the file.
        image: ``(S, size, size)`` float32, 0 to 1.
        lesions: ``(S, size, size)`` uint8, lesions by number.
        slice_class: ``(S,)`` int64, index into ``CLASSES``.
        lesion_labels: ``(256,)`` int64, by number the index into ``LESIONS`` plus 1.
    """

    case: ChestCase
    grid: NetworkGrid
    affine: np.ndarray
    image: np.ndarray
    lesions: np.ndarray
    slice_class: np.ndarray
    lesion_labels: np.ndarray


def load_chest(cases: Sequence[ChestCase], size: int) -> list[ChestArrays]:
    """Read every case.

    Args:
        cases: of ``read_chest``.
        size: pixels of the network grid, over 384 mm.

    Raises:
        StudyError: a file is no NIfTI volume.
        DatasetError: image, masks and tables of a case do not agree.
    """
    return [_load(case, size) for case in tqdm(cases, desc="reading chests", unit="study")]


def sample(arrays: ChestArrays, index: int) -> dict[str, Any]:
    """One slice as the networks learn from it.

    Returns:
        ``image`` ``(1, H, W)``; ``label`` ``(1, H, W)`` float32, 1 in a lesion; ``slice_class``; ``targets``, a dict of
        ``boxes`` ``(N, 4)`` float32 as Mask R-CNN wants them (column, row, column, row; last pixel not included),
        ``labels`` ``(N,)`` and ``masks`` ``(N, H, W)`` uint8; ``case`` and ``slice``.
    """
    lesions = arrays.lesions[index]
    numbers = np.unique(lesions)
    numbers = numbers[numbers > 0]
    masks = lesions[None] == numbers[:, None, None]
    boxes = np.zeros((len(numbers), 4), dtype=np.float32)
    for box, mask in zip(boxes, masks, strict=True):
        rows, columns = np.nonzero(mask)
        box[:] = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
    return {
        "image": torch.from_numpy(arrays.image[index])[None],
        "label": torch.from_numpy((lesions > 0).astype(np.float32))[None],
        "slice_class": torch.tensor(int(arrays.slice_class[index])),
        "targets": {
            "boxes": torch.from_numpy(boxes),
            "labels": torch.from_numpy(arrays.lesion_labels[numbers]),
            "masks": torch.from_numpy(masks.astype(np.uint8)),
        },
        "case": arrays.case.case,
        "slice": torch.tensor(index),
    }


class ChestSlices(Dataset):
    """Every slice of every case, an item of ``sample`` each; nothing random.

    Args:
        cases: to learn from.
        size: pixels of the network grid.

    Raises:
        DatasetError: no case has a lesion, or files and tables do not agree.
    """

    def __init__(self, cases: Sequence[ChestCase], *, size: int) -> None:
        self.subjects = load_chest(cases, size)
        self._positions = [(s, index) for s in self.subjects for index in range(len(s.image))]
        if not any(s.lesions.any() for s in self.subjects):
            msg = f"none of the {len(cases)} cases has a lesion in its mask. Check the folder lesions and the splits"
            raise DatasetError(msg)

    def set_epoch(self, epoch: int) -> None:
        """Nothing here depends on the epoch; the sampler's order does."""

    def __len__(self) -> int:
        return len(self._positions)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return sample(*self._positions[index])


class ChestSubjects(Dataset):
    """All slices of one subject per item, as a batch.

    Args:
        cases: to validate or score on.
        size: pixels of the network grid.
    """

    def __init__(self, cases: Sequence[ChestCase], *, size: int) -> None:
        self.subjects = load_chest(cases, size)

    def __len__(self) -> int:
        return len(self.subjects)

    def __getitem__(self, index: int) -> dict[str, Any]:
        subject = self.subjects[index]
        return collate([sample(subject, index) for index in range(len(subject.image))])


def read_case(case: ChestCase) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Image in HU and lesions by number, ``(X, Y, Z)`` both, and the affine; checked against the tables.

    Raises:
        StudyError: a file is no NIfTI volume.
        DatasetError: image, masks and tables do not agree.
    """
    (image, affine), (lesions, _) = (read_volume(file) for file in (case.image_file, case.lesions_file))
    if image.shape != lesions.shape or image.shape[2] != len(case.slice_classes):
        msg = (
            f"{case.case}: image {image.shape}, lesions {lesions.shape} and {len(case.slice_classes)} rows of "
            f"{SLICES_FILE} do not agree. Export them from one series"
        )
        raise DatasetError(msg)
    lesions = lesions.astype(np.uint8)
    found, listed = boxes_of(lesions), [(b.slice_index, b.lesion, b.box) for b in case.lesions]
    if sorted(found) != sorted(listed):
        differ = sorted(set(found) ^ set(listed))[0]
        msg = f"{case.case}: {LESIONS_FILE} and the mask differ in slice {differ[0]}, lesion {differ[1]}. Correct one"
        raise DatasetError(msg)
    if nib.aff2axcodes(affine) != ("R", "A", "S"):
        msg = f"{case.image_file}: is not stored in RAS+. Reorient image and lesions with nibabel.as_closest_canonical"
        raise DatasetError(msg)
    return image, lesions, affine


def _load(case: ChestCase, size: int) -> ChestArrays:
    image, lesions, affine = read_case(case)
    grid = NetworkGrid(image.shape, tuple(np.linalg.norm(affine[:3, :3], axis=0)), 2, size)
    labels = np.zeros(256, dtype=np.int64)
    for box in case.lesions:
        labels[box.lesion] = LESIONS.index(box.lesion_class) + 1
    # Air is 0 there, as outside the file's field of view.
    raised = grid.to_slices(np.asarray(image, dtype=np.float32)[None] - LOWEST_HU)[:, 0]
    return ChestArrays(
        case=case,
        grid=grid,
        affine=affine,
        image=np.clip(raised / (HIGHEST_HU - LOWEST_HU), 0, 1).astype(np.float32),
        lesions=_on_grid(lesions, grid),
        slice_class=np.array([CLASSES.index(name) for name in case.slice_classes]),
        lesion_labels=labels,
    )


def _on_grid(lesions: np.ndarray, grid: NetworkGrid) -> np.ndarray:
    """Lesions by number where more than half of a pixel is one."""
    slices = np.zeros((lesions.shape[2], grid.size, grid.size), dtype=np.uint8)
    for number in np.setdiff1d(lesions, 0):
        slices[grid.to_slices((lesions == number)[None])[:, 0] > 0.5] = number
    return slices
