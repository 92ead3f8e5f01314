"""Slices for training, and whole subjects for validation, as batches of the network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from ..domain.classes import CLASSES
from ..domain.errors import DatasetError
from ..domain.phases import PHASES
from .augmentation import Augmentation, drop_phases
from .case import Case
from .slice_cache import SubjectArrays, load_subjects

LIGHT = Augmentation()
"""The default: enough to tell slices apart, little enough to keep the loader idle."""

NO_TUMOUR = -1
"""``tumour_class`` of a slice without tumour."""

_SELECTION, _SAMPLE = 0, 1
"""Streams of random numbers that must not overlap."""


class SliceDataset(Dataset):
    """All tumour slices and, anew every epoch, a random part of the others.

    An item is a dict of ``image`` (4, H, W) float32 normalised, ``label`` (1, H, W) float32 0/1, ``curve``
    (4,) float32 the image's mean under the label without the added noise (0 without tumour or phase),
    ``tumour_class`` long (``NO_TUMOUR`` without), ``available`` (4,) bool, ``times_s`` (4,) float32, ``case``
    and ``slice``. All that is random in it derives from (seed, epoch, index), whichever process asks.

    Args:
        cases: labelled cases.
        size: pixels of the network grid.
        seed: of everything random.
        cache_dir: see ``load_subjects``.
        background_ratio: slices without tumour per slice with tumour, all of them inside the body.
        phase_dropout: probability of dropping one or two phases of a slice.
        augmentation: None switches it off.
        target: what ``label`` shows; with another than the tumour, read "target" for "tumour" above.

    Raises:
        DatasetError: no case has a tumour, or one has no label.
        StudyError: a file is unusable.
    """

    def __init__(
        self,
        cases: Sequence[Case],
        *,
        size: int,
        seed: int = 0,
        cache_dir: str | Path | None = None,
        background_ratio: float = 0.5,
        phase_dropout: float = 0.1,
        augmentation: Augmentation | None = LIGHT,
        target: str = "tumour",
    ) -> None:
        self.subjects = load_subjects(cases, size, cache_dir, target=target)
        self.seed = seed
        self.phase_dropout = phase_dropout
        self.augmentation = augmentation
        self._tumour = _positions([subject.tumour_slices for subject in self.subjects])
        self._background = _positions([subject.background_slices for subject in self.subjects])
        if not len(self._tumour):
            msg = f"none of the {len(cases)} training cases has a {target} in its label. Check labelsTr and the splits."
            raise DatasetError(msg)
        self._n_background = min(round(background_ratio * len(self._tumour)), len(self._background))
        self.set_epoch(0)

    @property
    def data(self) -> list[dict[str, Any]]:
        """The cases' files, as MONAI's ``train#dataset#data`` wants them."""
        return _data(self.subjects)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch's slices without tumour, and start its streams of random numbers."""
        self.epoch = epoch
        chosen = self._rng(_SELECTION).choice(len(self._background), self._n_background, replace=False)
        self._selected = np.concatenate([self._tumour, self._background[np.sort(chosen)]])

    @property
    def subject_indices(self) -> np.ndarray:
        """``(N,)`` which of ``subjects`` each of the epoch's slices belongs to."""
        return self._selected[:, 0]

    def __len__(self) -> int:
        return len(self._selected)

    def __getitem__(self, index: int) -> dict[str, Any]:
        subject_index, slice_index = self._selected[index]
        subject = self.subjects[subject_index]
        rng = self._rng(_SAMPLE, index)
        image = torch.from_numpy(subject.image[slice_index].astype(np.float32))
        label = torch.from_numpy(subject.label[slice_index].astype(np.float32))[None]
        if self.augmentation is not None:
            image, label = self.augmentation.move(image, label, rng)
            image = self.augmentation.brighten(image, subject.air, rng)
        available = torch.from_numpy(drop_phases(subject.available, self.phase_dropout, rng))
        image[~available] = 0.0
        # Before the noise, or regression would learn the noise of a small lesion's mean.
        curve = masked_mean(image[None], label[None])[0]
        if self.augmentation is not None:
            image[available] = self.augmentation.add_noise(image, rng)[available]
        return {
            "image": image,
            "label": label,
            "curve": curve,
            "tumour_class": _class_index(subject) if label.any() else torch.tensor(NO_TUMOUR),
            "available": available,
            "times_s": torch.tensor(subject.case.times_s, dtype=torch.float32),
            "case": subject.case.case,
            "slice": torch.tensor(int(slice_index)),
        }

    def _rng(self, *key: int) -> np.random.Generator:
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(key[0], self.epoch, *key[1:])))


class SubjectSlices(Dataset):
    """All slices of one subject per item, as a batch of ``SliceDataset``'s items, nothing random.

    Args:
        cases: labelled cases.
        size: pixels of the network grid.
        cache_dir: see ``load_subjects``.
        target: what ``label`` shows.

    Raises:
        DatasetError: a case has no label.
        StudyError: a file is unusable.
    """

    def __init__(
        self, cases: Sequence[Case], *, size: int, cache_dir: str | Path | None = None, target: str = "tumour"
    ) -> None:
        self.subjects = load_subjects(cases, size, cache_dir, target=target)

    @property
    def data(self) -> list[dict[str, Any]]:
        """The cases' files, as MONAI's ``validate#dataset#data`` wants them."""
        return _data(self.subjects)

    def __len__(self) -> int:
        return len(self.subjects)

    def __getitem__(self, index: int) -> dict[str, Any]:
        subject = self.subjects[index]
        image = torch.from_numpy(subject.image.astype(np.float32))
        label = torch.from_numpy(subject.label.astype(np.float32))[:, None]
        count = len(image)
        has_tumour = label.flatten(1).any(dim=1)
        return {
            "image": image,
            "label": label,
            "curve": masked_mean(image, label),
            "tumour_class": torch.where(has_tumour, _class_index(subject), NO_TUMOUR),
            "available": torch.from_numpy(subject.available).expand(count, -1),
            "times_s": torch.tensor(subject.case.times_s, dtype=torch.float32).expand(count, -1),
            "case": [subject.case.case] * count,
            "slice": torch.arange(count),
        }


def collate(samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A batch: tensors stacked, names listed."""
    return {
        key: torch.stack([sample[key] for sample in samples])
        if isinstance(value, torch.Tensor)
        else [sample[key] for sample in samples]
        for key, value in samples[0].items()
    }


def training_mean_curve(dataset: SliceDataset) -> torch.Tensor:
    """The mean over subjects of the mean normalised curve of all their tumour pixels.

    It predicts every subject's curve without looking, the reference of ``mae_ratio``.

    Args:
        dataset: the training split.

    Returns:
        ``(4,)`` float32; 0 for a phase that no subject has.
    """
    total, count = np.zeros(len(PHASES)), np.zeros(len(PHASES))
    for subject in dataset.subjects:
        tumour = subject.tumour_slices
        if len(tumour):
            pixels = subject.image[tumour].swapaxes(0, 1)[:, subject.label[tumour] > 0]
            total += np.where(subject.available, pixels.mean(axis=1, dtype=np.float64), 0.0)
            count += subject.available
    return torch.from_numpy(total / np.maximum(count, 1)).float()


def masked_mean(image: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    """Mean under the label per slice and phase: ``(B, 4, H, W)``, ``(B, 1, H, W)`` to ``(B, 4)``; 0 without one."""
    return (image * label).sum(dim=(2, 3)) / label.sum(dim=(2, 3)).clamp(min=1.0)


def _positions(slices: list[np.ndarray]) -> np.ndarray:
    """``(N, 2)`` pairs of subject and slice."""
    return np.concatenate([np.stack([np.full(len(s), i), s], axis=1) for i, s in enumerate(slices)])


def _class_index(subject: SubjectArrays) -> torch.Tensor:
    name = subject.case.tumour_class
    return torch.tensor(CLASSES.index(name) if name in CLASSES else NO_TUMOUR)


def _data(subjects: list[SubjectArrays]) -> list[dict[str, Any]]:
    return [
        {
            "case": subject.case.case,
            "image": [str(file) for file in subject.case.image_files],
            "label": str(subject.case.label_file),
        }
        for subject in subjects
    ]
