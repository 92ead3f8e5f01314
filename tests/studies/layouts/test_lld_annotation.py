from __future__ import annotations

import json

import numpy as np
import pytest

from scripts.domain.errors import DatasetError, StudyError
from scripts.studies.layouts.lld_annotation import WITHHELD, Annotation, digits_of, read_annotation

CATEGORIES = {"Hepatic_hemangioma": 4, "Hepatic_cyst": 1, "Hepatocellular_carcinoma": 0, "Malignant": [0]}


def entry(phase="C+A", categories=(0,), **more):
    lesions = {
        str(number): {"category": category, "bbox": {"2D_box": [{"slice_idx": number + 3}], "3D_box": None}}
        for number, category in enumerate(categories)
    }
    geometry = {
        "pixel_spacing": [0.78, 0.8],
        "slice_spacing": 2.6,
        "slice_thickness": 5,
        "origin": [-200.0, -150.5, 30],
    }
    known = {"studyUID": "1.2", "seriesUID": "1.2.3", "phase": phase} | geometry
    return known | {"annotation": {"num_targets": len(categories), "lesion": lesions}} | more


def annotation(entries):
    return Annotation({0: "Hepatocellular_carcinoma", 4: "Hepatic_hemangioma"}, {"MR-1": entries})


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "not readable as JSON"),
        ("[]", "not the annotation of LLD-MMRI"),
        ('{"Category_info": {"Hepatic_hemangioma": 0}, "Annotation_info": {}}', r"gives no number of Hepatocellular"),
        (json.dumps({"Category_info": CATEGORIES, "Annotation_info": {"MR1": {}}}), "no list of phases per patient"),
    ],
)
def test_a_file_that_is_no_annotation_is_refused(tmp_path, content, words):
    (tmp_path / "LLD_MMRI_Annotation.json").write_text(content)
    with pytest.raises(DatasetError, match=words):
        read_annotation(tmp_path)


def test_a_folder_without_one_is_refused(tmp_path):
    with pytest.raises(DatasetError, match=r"none of LLD_MMRI_Annotation.json, labels/Annotation.json"):
        read_annotation(tmp_path)


@pytest.mark.parametrize(
    "broken",
    [
        {"pixel_spacing": None},
        {"pixel_spacing": [0.78]},
        {"slice_spacing": 0},
        {"slice_spacing": "thick"},
        {"origin": [1, 2]},
        {"origin": [1, 2, float("nan")]},
    ],
)
def test_a_geometry_that_makes_no_sense_is_refused(broken):
    with pytest.raises(StudyError, match=r"^C\+A: the annotation('s spacing or origin makes| lacks)"):
        annotation([entry(**broken)]).phase("MR-1", "C+A")


def test_a_phase_that_is_not_there_once_is_refused():
    for entries, count in (([entry("C+V")], 0), ([entry(), entry()], 2)):
        with pytest.raises(StudyError, match=rf"^C\+A: {count} entries in the annotation"):
            annotation(entries).phase("MR-1", "C+A")


def test_several_or_unknown_categories_are_refused():
    with pytest.raises(StudyError, match="several categories: Hepatocellular_carcinoma, Hepatic_hemangioma"):
        annotation([entry(categories=(0, 4))]).category_of("MR-1")
    with pytest.raises(StudyError, match="category 9 has no name"):
        annotation([entry(categories=(9,))]).category_of("MR-1")


def test_both_places_of_the_file(tmp_path):
    content = json.dumps({"Category_info": CATEGORIES, "Annotation_info": {"MR-1": [entry()]}})
    for name in ("release1/labels/Annotation.json", "release2/LLD_MMRI_Annotation.json"):
        file = tmp_path / name
        file.parent.mkdir(parents=True)
        file.write_text(content)
        found = read_annotation(tmp_path / name.split("/")[0])
        assert found.categories == {4: "Hepatic_hemangioma", 1: "Hepatic_cyst", 0: "Hepatocellular_carcinoma"}
        assert found.category_of("MR-1") == 0


def test_a_withheld_category():
    assert annotation([entry(categories=(-1,))]).category_of("MR-1") == WITHHELD
    assert annotation([entry(categories=())]).category_of("MR-1") == WITHHELD
    assert annotation([entry(categories=(4,)), entry(categories=(4, 4))]).category_of("MR-1") == 4


def test_the_geometry_is_lps_and_becomes_ras():
    phase = annotation([entry(categories=(0, 0))]).phase("MR-1", "C+A")
    point_lps = np.array([-200 + 10 * 0.78, -150.5 + 20 * 0.8, 30 + 7 * 2.6])
    np.testing.assert_allclose((phase.affine @ [10, 20, 7, 1])[:3], point_lps * (-1, -1, 1))
    assert phase.box_slices == {3, 4}
    assert (phase.study_uid, phase.series_uid) == ("1.2", "1.2.3")


def test_digits():
    assert digits_of("MR-400851") == digits_of("MR400851") == digits_of("400851") == "400851"
