"""Batches of one subject's slices, the paper's batch of "1" (decision 1)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler

from .slices import SliceDataset


class SubjectBatches(Sampler[list[int]]):
    """Yields, in an order drawn anew every epoch, the indices of one subject's slices at a time.

    Subjects without tumour are left out: which of them the epoch's background touches varies, and with it would the
    number of batches.

    Args:
        dataset: its epoch decides the slices and the order.
        seed: of the order.
    """

    def __init__(self, dataset: SliceDataset, *, seed: int = 0) -> None:
        self.dataset = dataset
        self.seed = seed

    def __len__(self) -> int:
        return len(self._by_subject())

    def __iter__(self) -> Iterator[list[int]]:
        batches = self._by_subject()
        rng = np.random.default_rng([self.seed, self.dataset.epoch])
        for index in rng.permutation(len(batches)):
            yield batches[index]

    def _by_subject(self) -> list[list[int]]:
        subjects = self.dataset.subject_indices
        with_tumour = [index for index, subject in enumerate(self.dataset.subjects) if len(subject.tumour_slices)]
        return [np.flatnonzero(subjects == subject).tolist() for subject in with_tumour]
