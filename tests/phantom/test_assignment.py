"""Classes, splits and folds. Wrong arguments are tested with the cohort."""

from collections import Counter

import pytest

from scripts.phantom.assignment import assign


def test_classes_are_in_proportion_in_every_split_and_fold():
    assignments = assign(400, 0, [160, 40, 200])
    for split, size in (("train", 160), ("val", 40), ("test", 200)):
        count = Counter(a.tumour_class for a in assignments if a.split == split)
        assert count["none"] == pytest.approx(0.08 * size, abs=1)
        assert count["hcc"] / count["hemangioma"] == pytest.approx(1.38, abs=0.12)
    for fold in range(5):
        count = Counter(a.tumour_class for a in assignments if a.fold == fold)
        assert sum(count.values()) == 40
        assert count["hcc"] / count["hemangioma"] == pytest.approx(1.38, abs=0.25)
    assert all((a.fold is None) == (a.split == "test") for a in assignments)


def test_all_test_by_default():
    assert {(a.split, a.fold) for a in assign(7, 0)} == {("test", None)}


def test_another_seed_gives_another_order():
    assert [a.tumour_class for a in assign(30, 0)] != [a.tumour_class for a in assign(30, 1)]
