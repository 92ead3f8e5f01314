"""The chest trainings: what they start from, what they refuse, and that they resume exactly."""

import csv
import json
import shutil

import nibabel as nib
import pytest
import torch
from ignite.engine import Events

from scripts.domain.errors import CheckpointError
from scripts.related.chest_network import ChestNetwork
from scripts.related.chest_training import start_from

TINY = {"image_size": 32, "max_epochs": 2, "batch_size": 4}
ONE_SUBJECT = {
    "train#dataset#cases": "$layout.training_part(@cases, @fold)[1:2]",
    "validate#dataset#cases": "$layout.validation_part(@cases, @fold)[1:2]",
    "batch_size": 2,
}
SGD = {"_target_": "torch.optim.SGD", "params": "$@network_def.parameters()", "lr": 1e-3}


class InterruptedTrainingError(Exception):
    pass


def configs(arm):
    return ["chest.yaml", f"experiments/{arm}.yaml"]


def weights_of(path):
    return torch.load(path, weights_only=True)


@pytest.fixture(scope="module")
def settings(chest_dir):
    return TINY | {"dataset_dir": chest_dir}


@pytest.fixture(scope="module")
def trained_cr(run, settings, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cr")
    run(configs("chest_vgg13_cr"), "training", **settings, output_dir=folder)
    return folder


@pytest.fixture(scope="module")
def trained_all(run, settings, tmp_path_factory):
    folder = tmp_path_factory.mktemp("csrd")
    run(configs("chest_vgg13_csrd"), "training", **settings | ONE_SUBJECT | {"max_epochs": 1}, output_dir=folder)
    return folder


def log_of(folder):
    with (folder / "training_log.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_class_that_is_not_taught_is_refused(run, settings, chest_dir, tmp_path):
    without = tmp_path / "chests"
    shutil.copytree(chest_dir, without)
    header, *rows = (without / "subjects.csv").read_text().splitlines()
    (without / "subjects.csv").write_text("\n".join([header, *(row for row in rows if ",nodule," not in row)]) + "\n")
    settings = settings | {"dataset_dir": without, "output_dir": tmp_path / "out"}
    with pytest.raises(SystemExit, match=r"error: .*chests: no slice to learn from is nodule\. "):
        run(configs("chest_vgg13_cr"), "training", **settings)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        ({"image_size": 48}, "it must be a multiple of 32"),
        ({"loss_weights": {"classification": 0.5}}, "give 0 or 1 to classification"),
        ({"fold": 9}, "none of the 6 cases has split any and fold 9"),
        ({"dataset_dir": "nowhere"}, "nowhere: no chest dataset"),
    ],
)
def test_a_training_that_cannot_start_says_so_in_one_line(overrides, reason, run, settings, tmp_path):
    with pytest.raises(SystemExit, match=reason):
        run(configs("chest_vgg13_cr"), "training", **settings | {"output_dir": tmp_path / "out"} | overrides)
    assert not (tmp_path / "out").exists()


def test_a_fault_inside_a_file_is_told_in_one_line(run, settings, chest_dir, tmp_path):
    broken = shutil.copytree(chest_dir, tmp_path / "cohort")
    (broken / "images" / "chest-3-2.nii.gz").write_bytes(b"")
    with pytest.raises(SystemExit, match=r"error: .*chest-3-2\.nii\.gz: not a NIfTI file"):
        run(configs("chest_vgg13_cr"), "training", **settings | {"dataset_dir": broken, "output_dir": tmp_path / "out"})
    assert not (tmp_path / "out").exists()


def test_checkpoints_of_an_earlier_run_are_not_overwritten(run, settings, trained_cr):
    with pytest.raises(SystemExit, match="Go on with --resume true"):
        run(configs("chest_vgg13_cr"), "training", **settings, output_dir=trained_cr)


def test_an_arm_that_starts_from_anothers_weights_needs_them(run, settings, tmp_path):
    with pytest.raises(SystemExit, match=r"starts from the weights of another .* --init_ckpt"):
        run(configs("chest_vgg13_sr_from_c"), "training", **settings, output_dir=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_weights_of_another_encoder_are_refused(trained_cr):
    with pytest.raises(CheckpointError, match="are weights of another encoder"):
        start_from(ChestNetwork("resnet50", ["segmentation"]), trained_cr / "model.pt")


def test_weights_of_no_chest_network_are_refused(tmp_path):
    torch.save({"layer.weight": torch.zeros(2)}, tmp_path / "model.pt")
    with pytest.raises(CheckpointError, match="or of no chest network"):
        start_from(ChestNetwork("vgg13_bn", ["segmentation"]), tmp_path / "model.pt")


def test_sr_starts_from_the_encoder_and_the_reconstruction_of_cr(trained_cr):
    torch.manual_seed(0)
    network = ChestNetwork("vgg13_bn", ["segmentation", "reconstruction"])
    before = {name: value.clone() for name, value in network.state_dict().items()}
    start_from(network, trained_cr / "model.pt")
    given = weights_of(trained_cr / "model.pt")
    for name, value in network.state_dict().items():
        shared = name.startswith(("encoder.", "reconstruct."))
        assert torch.equal(value, given[name] if shared else before[name]), name
    assert any(name.startswith("segment.") for name in before)


def test_sr_from_c_trains(run, settings, trained_cr, tmp_path):
    started = settings | {"max_epochs": 1, "init_ckpt": trained_cr / "model.pt", "output_dir": tmp_path}
    run(configs("chest_vgg13_sr_from_c"), "training", **started)
    assert set(log_of(tmp_path)[0]) >= {"segmentation", "reconstruction", "val_dice", "val_score"}


def test_a_training_logs_every_task(trained_all):
    (row,) = log_of(trained_all)
    assert {"classification", "segmentation", "reconstruction", "detection"} <= row.keys()
    assert {"val_balanced_accuracy", "val_dice", "val_ap50", "val_reconstruction_error", "val_score"} <= row.keys()


# Plain gradient descent for the detector, whose checkpoints are a third as large without Adam's moments.
@pytest.mark.parametrize(
    ("arm", "overrides"), [("chest_vgg13_cr", {}), ("chest_vgg13_dr", ONE_SUBJECT | {"train#optimizer": SGD})]
)
def test_an_interrupted_run_ends_as_an_uninterrupted_one(arm, overrides, trained_cr, settings, run, prepared, tmp_path):
    settings = settings | overrides
    whole, cut = trained_cr, tmp_path / "cut"
    if arm != "chest_vgg13_cr":
        whole = tmp_path / "whole"
        run(configs(arm), "training", **settings, output_dir=whole)
    workflow = prepared(configs(arm), "training", settings | {"output_dir": cut})

    def interrupt(engine):
        if engine.state.epoch == 2:
            raise InterruptedTrainingError

    workflow.parser.get_parsed_content("train#trainer").add_event_handler(Events.ITERATION_COMPLETED, interrupt)
    with pytest.raises(RuntimeError) as stopped:
        workflow.run()
    assert isinstance(stopped.value.__cause__, InterruptedTrainingError)
    run(configs(arm), "training", **settings, output_dir=cut, resume=True)
    name = "checkpoints/checkpoint_epoch=2.pt"
    ours, theirs = (weights_of(folder / name)["network"] for folder in (cut, whole))
    assert all(torch.equal(ours[key], value) for key, value in theirs.items())
    assert log_of(cut) == log_of(whole)


def test_the_last_weights_are_kept_where_nothing_may_be_chosen(prepared, settings, tmp_path):
    overrides = {"output_dir": tmp_path, "keep": "last", "fold": 0}
    workflow = prepared(configs("chest_vgg13_cr"), "training", settings | overrides)
    assert workflow.parser.get_parsed_content("validate#best_weights").keep == "last"


def test_evaluating_scores_every_subject_of_the_split(run, settings, trained_all, tmp_path):
    weights = {"ckpt_path": trained_all / "model.pt", "output_dir": tmp_path, "split": "test", "fold": 0}
    run(configs("chest_vgg13_csrd"), "evaluating", **settings, **weights)
    with (tmp_path / "per_subject.csv").open(newline="") as file:
        rows = {row["case"]: row for row in csv.DictReader(file)}
    assert set(rows) == {"chest-3-4", "chest-3-5", "chest-3-6"}
    assert rows["chest-3-4"]["dice"] == ""
    assert {row["correct"] for row in rows.values()} <= {"True", "False"}
    assert all(float(row["reconstruction_error"]) > 0 for row in rows.values())
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert all(set(entry) == {"value", "ci95", "n"} for entry in metrics.values())
    assert metrics["dsc_mean"]["n"] == 2
    assert metrics["accuracy"]["n"] == 12
    assert 0 <= metrics["detection_ap"]["value"] <= metrics["detection_ap50"]["value"] <= 1


def test_weights_of_another_size_are_refused(run, settings, trained_all, tmp_path):
    settings = settings | {"image_size": 64, "ckpt_path": trained_all / "model.pt", "output_dir": tmp_path}
    with pytest.raises(SystemExit, match="was trained at image_size 32, this config says 64"):
        run(configs("chest_vgg13_csrd"), "evaluating", **settings, split="test")


def test_inferring_writes_findings_and_a_mask_on_the_files_grid(run, settings, trained_all, chest_dir, tmp_path):
    weights = {"ckpt_path": trained_all / "model.pt", "output_dir": tmp_path, "split": "test"}
    run(configs("chest_vgg13_csrd"), "inferring", **settings, **weights)
    folder = tmp_path / "chest-3-5"
    findings = json.loads((folder / "findings.json").read_text())
    assert len(findings["slices"]) == 4
    assert sum(findings["slices"][0].values()) == pytest.approx(1.0)
    assert all(0 <= box["slice"] < 4 for box in findings["boxes"])
    mask, image = nib.load(folder / "mask.nii.gz"), nib.load(chest_dir / "images" / "chest-3-5.nii.gz")
    assert mask.shape == image.shape
