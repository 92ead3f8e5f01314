"""Deals classes, splits and folds out to the subjects of a cohort."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..domain.classes import NO_LESION
from ..domain.errors import ConfigurationError
from ..studies.subjects_table import FOLDS, SPLITS

SHARES = {NO_LESION: 0.08, "hcc": 0.92 * 138 / 238, "hemangioma": 0.92 * 100 / 238}
"""The paper's 138 HCC to 100 hemangiomas, and a few subjects without a lesion."""


@dataclass(frozen=True)
class Assignment:
    """One subject's place in the cohort.

    Args:
        case: identifier.
        index: from which, with the cohort's seed, everything random of the subject follows.
        tumour_class: one of ``CLASSES`` or ``"none"``.
        split: train, val or test.
        fold: 0-4 on train and val, None on test.
    """

    case: str
    index: int
    tumour_class: str
    split: str
    fold: int | None


def assign(subjects: int, seed: int, split_sizes: Sequence[int] | None = None) -> list[Assignment]:
    """Give every subject a class, a split and a fold, classes in proportion everywhere.

    Args:
        subjects: number of subjects.
        seed: the order of the classes.
        split_sizes: subjects in train, val and test; all test by default.

    Raises:
        ConfigurationError: ``split_sizes`` is not three whole numbers that add up to ``subjects``.
    """
    sizes = (0, 0, subjects) if split_sizes is None else split_sizes
    if (
        not isinstance(sizes, Sequence)
        or len(sizes) != len(SPLITS)
        or any(not isinstance(n, int) or n < 0 for n in sizes)
    ):
        msg = f"split_sizes is {sizes}; it must be three whole numbers: subjects in train, val and test."
        raise ConfigurationError(msg)
    if sum(sizes) != subjects:
        msg = f"split_sizes {list(sizes)} add up to {sum(sizes)}, but subjects is {subjects}. Make them agree."
        raise ConfigurationError(msg)
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(0,)))
    width = len(str(subjects))
    assignments, index, dealt = [], 0, 0
    for split, size in zip(SPLITS, sizes, strict=True):
        classes = [name for name, count in _class_counts(size).items() for _ in range(count)]
        # Folds are dealt out while the classes are still in order, so that each fold gets its share of each.
        folds = [None if split == "test" else (dealt + i) % len(FOLDS) for i in range(size)]
        dealt += size
        for chosen in rng.permutation(size):
            case = f"phantom-{seed}-{index + 1:0{width}d}"
            assignments.append(Assignment(case, index, classes[chosen], split, folds[chosen]))
            index += 1
    return assignments


def _class_counts(size: int) -> dict[str, int]:
    """Whole numbers nearest ``SHARES`` that add up to ``size`` (largest remainder)."""
    exact = {name: share * size for name, share in SHARES.items()}
    counts = {name: int(value) for name, value in exact.items()}
    by_remainder = sorted(exact, key=lambda name: counts[name] - exact[name])
    for name in by_remainder[: size - sum(counts.values())]:
        counts[name] += 1
    return counts
