"""The phantom's measured difficulty."""

import json
import shutil

import numpy as np
import pytest

from scripts.experiments import difficulty
from scripts.experiments.difficulty import Reading, lesion_statistics, measure_difficulty, measures
from scripts.experiments.small_unet import Budget
from scripts.experiments.subtraction import THRESHOLDS
from scripts.phantom.cohort import write_cohort
from scripts.studies.case import Case


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    folder = tmp_path_factory.mktemp("difficulty") / "cohort"
    write_cohort(12, 0, folder, split_sizes=[6, 0, 6], shape=(64, 56, 20), workers=1)
    return folder


def test_other_dataset_is_refused(cohort, tmp_path):
    shutil.copytree(cohort, tmp_path / "copy")
    (tmp_path / "copy" / "phantom.json").unlink()
    with pytest.raises(SystemExit, match=r"no phantom\.json"):
        measure_difficulty(str(tmp_path / "copy"), str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_cohort_without_training_split_is_refused(tmp_path):
    write_cohort(2, 0, tmp_path / "cohort", shape=(24, 20, 8), workers=1)
    with pytest.raises(SystemExit, match="train"):
        measure_difficulty(str(tmp_path / "cohort"), str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_report_is_complete(cohort, tmp_path, monkeypatch):
    tiny = Budget(image_size=32, features=(4, 4, 4, 4, 8, 4), steps=2, batch_size=2)
    monkeypatch.setattr(difficulty, "Budget", lambda steps: tiny)
    measure_difficulty(str(cohort), str(tmp_path / "out"), seed=5)
    report = json.loads((tmp_path / "out" / "difficulty.json").read_text())
    assert report["subjects"] == 6
    assert report["seed"] == 5
    assert report["basic_unet_budget"]["steps"] == 2
    for name, limit in difficulty.LIMITS.items():
        measure = report["measures"][name]
        assert measure["n"] == report["subjects_with_lesion"]
        assert measure["ci95"][0] <= measure["value"] <= measure["ci95"][1]
        assert measure["holds"] == (limit[0] <= measure["value"] <= limit[1])
    assert "no clinical evidence" in report["note"]


def reading(tumour_class, value, rule_class="hcc", best=3):
    by_threshold = np.where(np.arange(len(THRESHOLDS)) == best, 0.5, 0.1)
    curve = np.full(4, value)
    return Reading(tumour_class, curve, curve, rule_class, by_threshold, by_threshold, 0.7)


def test_measures_of_separable_curves():
    """Two clusters: the regression is always right, the rule that always says hcc in half of the subjects."""
    learnt = [reading("hcc", 1.0 + i / 10) for i in range(5)] + [reading("hemangioma", -1.0 - i / 10) for i in range(5)]
    scored = [reading("hcc", 1.2)] * 10 + [reading("hemangioma", -1.2)] * 10
    got = measures(learnt, scored)
    assert got["logistic_regression_accuracy"]["value"] == 1.0
    assert not got["logistic_regression_accuracy"]["holds"]
    assert got["kinetic_rule_accuracy"]["value"] == 0.5
    assert got["basic_unet_dice"]["value"] == pytest.approx(0.7)
    assert got["basic_unet_dice"]["holds"]


def test_threshold_is_chosen_on_the_training_split():
    """The test split would do better at its own best threshold, and must not get it."""
    learnt = [reading("hcc", 1.0, best=3), reading("hemangioma", -1.0, best=3)]
    scored = [reading("hcc", 1.0, best=5), reading("hemangioma", -1.0, best=5)]
    assert measures(learnt, scored)["subtraction_dice"]["value"] == pytest.approx(0.1)


def test_lesion_statistics():
    truths = [
        {"lesions": [{"subtype": "typical", "diameter_mm": 10.0}, {"subtype": "no_washout", "diameter_mm": 30.0}]},
        {"lesions": [{"subtype": "flash_filling", "diameter_mm": 20.0}]},
    ]
    cases = [Case("a", tumour_class="hcc"), Case("b", tumour_class="hemangioma")]
    got = lesion_statistics(truths, cases)
    assert got["n"] == 3
    assert got["atypical_share"] == {"hcc": 0.5, "hemangioma": 1.0}
    assert got["subtypes"]["hcc"] == {"no_washout": 1, "typical": 1}
    assert got["diameter_mm"]["median"] == 20.0
