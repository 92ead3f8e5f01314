"""Deals out the splits and folds that a layout leaves open."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from ...domain.errors import ConfigurationError
from ..case import Case
from ..subjects_table import FOLDS, SPLITS

SHARES = (0.7, 0.1, 0.2)
"""Of train, val and test."""


def require_shares(shares: Sequence[float]) -> tuple[float, float, float]:
    """Three shares that add up to 1.

    Raises:
        ConfigurationError: they are not.
    """
    try:
        numbers = tuple(float(share) for share in shares)
    except (TypeError, ValueError):
        numbers = ()
    if len(numbers) != len(SPLITS) or min(numbers) < 0 or abs(sum(numbers) - 1) > 1e-6:
        msg = f"split_shares is {shares!r}; it must be three shares of {', '.join(SPLITS)} that add up to 1."
        raise ConfigurationError(msg)
    return numbers


def deal(cases: Iterable[Case], shares: Sequence[float] = SHARES) -> list[Case]:
    """Give every case a split, and a fold where it is in train or val.

    A case without a label goes into the test split: nothing can be learned from it. Splits that the layout itself
    fills get no further case. Each class is dealt in proportion, in the order of a hash of the case's identifier,
    so that the same cases always get the same splits.

    Args:
        cases: ``split`` is ``""`` where it is open.
        shares: of train, val and test among the open ones.

    Returns:
        The cases, in the same order.
    """
    cases = [replace(case, split="test", fold=None) if case.label_file is None else case for case in cases]
    filled = {case.split for case in cases if case.split and case.label_file is not None}
    left = [0.0 if split in filled else share for split, share in zip(SPLITS, shares, strict=True)]
    if sum(left) == 0:
        left = [1.0, 0.0, 0.0]
    bounds = np.cumsum(left) / sum(left)
    splits = {}
    for group in _by_class(case for case in cases if not case.split):
        for position, case in enumerate(group):
            splits[case.case] = SPLITS[int(np.searchsorted(bounds, (position + 0.5) / len(group)))]
    cases = [replace(case, split=case.split or splits[case.case]) for case in cases]
    if any(case.fold is not None for case in cases):
        return [replace(case, fold=None) if case.split == "test" else case for case in cases]
    groups = _by_class(case for case in cases if case.split != "test")
    in_order = [case.case for group in groups for case in group]
    folds = {name: index % len(FOLDS) for index, name in enumerate(in_order)}
    return [replace(case, fold=folds.get(case.case)) for case in cases]


def _by_class(cases: Iterable[Case]) -> list[list[Case]]:
    groups = defaultdict(list)
    for case in cases:
        groups[case.tumour_class].append(case)
    return [sorted(groups[name], key=_hash) for name in sorted(groups)]


def _hash(case: Case) -> str:
    return hashlib.sha256(case.case.encode()).hexdigest()
