"""Readers without a network: what they see, what they learn, and that they learn from the training part alone."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch

from scripts.domain.enhancement import kinetic_rule, mean_curve, median_curve, ring
from scripts.engines.weights import load_network
from scripts.experiments.grid.cost import measure_cost
from scripts.experiments.readers import (
    FEATURES,
    STRENGTHS,
    CurveLogistic,
    KineticRule,
    ReaderInferer,
    curve_features,
    fit_logistic,
    subject_curves,
    train_reader,
)
from scripts.phantom.cohort import write_cohort
from scripts.studies.layout import read_dataset, training_part
from scripts.studies.reading import read_study


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """Twelve coarse phantom studies to train on, four to test."""
    folder = tmp_path_factory.mktemp("readers") / "cohort"
    write_cohort(16, 5, folder, split_sizes=[12, 0, 4], shape=(48, 40, 16), workers=1)
    return folder


@pytest.fixture
def study(dataset_dir):
    """liver-01, an hcc."""
    return read_study(read_dataset(dataset_dir)[0])


def two_clusters(n=40, shift=1.0, seed=0):
    """Features of two classes, of which only the first tells them apart."""
    rng = np.random.default_rng(seed)
    is_hcc = np.arange(n) % 2 == 0
    features = rng.normal(size=(n, len(FEATURES)))
    features[:, 0] += np.where(is_hcc, shift, -shift)
    return 100.0 + 10.0 * features, is_hcc


def test_a_training_part_without_a_class_is_refused(dataset_dir, tmp_path):
    table = dataset_dir / "subjects.csv"
    rows = table.read_text().splitlines()
    table.write_text("\n".join(row for row in rows if "liver-02" not in row) + "\n")
    with pytest.raises(SystemExit, match=r"error: .*no hemangioma among the 1 subjects"):
        train_reader(CurveLogistic(), str(dataset_dir), str(tmp_path / "out"), fold=None, check_dataset=False)
    assert not (tmp_path / "out").exists()


def test_a_dataset_with_faults_is_refused(dataset_dir, tmp_path):
    next((dataset_dir / "imagesTr").glob("liver-01*")).unlink()
    with pytest.raises(SystemExit, match="liver-01"):
        train_reader(KineticRule(), str(dataset_dir), str(tmp_path / "out"), fold=None)
    assert not (tmp_path / "out").exists()


def test_weights_of_another_reader_are_refused(dataset_dir, tmp_path):
    train_reader(KineticRule(), str(dataset_dir), str(tmp_path), fold=None)
    with pytest.raises(Exception, match="do not fit network_def"):
        load_network(CurveLogistic(), tmp_path / "model.pt")


def test_curves_are_those_under_the_true_mask_and_in_the_liver_around(study):
    lesion = study.label > 0
    curve, around = subject_curves(study)
    np.testing.assert_allclose(curve, mean_curve(study.image, lesion))
    expected = median_curve(study.image, ring(lesion, study.spacing_mm, allowed=study.liver & ~lesion))
    np.testing.assert_allclose(around, expected)


def test_features_against_plain_formulas(study):
    features = dict(zip(FEATURES, curve_features(study), strict=True))
    voxels = study.image[:, study.label > 0].astype(float)
    normalised = (voxels - study.offset) / study.scale
    assert features["mean_delayed"] == pytest.approx(normalised[3].mean())
    assert features["relative_arterial"] == pytest.approx(voxels[1].mean() / voxels[0].mean() - 1)
    assert features["deviation_pre"] == pytest.approx(normalised[0].std())
    assert features["percentile_90_portal_venous"] == pytest.approx(np.percentile(normalised[2], 90))
    # The fixture's hcc is 400 in the arterial phase and 230 in the delayed one, the liver 230 and 270.
    assert features["lesion_to_ring_arterial"] == pytest.approx(400 / 230, rel=0.05)
    assert features["lesion_to_ring_delayed"] == pytest.approx(230 / 270, rel=0.05)


def test_features_of_what_is_missing_are_nan_and_no_others(study):
    image = study.image.copy()
    image[2] = 0
    available = (True, True, False, True)
    got = curve_features(dataclasses.replace(study, image=image, available=available))
    missing = {name for name, value in zip(FEATURES, got, strict=True) if np.isnan(value)}
    assert missing == {name for name in FEATURES if name.endswith("portal_venous")}


def test_features_do_not_depend_on_the_scanners_gain(study):
    """The image, and so its normalisation, in other units."""
    brighter = dataclasses.replace(study, image=3.0 * study.image, offset=3.0 * study.offset, scale=3.0 * study.scale)
    np.testing.assert_allclose(curve_features(brighter), curve_features(study), rtol=1e-5)


def test_the_rule_reads_the_fixtures_lesions_right(dataset_dir):
    for case in read_dataset(dataset_dir):
        study = read_study(case)
        if case.tumour_class == "none":
            continue
        rule = kinetic_rule(*subject_curves(study))
        assert KineticRule().probability_hcc(study) == float(rule == "hcc") == float(case.tumour_class == "hcc")


def test_the_rule_reads_a_lesion_however_small(study):
    """Two voxels of .045 ml: less than what counts as a lesion where lesions are looked for."""
    label = np.zeros_like(study.label)
    i, j, k = np.argwhere(study.label > 0).mean(axis=0).round().astype(int)
    label[i : i + 2, j, k] = study.label.max()
    small = dataclasses.replace(study, label=label)
    assert kinetic_rule(*subject_curves(small)) == "hcc"
    assert KineticRule().probability_hcc(small) == 1.0


def test_the_rule_answers_without_the_phase_that_it_needs(study):
    image = study.image.copy()
    image[3] = 0
    lacking = dataclasses.replace(study, image=image, available=(True, True, True, False))
    assert KineticRule().probability_hcc(lacking) == 0.0


def test_parity_with_scikit_learn():
    features, is_hcc = two_clusters()
    features[3, 5] = np.nan
    reader = CurveLogistic()
    reader.fit(features, is_hcc, seed=1)
    expected = fit_logistic(features, is_hcc, seed=1).predict_proba(features)[:, 1]
    with torch.no_grad():
        got = reader(torch.from_numpy(features).float()).sigmoid().numpy()
    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_c_is_chosen_by_how_much_there_is_to_learn():
    """Noise is shrunk away; what is clear is trusted."""
    strength = {shift: fit_logistic(*two_clusters(shift=shift), seed=0)["regression"].C for shift in (0.0, 3.0)}
    assert strength[0.0] == STRENGTHS[0] < strength[3.0]


def test_a_class_of_one_subject_leaves_nothing_to_choose_by():
    features, is_hcc = two_clusters(n=5)
    is_hcc[:] = False
    is_hcc[0] = True
    assert fit_logistic(features, is_hcc, seed=0)["regression"].C == 1.0


def test_it_learns_from_the_training_part_alone(cohort, tmp_path, monkeypatch):
    read = []

    def watched(case):
        read.append(case.case)
        return read_study(case)

    monkeypatch.setattr("scripts.experiments.readers.read_study", watched)
    train_reader(CurveLogistic(), str(cohort), str(tmp_path), fold=0, seed=3)
    part = training_part(read_dataset(cohort), 0)
    assert read == [case.case for case in part if case.tumour_class != "none"]
    assert not {case.case for case in read_dataset(cohort) if case.fold == 0 or case.split == "test"} & set(read)


def test_stored_weights_are_plain_and_the_same_each_time(cohort, tmp_path):
    for name in ("one", "other"):
        train_reader(CurveLogistic(), str(cohort), str(tmp_path / name), fold=1, seed=3)
    one, other = (torch.load(tmp_path / name / "model.pt", weights_only=True) for name in ("one", "other"))
    assert all(torch.equal(value, other[name]) for name, value in one.items())
    curves = []
    for case in training_part(read_dataset(cohort), 1):
        study = read_study(case)
        if case.tumour_class != "none":
            curves.append((mean_curve(study.image, study.label > 0) - study.offset) / study.scale)
    np.testing.assert_allclose(one["mean_curve"], np.mean(curves, axis=0), rtol=1e-4)


def test_it_tells_separable_lesions_apart(cohort, tmp_path):
    reader = CurveLogistic()
    train_reader(reader, str(cohort), str(tmp_path), fold=None)
    cases = [case for case in training_part(read_dataset(cohort)) if case.tumour_class != "none"]
    right = [(reader.probability_hcc(read_study(case)) > 0.5) == (case.tumour_class == "hcc") for case in cases]
    assert np.mean(right) >= 0.9


def test_every_slice_gets_the_same_answer(study):
    prediction = ReaderInferer()(study, KineticRule())
    assert prediction.tumour is None
    assert prediction.regression is None
    np.testing.assert_array_equal(prediction.classification, [[0.0, 1.0]] * study.image.shape[1 + study.slice_axis])


@pytest.mark.parametrize(("reader", "parameters"), [("KineticRule", 0), ("CurveLogistic", len(FEATURES) + 1)])
def test_the_grid_can_count_their_cost(reader, parameters, tmp_path):
    config = {"network_def": {"_target_": f"scripts.experiments.readers.{reader}"}, "image_size": 64}
    (tmp_path / "config.yaml").write_text(json.dumps(config))
    cost = measure_cost(tmp_path / "config.yaml")
    assert cost["parameters"] == parameters
    assert cost["gflops"] == pytest.approx(0.0, abs=1e-6)
