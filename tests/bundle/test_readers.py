"""The readers as the grid meets them: trained and scored by the commands of any arm, with the same rows."""

from __future__ import annotations

import csv
import json

import pytest

from scripts.studies.layout import read_dataset, validation_part

# What the grid says to every arm's training and evaluating.
TRAINING = {"fold": 0, "seed": 1, "keep": "best", "resume": "True", "check_dataset": "False", "tensorboard": "False"}
EVALUATING = {"seed": 1, "backend": "torch", "figures": "False"}


def rows_of(folder):
    with (folder / "per_subject.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def evaluate(bundle, arm, cohort, folder, part):
    configs = ("reader.yaml", f"experiments/{arm}.yaml")
    places = {"dataset_dir": cohort, "output_dir": folder, "ckpt_path": folder / "model.pt"}
    return bundle.run("evaluating", configs, places | EVALUATING | part)


@pytest.fixture(scope="module", params=["rule", "curve_logistic"])
def fitted(request, bundle, cohort, tmp_path_factory):
    """The arm and its run folder."""
    folder = tmp_path_factory.mktemp("readers") / request.param
    configs = ("reader.yaml", f"experiments/{request.param}.yaml")
    finished = bundle.run("training", configs, TRAINING | {"dataset_dir": cohort, "output_dir": folder})
    assert finished.code == 0, finished.stderr
    return request.param, folder


def test_weights_that_are_not_there_are_refused(bundle, cohort, tmp_path):
    finished = evaluate(bundle, "rule", cohort, tmp_path / "out", {"split": "test"})
    assert finished.code != 0
    assert finished.error.startswith("error: ")
    assert "Train first" in finished.error


def test_weights_of_a_network_are_refused(bundle, cohort, trained, tmp_path):
    configs = ("reader.yaml", "experiments/curve_logistic.yaml")
    overrides = {"dataset_dir": cohort, "output_dir": tmp_path / "out", "ckpt_path": trained / "model.pt"}
    finished = bundle.run("evaluating", configs, overrides | EVALUATING)
    assert finished.error.startswith("error: ")
    assert "do not fit network_def" in finished.error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("part", [{"split": "test"}, {"fold": 0}], ids=["test", "fold"])
def test_rows_are_those_of_any_arm_with_the_mask_given(bundle, cohort, trained, narrow, fitted, part, tmp_path):
    arm, folder = fitted
    finished = evaluate(bundle, arm, cohort, folder, part)
    assert finished.code == 0, finished.stderr
    cases = [c for c in read_dataset(cohort) if c.split == "test"]
    if "fold" in part:
        cases = validation_part(read_dataset(cohort), 0)
    rows = rows_of(folder)
    assert [row["case"] for row in rows] == [case.case for case in cases]
    for row, case in zip(rows, cases, strict=True):
        assert row["mask_given"] == "True"
        assert row["true_class"] == case.tumour_class
        assert row["dice"] == ""
        if case.tumour_class != "none":
            p = float(row["true_slices_probability_hcc"])
            assert 0.0 <= p <= 1.0
            assert row["correct_on_true_slices"] == str((p > 0.5) == (case.tumour_class == "hcc"))
            if arm == "rule":
                assert p == float(row["rule_class"] == "hcc")
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["dsc_mean"]["value"] is None
    with_lesion = sum(case.tumour_class != "none" for case in cases)
    assert metrics["accuracy"]["n"] == with_lesion
    assert (folder / "summary.json").exists()


def test_columns_are_those_of_a_network(bundle, cohort, trained, quick, fitted, tmp_path):
    arm, folder = fitted
    assert evaluate(bundle, arm, cohort, folder, {"split": "test"}).code == 0
    overrides = {"dataset_dir": cohort, "output_dir": tmp_path / "net", "ckpt_path": trained / "model.pt"}
    assert bundle.run("evaluating", "evaluate.yaml", quick | overrides | {"split": "test"}).code == 0
    assert list(rows_of(folder)[0]) == list(rows_of(tmp_path / "net")[0])
    network, reader = (json.loads((path / "metrics.json").read_text()) for path in (tmp_path / "net", folder))
    assert list(network) == list(reader)
