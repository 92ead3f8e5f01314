"""Summaries with their intervals, and the two files."""

import csv
import json
import math

import numpy as np
import pytest

from scripts.domain.errors import DatasetError
from scripts.related.scoring import balanced_accuracy, column, scored_part, summary, write_scores
from scripts.studies.layout import read_dataset


def test_nothing_to_summarise_has_no_value():
    assert summary(np.array([])) == {"value": None, "ci95": None, "n": 0}
    assert summary(np.array([math.nan])) == {"value": None, "ci95": None, "n": 0}


def test_one_subject_has_no_interval():
    assert summary(np.array([0.5])) == {"value": 0.5, "ci95": None, "n": 1}


def test_a_row_with_nan_does_not_enter():
    entry = summary(np.array([0.2, math.nan, 0.4]))
    assert entry["value"] == pytest.approx(0.3)
    assert entry["n"] == 2
    assert 0.2 <= entry["ci95"][0] <= entry["ci95"][1] <= 0.4


def test_slices_of_a_subject_are_drawn_together():
    values = np.array([0.0] * 10 + [1.0] * 10)
    together = summary(values, groups=["a"] * 10 + ["b"] * 10)["ci95"]
    apart = summary(values)["ci95"]
    assert together == [0.0, 1.0]
    assert apart[1] - apart[0] < 0.6


def test_the_files(tmp_path):
    rows = [{"case": "a", "dice": 1 / 3, "found": None}, {"case": "b", "dice": math.nan, "found": True}]
    write_scores(rows, {"dsc_mean": summary(column(rows, "dice"))}, tmp_path / "new")
    with (tmp_path / "new" / "per_subject.csv").open(newline="") as file:
        assert list(csv.DictReader(file)) == [
            {"case": "a", "dice": "0.333333", "found": ""},
            {"case": "b", "dice": "", "found": "True"},
        ]
    metrics = json.loads((tmp_path / "new" / "metrics.json").read_text())
    assert metrics == {"dsc_mean": {"value": pytest.approx(1 / 3), "ci95": None, "n": 1}}


def test_accuracies_are_balanced():
    truth, said = np.array([1, 1, 1, 0]), np.array([1, 1, 0, 0])
    assert balanced_accuracy(truth, said) == pytest.approx((2 / 3 + 1) / 2)


def test_what_is_scored_is_the_split_else_the_fold_else_all(dataset_dir):
    cases = read_dataset(dataset_dir)
    assert [case.case for case in scored_part(cases, "test", 1)] == ["liver-05"]
    assert [case.case for case in scored_part(cases, None, 1)] == ["liver-02"]
    assert len(scored_part(cases, None, None)) == 5
    with pytest.raises(DatasetError, match="none of the 4 cases has split any and fold 4"):
        scored_part(cases, None, 4)
