"""nnU-Net's masks as predictions: of exactly the scored studies, on their grid, with the class of their voxels."""

from __future__ import annotations

import dataclasses

import nibabel as nib
import numpy as np
import pytest
import torch

from scripts.domain.errors import CheckpointError, StudyError
from scripts.engines.evaluation import Scorer
from scripts.engines.study_evaluator import ReadAhead, StudyDataset, StudyEvaluator
from scripts.experiments.nnunet.network import NNUNet, digest, find_model
from scripts.experiments.nnunet.prediction import NNUNetInferer, class_shares
from scripts.experiments.nnunet.program import PREDICT
from scripts.studies.layout import read_dataset
from scripts.studies.reading import read_study


@pytest.fixture
def model(tmp_path):
    """A trained model folder, its ``model.pt`` and the network that names it."""
    folder = tmp_path / "trained" / "nnunet" / "results" / "Dataset001_Liver" / "T__P__2d"
    (folder / "fold_0").mkdir(parents=True)
    (folder / "fold_0" / "checkpoint_final.pth").write_bytes(b"weights")
    network = NNUNet()
    network.checkpoint.copy_(digest(folder / "fold_0" / "checkpoint_final.pth"))
    torch.save(network.state_dict(), tmp_path / "trained" / "model.pt")
    return folder, tmp_path / "trained" / "model.pt", network


@pytest.fixture
def evaluate(program, model, tmp_path):
    """Scores cases; returns the evaluator and the rows."""

    def run(cases):
        _, weights, network = model
        inferer = NNUNetInferer(program(), cases, ckpt_path=weights)
        scorer = Scorer(tmp_path / "out")
        evaluator = StudyEvaluator(
            device="cpu",
            val_data_loader=ReadAhead(StudyDataset(cases)),
            network=network,
            inferer=inferer,
            val_handlers=[scorer, inferer],
        )
        evaluator.run()
        return evaluator, scorer

    return run


def test_weights_without_nnunets_folder_are_refused(model, tmp_path):
    _, weights, network = model
    moved = tmp_path / "elsewhere" / "model.pt"
    moved.parent.mkdir()
    weights.rename(moved)
    with pytest.raises(CheckpointError, match=r"does not hold the nnU-Net that .*model\.pt was written for"):
        find_model(moved, network)


def test_weights_that_were_trained_again_are_refused(model):
    folder, weights, network = model
    assert find_model(weights, network) == folder
    (folder / "fold_0" / "checkpoint_final.pth").write_bytes(b"other weights")
    with pytest.raises(CheckpointError):
        find_model(weights, network)


def test_a_study_without_a_mask_is_named_and_the_others_go_on(evaluate, stand_in, dataset_dir):
    cases = read_dataset(dataset_dir)[:2]
    stand_in.answer("liver-02", cases[1].label_file)
    evaluator, scorer = evaluate(cases)
    assert list(evaluator.failures) == ["liver-01"]
    assert "nnU-Net left no" in str(evaluator.failures["liver-01"])
    assert list(scorer.subjects) == ["liver-02"]


def test_a_mask_of_an_earlier_evaluation_is_not_taken(evaluate, stand_in, dataset_dir):
    cases = read_dataset(dataset_dir)[:1]
    stand_in.answer("liver-01", cases[0].label_file)
    assert not evaluate(cases)[0].failures
    (stand_in.folder / "answers" / "liver-01.nii.gz").unlink()
    assert list(evaluate(cases)[0].failures) == ["liver-01"]


def test_a_damaged_study_stops_no_other(evaluate, stand_in, dataset_dir):
    cases = read_dataset(dataset_dir)[:2]
    for case in cases:
        stand_in.answer(case.case, case.label_file)
    cases[0].phase_files[1].write_bytes(b"no image")
    evaluator, scorer = evaluate(cases)
    assert list(evaluator.failures) == ["liver-01"]
    assert stand_in.read("predicted.json") == ["liver-02"]
    assert list(scorer.subjects) == ["liver-02"]


def test_a_mask_on_another_grid_is_refused(program, model, dataset_dir):
    case = read_dataset(dataset_dir)[0]
    inferer = NNUNetInferer(program(), [case], ckpt_path=model[1])
    inferer.masks.mkdir(parents=True)
    nib.save(nib.Nifti1Image(np.zeros((9, 8, 7), np.uint8), np.eye(4)), inferer.masks / "liver-01.nii.gz")
    with pytest.raises(StudyError, match="not on the grid of liver-01"):
        inferer(read_study(case), model[2])


def test_the_truth_as_an_answer_scores_full_marks(evaluate, stand_in, dataset_dir):
    cases = [case for case in read_dataset(dataset_dir) if case.tumour_class != "none"]
    for case in cases:
        stand_in.answer(case.case, case.label_file)
    evaluator, scorer = evaluate(cases)
    assert not evaluator.failures
    for case, row in zip(cases, scorer.rows, strict=True):
        assert row.case == case.case
        assert row.dice == 1.0
        assert row.predicted_class == case.tumour_class
        assert row.correct
        assert row.correct_on_true_slices
        assert row.head_curve is None
        np.testing.assert_allclose(row.mask_curve, row.true_curve)
    assert scorer.metrics["dsc_mean"]["value"] == 1.0
    assert scorer.metrics["auroc_true_slices"]["value"] == 1.0


def test_nothing_found_is_a_wrong_class_for_both_classes(evaluate, stand_in, dataset_dir, tmp_path):
    cases = [case for case in read_dataset(dataset_dir) if case.tumour_class != "none"]
    assert {case.tumour_class for case in cases} == {"hemangioma", "hcc"}
    for case in cases:
        image = nib.load(case.label_file)
        nib.save(nib.Nifti1Image(np.zeros(image.shape, np.uint8), image.affine), tmp_path / "empty.nii.gz")
        stand_in.answer(case.case, tmp_path / "empty.nii.gz")
    _, scorer = evaluate(cases)
    assert all(row.dice == 0.0 and row.correct is False and row.correct_on_true_slices is False for row in scorer.rows)
    assert scorer.metrics["accuracy_true_slices"]["value"] == 0.0
    # As in the other ranking, a miss is the wrong class with certainty.
    assert scorer.metrics["auroc_true_slices"]["value"] == 0.0


def test_only_what_is_scored_is_predicted_with_this_fold(evaluate, stand_in, dataset_dir, model):
    cases = [case for case in read_dataset(dataset_dir) if case.split == "test"]
    stand_in.answer("liver-05", cases[0].label_file)
    evaluate(cases)
    assert stand_in.read("predicted.json") == ["liver-05"]
    call = stand_in.calls[-1]
    assert call["command"] == PREDICT
    arguments = dict(zip(call["arguments"][::2], call["arguments"][1::2], strict=True))
    assert arguments["-m"] == str(model[0])
    assert (arguments["-f"], arguments["-device"], arguments["-npp"], arguments["-nps"]) == ("0", "cpu", "1", "1")


def test_a_study_without_a_phase_is_predicted_too(evaluate, stand_in, dataset_dir):
    case = read_dataset(dataset_dir)[0]
    stand_in.answer("liver-01", case.label_file)
    without = dataclasses.replace(case, phase_files=(None, *case.phase_files[1:]))
    evaluator, scorer = evaluate([without])
    assert not evaluator.failures
    assert scorer.rows[0].dice == 1.0


def test_shares_of_the_classes():
    mask = np.zeros((4, 5, 3), dtype=np.uint8)
    mask[0, :, 0] = 1
    mask[1:4, :, 1] = 2
    mask[0, :, 1] = 1
    shares = class_shares(mask, slice_axis=2)
    # 5 of hemangioma; 15 of hcc and 5 of hemangioma; none, so the whole study's 15 of 25.
    np.testing.assert_allclose(shares, [[1.0, 0.0], [0.25, 0.75], [0.4, 0.6]], atol=1e-6)
    assert shares.dtype == np.float32
    assert np.isnan(class_shares(np.zeros_like(mask), slice_axis=0)).all()
    assert class_shares(mask, slice_axis=0).shape == (4, 2)
