from __future__ import annotations

import numpy as np
import pytest

from scripts.domain.errors import StudyError
from scripts.studies.layouts.lesion_label import as_lesion, consistent_class, meaning_of, translated

NAMES = {0: "background", 1: "liver", 2: "hcc", 5: "hemangioma"}


def test_a_value_without_a_name_is_refused():
    with pytest.raises(StudyError, match=r"holds the value\(s\) 3, 4, which the dataset does not name"):
        translated(np.array([[[0, 1, 3, 4]]]), NAMES)


def test_lesions_of_both_classes_are_refused():
    with pytest.raises(StudyError, match="lesions of hemangioma and hcc in one subject"):
        consistent_class(np.array([0, 1, 2]), "")


@pytest.mark.parametrize(
    ("label", "tumour_class", "shown"),
    [([0, 2], "hemangioma", "a lesion of class hcc"), ([0, 0], "hcc", "no lesion"), ([0, 1], "none", "a lesion")],
)
def test_a_label_that_contradicts_the_class_is_refused(label, tumour_class, shown):
    with pytest.raises(StudyError, match=f"{shown}.*, but the subject's class is {tumour_class}"):
        consistent_class(np.array(label), tumour_class)


@pytest.mark.parametrize(
    ("label", "known", "expected"),
    [([0, 2], "", "hcc"), ([0, 1, 1], "hemangioma", "hemangioma"), ([0, 0], "", "none"), ([0, 0], "none", "none")],
)
def test_the_class_of_a_label(label, known, expected):
    assert consistent_class(np.array(label), known) == expected


def test_without_a_label_the_class_is_what_is_known():
    assert consistent_class(None, "hcc") == "hcc"
    assert consistent_class(None, "") == ""


def test_values_become_ours_and_the_liver_holds_its_lesions():
    label, liver = translated(np.array([[[0, 1, 2, 5]]]), NAMES)
    assert label.ravel().tolist() == [0, 0, 2, 1]
    assert liver.ravel().tolist() == [0, 1, 1, 1]
    assert label.dtype == liver.dtype == np.uint8


def test_without_a_liver_value_there_is_no_liver_mask():
    _, liver = translated(np.array([[[0, 1]]]), {0: "background", 1: "hcc"})
    assert liver is None


def test_a_mask_of_any_values_becomes_a_lesion_of_the_class():
    assert as_lesion(np.array([0, 1, 7, 255]), "hcc").tolist() == [0, 2, 2, 2]
    assert as_lesion(np.array([0.0, 3.0]), "hemangioma").tolist() == [0, 1]


def test_names_and_overrides():
    assert meaning_of("Hepatocellular_carcinoma", {}) == "hcc"
    assert meaning_of("Haemangioma", {}) == "hemangioma"
    assert meaning_of("cancer", {}) is None
    assert meaning_of("cancer", {"cancer": "hcc"}) == "hcc"
    assert meaning_of("liver", {"liver": "background"}) == "background"
