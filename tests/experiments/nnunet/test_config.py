"""``nnunet.yaml`` and the arm nnunet as a user and the grid meet them; once with the real nnU-Net, if it is there."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from monai.bundle import run

from scripts.experiments.grid.arms import CONFIGS, choose_arms
from scripts.experiments.grid.plan import Settings, open_dataset, plan_runs
from scripts.experiments.grid.task import REFUSED, Outcome, carry_out
from scripts.experiments.nnunet.program import TRAIN
from scripts.studies.layout import read_dataset

INSTALLED = CONFIGS.parents[1] / ".venv-nnunet" / "bin"

# A whole training is 250 batches an epoch; nnU-Net looks for such a class in the folders of nnUNet_extTrainer.
TWO_BATCHES = """
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer


class nnUNetTrainer_twoBatches(nnUNetTrainer):
    def __init__(self, plans: dict, configuration: str, fold: int, dataset_json: dict, device=torch.device("cuda")):
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_epochs, self.num_iterations_per_epoch, self.num_val_iterations_per_epoch = 2, 2, 1
"""


def type_command(run_id: str, **overrides) -> None:
    """``python -m monai.bundle run RUN_ID``, in this process."""
    configs = [str(CONFIGS / name) for name in ("nnunet.yaml", "experiments/nnunet.yaml")]
    run(run_id=run_id, config_file=configs, logging_file=False, figures=False, **overrides)


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "per_subject.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def perfect(stand_in, dataset_dir):
    """A stand-in that finds every lesion."""
    for case in read_dataset(dataset_dir):
        stand_in.answer(case.case, case.label_file)
    return stand_in


@pytest.mark.parametrize("run_id", ["training", "evaluating", "inferring"])
def test_without_nnunet_every_command_ends_with_one_line(run_id, dataset_dir, tmp_path):
    places = {"dataset_dir": str(dataset_dir), "output_dir": str(tmp_path / "out"), "nnunet_bin": str(tmp_path)}
    with pytest.raises(SystemExit, match=r"^error: nnU-Net is not installed: make setup-nnunet"):
        type_command(run_id, **places)
    assert not (tmp_path / "out").exists()


def test_trained_and_scored_as_any_arm(perfect, dataset_dir, tmp_path):
    places = {"dataset_dir": str(dataset_dir), "output_dir": str(tmp_path / "out"), "nnunet_bin": str(perfect.folder)}
    type_command("training", **places)
    # The length that nnU-Net itself would take.
    assert "nnUNetTrainer" in perfect.calls[1]["arguments"]
    type_command("evaluating", **places, split="test")
    rows = rows_of(tmp_path / "out")
    assert [(row["case"], row["dice"], row["correct"], row["mask_given"]) for row in rows] == [
        ("liver-05", "1", "True", "False")
    ]
    committed = (CONFIGS.parent / "docs" / "results" / "per_subject.csv").read_text().splitlines()[0].split(",")
    assert [name for name in committed if name in rows[0]] == committed
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["dsc_mean"] == {"value": 1.0, "ci95": None, "n": 1}
    assert metrics["mae_ratio"]["value"] is None
    assert metrics["mae_ratio_from_mask"]["value"] is not None


def test_the_held_out_fold_is_scored(perfect, dataset_dir, tmp_path):
    places = {"dataset_dir": str(dataset_dir), "output_dir": str(tmp_path / "out"), "nnunet_bin": str(perfect.folder)}
    type_command("training", **places, fold=2)
    type_command("evaluating", **places, fold=2)
    assert [row["case"] for row in rows_of(tmp_path / "out")] == ["liver-03"]


def test_studies_without_a_truth_are_segmented(perfect, dataset_dir, tmp_path):
    trained = tmp_path / "out"
    type_command("training", dataset_dir=str(dataset_dir), output_dir=str(trained), nnunet_bin=str(perfect.folder))
    places = {"output_dir": str(tmp_path / "found"), "nnunet_bin": str(perfect.folder)}
    type_command("inferring", dataset_dir=str(dataset_dir / "imagesTs"), ckpt_path=str(trained / "model.pt"), **places)
    written = nib.load(tmp_path / "found" / "liver-05" / "mask.nii.gz")
    truth = nib.load(dataset_dir / "labelsTs" / "liver-05.nii.gz")
    np.testing.assert_array_equal(np.asarray(written.dataobj), np.asarray(truth.dataobj))
    np.testing.assert_allclose(written.affine, truth.affine, atol=1e-4)


@pytest.fixture
def grid_run(perfect, dataset_dir, tmp_path):
    """The arm's run on fold 0 of a grid."""
    overrides = {"nnunet": {"nnunet_bin": str(perfect.folder), "max_epochs": 1}}
    settings = Settings(tmp_path / "grid", arm_overrides=overrides, keep_masks=1, min_free_mb=0.0)
    dataset = open_dataset(dataset_dir, [0], name=None)
    # Its only hemangiomas are in one fold and the test: fold 0 leaves one of each class to learn from.
    return plan_runs(choose_arms("nnunet"), [0], [3], {None: dataset}, settings)[0]


def test_a_run_of_the_grid_is_whole_and_leaves_the_dataset_as_it_was(grid_run, dataset_dir):
    before = {path: path.stat().st_size for path in dataset_dir.rglob("*")}
    assert carry_out(grid_run.task()) == Outcome("done")
    folder = grid_run.folder
    assert json.loads(folder.cost.read_text()).items() >= {"parameters": 1234, "gflops": 5.5, "image_size": 48}.items()
    assert json.loads(folder.provenance.read_text())["seed"] == 3
    assert [row["case"] for row in rows_of(folder.path)] == ["liver-05"]
    assert (folder.path / "training_log.csv").is_file()
    assert (folder.path / "liver-05" / "mask.nii.gz").is_file()
    assert {path: path.stat().st_size for path in dataset_dir.rglob("*")} == before


def test_a_run_of_the_grid_without_nnunet_is_refused_and_says_why(grid_run, perfect):
    (perfect.folder / TRAIN).unlink()
    outcome = carry_out(grid_run.task())
    assert outcome.status == REFUSED
    assert "nnU-Net is not installed: make setup-nnunet" in outcome.reason


@pytest.mark.slow
@pytest.mark.skipif(not (INSTALLED / TRAIN).is_file(), reason="nnU-Net is not installed: make setup-nnunet")
def test_the_real_one_trains_predicts_and_agrees_with_its_own_metrics(dataset_dir, tmp_path, monkeypatch):
    out = tmp_path / "out"
    # Small, to save time, and still oblique and without symmetry; without the vessel that the check would look for.
    for file in dataset_dir.rglob("*.nii.gz"):
        image = nib.load(file).slicer[4:52, 12:52, 8:16]
        nib.save(nib.Nifti1Image(np.asarray(image.dataobj), image.affine), file)
    (tmp_path / "trainers").mkdir()
    (tmp_path / "trainers" / "nnUNetTrainer_twoBatches.py").write_text(TWO_BATCHES)
    monkeypatch.setenv("nnUNet_extTrainer", str(tmp_path / "trainers"))
    # The planner that keeps the batch small where the dataset is.
    asked = {"trainer": "nnUNetTrainer_twoBatches", "planner": "ExperimentPlanner", "workers": 1, "device": "cpu"}
    places = {"dataset_dir": str(dataset_dir), "output_dir": str(out)}
    type_command("training", **places, **asked, check_dataset=False)
    with (out / "training_log.csv").open(newline="") as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2"]
    type_command("evaluating", **places, split="val", min_volume_ml=0.0, **asked)
    # nnU-Net validated the same weights on the same cases, of which only liver-03 has a lesion.
    (summary,) = out.glob("nnunet/results/*/*/fold_0/validation/summary.json")
    theirs = json.loads(summary.read_text())["metric_per_case"][0]
    assert "liver-03" in theirs["prediction_file"]
    ours = rows_of(out)[0]
    # Its name for the region of both classes; untrained, it calls most voxels tumour, so they are many.
    assert theirs["metrics"]["(1, 2)"]["n_pred"] > 100
    # Theirs is of another pass over the same weights; of some thousand voxels one may fall on the other side.
    assert float(ours["dice"]) == pytest.approx(theirs["metrics"]["(1, 2)"]["Dice"], rel=1e-3)
    assert float(ours["iou"]) == pytest.approx(theirs["metrics"]["(1, 2)"]["IoU"], rel=1e-3)
