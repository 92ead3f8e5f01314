"""Training nnU-Net: on exactly our parts, each step once, and after a kill from where it was."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import torch

from scripts.engines.weights import load_weights
from scripts.experiments.grid.cost import measure_cost
from scripts.experiments.nnunet.network import NNUNet, find_model
from scripts.experiments.nnunet.program import PLAN, PYTHON, TRAIN
from scripts.experiments.nnunet.training import TRAINERS, train_nnunet, trainer_of
from scripts.studies.layout import read_dataset
from scripts.studies.reading import read_study

MODEL = "results/Dataset001_Liver/nnUNetTrainer_5epochs__nnUNetResEncUNetMPlans__2d"


@pytest.fixture
def train(program, dataset_dir, tmp_path):
    """Trains on the tiny dataset, five epochs unless told otherwise."""

    def run(output=tmp_path / "out", **options):
        given = {"fold": None, "max_epochs": 5, "check_dataset": False} | options
        train_nnunet(program(output), str(dataset_dir), str(output), **given)
        return output

    return run


def test_other_numbers_of_epochs_are_refused(train, stand_in):
    with pytest.raises(SystemExit, match=r"^error: max_epochs is 3, .* trainers for 1, 5, 10, 20, 50, 100, "):
        train(max_epochs=3)
    assert stand_in.calls == []


def test_an_unknown_planner_is_refused(train, stand_in):
    with pytest.raises(SystemExit, match=r"error: planner 'ResEnc' is unknown\. Use one of Exp"):
        train(planner="ResEnc")
    assert stand_in.calls == []


def test_without_nnunet_nothing_is_written(train, stand_in, tmp_path):
    (stand_in.folder / TRAIN).unlink()
    with pytest.raises(SystemExit, match="error: nnU-Net is not installed: make setup-nnunet"):
        train()
    assert not (tmp_path / "out").exists()


def test_a_dataset_with_faults_is_refused(train, dataset_dir, tmp_path):
    next((dataset_dir / "imagesTr").glob("liver-01*")).unlink()
    (dataset_dir / "labelsTr" / "liver-02.nii.gz").unlink()
    with pytest.raises(SystemExit, match="liver-02"):
        train(check_dataset=True)
    assert not (tmp_path / "out").exists()


def test_a_folder_of_other_things_is_left_alone(train, tmp_path):
    ours = tmp_path / "out" / "nnunet" / "raw" / "Dataset017_Mine"
    ours.mkdir(parents=True)
    for resume in (False, True):
        with pytest.raises(SystemExit, match=r"error: .*nnunet holds other things"):
            train(resume=resume)
    assert ours.is_dir()


def test_checkpoints_of_an_earlier_run_are_not_overwritten(train, stand_in):
    train()
    with pytest.raises(SystemExit, match=r"error: .* holds checkpoints of an earlier run\. Go on"):
        train()
    assert stand_in.commands.count(TRAIN) == 1


def test_another_fold_is_not_resumed(train):
    train(fold=0)
    with pytest.raises(SystemExit, match=r"error: .* was trained on other cases"):
        train(fold=1, resume=True)


def test_a_failed_step_ends_it_without_weights(train, stand_in, tmp_path):
    stand_in.behave({PLAN: {"code": 1, "say": "RuntimeError: planted"}})
    with pytest.raises(SystemExit, match=r"^error: nnUNetv2_plan_and_preprocess ended with code 1") as ended:
        train()
    assert str(ended.value).endswith("RuntimeError: planted")
    assert not (tmp_path / "out" / "model.pt").exists()


@pytest.mark.parametrize(
    ("fold", "training", "validation"),
    [
        (None, ["liver-01", "liver-02"], ["liver-03", "liver-04"]),
        (2, ["liver-01", "liver-02", "liver-04"], ["liver-03"]),
    ],
)
def test_it_learns_from_our_part_alone(train, stand_in, fold, training, validation):
    train(fold=fold)
    assert stand_in.read("splits_final.json") == [{"train": training, "val": validation}]
    call = next(call for call in stand_in.calls if call["command"] == TRAIN)
    # The only split there is, whatever our fold's number.
    assert call["arguments"][:3] == ["1", "2d", "0"]


def test_the_test_split_is_not_even_preprocessed(train, program, stand_in):
    stand_in.behave({TRAIN: {"cut": True, "code": 1}})
    with pytest.raises(SystemExit):
        train()
    cases = json.loads((program().preprocessed / "Dataset001_Liver" / "cases.json").read_text())
    assert cases == [f"liver-0{number}.nii.gz" for number in (1, 2, 3, 4)]


def test_the_commands(train, stand_in):
    train(device="cuda")
    plan, training, facts = stand_in.calls
    assert [plan["command"], training["command"], facts["command"]] == [PLAN, TRAIN, PYTHON]
    told = ["-d", "1", "-c", "2d", "-pl", "nnUNetPlannerResEncM", "-npfp", "1", "-np", "1"]
    assert plan["arguments"] == told
    told = ["1", "2d", "0", "-tr", "nnUNetTrainer_5epochs", "-p", "nnUNetResEncUNetMPlans", "-device", "cuda"]
    assert training["arguments"] == told


def test_any_other_trainer_by_name(train, stand_in):
    train(trainer="nnUNetTrainerDA5", max_epochs=3)
    assert "nnUNetTrainerDA5" in stand_in.calls[1]["arguments"]


@pytest.mark.parametrize(
    ("epochs", "name"), [(None, "nnUNetTrainer"), (1000, "nnUNetTrainer"), (1, "nnUNetTrainer_1epoch")]
)
def test_names_of_the_trainers(epochs, name):
    assert trainer_of(epochs) == name


def test_what_a_training_leaves(train, dataset_dir):
    out = train()
    with (out / "training_log.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["epoch"], row["val_score"]) for row in rows] == [("1", "0.1"), ("2", "0.2")]
    weights = load_weights(out / "model.pt")
    network = NNUNet()
    network.load_state_dict(weights)
    assert find_model(out / "model.pt", network) == out / "nnunet" / MODEL
    studies = [read_study(case) for case in read_dataset(dataset_dir)[:2]]
    curves = [[(s.image[p][s.label > 0].mean() - s.offset) / s.scale for p in range(4)] for s in studies]
    np.testing.assert_allclose(weights["mean_curve"], np.mean(curves, axis=0), rtol=1e-4)
    # What only the training needed is gone, and so is the file with the machine's name.
    left = {str(path.relative_to(out / "nnunet")) for path in (out / "nnunet").rglob("*") if path.is_file()}
    final = {"fold_0/checkpoint_final.pth", "fold_0/validation/summary.json", "dataset.json"}
    assert left == {"facts.json", "splits_final.json"} | {f"{MODEL}/{name}" for name in final}


def test_its_cost_is_what_its_own_environment_measured(train, tmp_path):
    out = train()
    network = f"{{_target_: scripts.experiments.nnunet.network.NNUNet, folder: {out / 'nnunet'}}}"
    (tmp_path / "config.yaml").write_text(f"network_def: {network}\nimage_size: 0\n")
    assert measure_cost(tmp_path / "config.yaml") == {"parameters": 1234, "gflops": 5.5, "image_size": 48}


def test_a_finished_training_has_nothing_left_to_do(train, stand_in, caplog):
    out = train()
    before, calls = (out / "model.pt").read_bytes(), len(stand_in.calls)
    with caplog.at_level("INFO"):
        train(resume=True)
    assert "nothing left to do" in caplog.text
    assert len(stand_in.calls) == calls
    assert (out / "model.pt").read_bytes() == before


def test_a_cut_training_goes_on_from_nnunets_checkpoint(train, stand_in):
    stand_in.behave({TRAIN: {"cut": True, "code": 1}})
    with pytest.raises(SystemExit):
        train(resume=True)
    stand_in.behave({})
    out = train(resume=True)
    assert stand_in.commands == [PLAN, TRAIN, TRAIN, PYTHON]
    first, second = (call["arguments"] for call in stand_in.calls[1:3])
    assert second == [*first, "--c"]
    assert (out / "model.pt").is_file()


def test_a_checkpoint_that_was_cut_while_it_was_written_is_not_taken(train, stand_in, tmp_path, caplog):
    stand_in.behave({TRAIN: {"cut": True, "code": 1}})
    with pytest.raises(SystemExit):
        train(resume=True)
    best = tmp_path / "out" / "nnunet" / MODEL / "fold_0" / "checkpoint_best.pth"
    best.write_bytes(best.read_bytes()[:-30])
    stand_in.behave({})
    train(resume=True)
    assert "checkpoint_best.pth is damaged and was removed" in caplog.text
    assert "--c" not in stand_in.calls[2]["arguments"]


def test_preprocessing_that_was_cut_is_begun_anew(train, stand_in, program):
    stand_in.behave({PLAN: {"code": 1}})
    with pytest.raises(SystemExit):
        train(resume=True)
    assert (program().preprocessed / "Dataset001_Liver").is_dir()
    stand_in.behave({})
    train(resume=True)
    assert stand_in.commands == [PLAN, PLAN, TRAIN, PYTHON]


def test_a_kill_after_the_training_repeats_none_of_it(train, stand_in):
    stand_in.behave({PYTHON: {"code": 1}})
    with pytest.raises(SystemExit):
        train(resume=True)
    stand_in.behave({})
    train(resume=True)
    assert stand_in.commands == [PLAN, TRAIN, PYTHON, PYTHON]


def test_a_kill_before_the_end_leaves_no_preprocessed_data(train, stand_in, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("scripts.experiments.nnunet.training._clear", killed)
        with pytest.raises(KeyboardInterrupt):
            train(resume=True)
    out = train(resume=True)
    assert sorted(path.name for path in (out / "nnunet").iterdir()) == ["facts.json", "results", "splits_final.json"]


def test_a_kill_while_the_parts_are_noted_does_not_shut_the_folder(train, tmp_path):
    (tmp_path / "out" / "nnunet").mkdir(parents=True)
    (tmp_path / "out" / "nnunet" / ".12-34.splits_final.json").write_text("[")
    assert (train(resume=True) / "model.pt").is_file()


def test_weights_of_another_system_are_no_finished_training(train):
    out = train(resume=True)
    torch.save({"mean_curve": torch.zeros(4)}, out / "model.pt")
    assert "checkpoint" in load_weights(train(resume=True) / "model.pt")


def test_all_its_trainers_are_in_the_table():
    assert torch.tensor(sorted(TRAINERS)).tolist() == [1, 5, 10, 20, 50, 100, 250, 500, 750, 1000, 2000, 4000, 8000]
