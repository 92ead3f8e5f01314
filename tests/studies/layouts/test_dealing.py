from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from scripts.domain.errors import ConfigurationError
from scripts.studies.case import Case
from scripts.studies.layouts.dealing import deal, require_shares


def cases(count, tumour_class="hcc", label=Path("label.nii.gz"), **known):
    return [
        Case(f"{tumour_class}-{i}", label_file=label, tumour_class=tumour_class, **({"split": ""} | known))
        for i in range(count)
    ]


@pytest.mark.parametrize("shares", [None, "0.7", [0.5, 0.5], [0.5, 0.6, -0.1], [0.7, 0.1, 0.1], ["a", "b", "c"]])
def test_shares_that_are_none_are_refused(shares):
    with pytest.raises(ConfigurationError, match="three shares of train, val, test that add up to 1"):
        require_shares(shares)


def test_each_class_is_dealt_in_proportion():
    dealt = deal([*cases(100), *cases(50, "hemangioma")], (0.7, 0.1, 0.2))
    count = Counter((case.tumour_class, case.split) for case in dealt)
    assert [count["hcc", split] for split in ("train", "val", "test")] == [70, 10, 20]
    assert [count["hemangioma", split] for split in ("train", "val", "test")] == [35, 5, 10]
    folds = Counter(case.fold for case in dealt if case.split != "test")
    assert folds == dict.fromkeys(range(5), 24)
    assert all(case.fold is None for case in dealt if case.split == "test")


def test_the_same_cases_get_the_same_splits_in_any_order():
    one = {case.case: case.split for case in deal(cases(30))}
    other = {case.case: case.split for case in deal(cases(30)[::-1])}
    assert one == other
    assert [case.case for case in deal(cases(30))] == [f"hcc-{i}" for i in range(30)]


def test_what_has_no_label_is_for_testing():
    dealt = deal([*cases(4, label=None), *cases(1, label=None, split="train")])
    assert {case.split for case in dealt} == {"test"}


def test_a_split_that_the_layout_fills_gets_no_more():
    given = [Case("given", label_file=Path("l"), tumour_class="hcc", split="test")]
    dealt = deal([*cases(40), *given], (0.7, 0.1, 0.2))
    assert Counter(case.split for case in dealt) == {"train": 35, "val": 5, "test": 1}


def test_the_layouts_own_splits_and_folds_stay():
    given = [
        Case("a", label_file=Path("l"), tumour_class="hcc", split="train", fold=3),
        Case("b", label_file=Path("l"), tumour_class="hcc", split="val"),
    ]
    assert [(case.split, case.fold) for case in deal(given)] == [("train", 3), ("val", None)]
