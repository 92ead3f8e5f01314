"""The commands that users type: they end well, or with one line that says what to do and nothing written."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil

import nibabel as nib
import numpy as np
import pytest
import torch
from mlflow import MlflowClient

from scripts.engines.weights import load_weights


def assert_refused(finished, *words):
    """It failed, the last line says why, and there is no traceback."""
    assert finished.code != 0
    assert "Traceback" not in finished.stdout + finished.stderr
    assert finished.error.startswith("error: ")
    for word in words:
        assert word in finished.error


def flags_of(values):
    """``--key value`` for every entry."""
    return [part for key, value in values.items() for part in (f"--{key}", str(value))]


def files_below(folder):
    """The files in a folder, with the time of their last change."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def nothing_written(cohort, tmp_path):
    """A fresh ``output_dir``; afterwards neither it nor anything in the dataset has come into being."""
    before = files_below(cohort)
    output_dir = tmp_path / "output"
    yield output_dir
    assert not output_dir.exists()
    assert files_below(cohort) == before


@pytest.fixture(scope="module")
def analysed(bundle, cohort, trained, narrow, tmp_path_factory):
    """The output of `evaluating` on the test split."""
    folder = tmp_path_factory.mktemp("analysed") / "evaluate"
    overrides = {"dataset_dir": cohort, "output_dir": folder, "ckpt_path": trained / "model.pt", "split": "test"}
    finished = bundle.run("evaluating", "evaluate.yaml", narrow | overrides | {"figures": "false"})
    assert finished.code == 0, finished.stderr
    return folder


# Wrong input first.


@pytest.mark.parametrize(
    ("run_id", "config"),
    [("training", "train.yaml"), ("evaluating", "evaluate.yaml"), ("inferring", "inference.yaml")],
)
def test_a_missing_dataset_is_refused(run_id, config, bundle, narrow, nothing_written, tmp_path):
    overrides = {"dataset_dir": tmp_path / "nowhere", "output_dir": nothing_written}
    assert_refused(bundle.run(run_id, config, narrow | overrides), str(tmp_path / "nowhere"), "no such")


def test_a_dataset_without_a_training_split_is_refused(bundle, short, nothing_written, cohort, tmp_path):
    folder = shutil.copytree(cohort, tmp_path / "cohort")
    table = folder / "subjects.csv"
    rows = list(csv.DictReader(table.open(newline="")))
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(row | {"split": "val"} if row["split"] == "train" else row for row in rows)
    finished = bundle.run("training", "train.yaml", short | {"dataset_dir": folder, "output_dir": nothing_written})
    assert_refused(finished, "split train", "subjects.csv")


def test_training_lists_all_faults_of_a_dataset(bundle, short, nothing_written, cohort, tmp_path):
    folder = shutil.copytree(cohort, tmp_path / "cohort")
    damaged, gone = folder / "imagesTr" / "phantom-5-01_0001.nii.gz", folder / "labelsTr" / "phantom-5-02.nii.gz"
    damaged.write_bytes(damaged.read_bytes()[:999])
    gone.unlink()
    finished = bundle.run("training", "train.yaml", short | {"dataset_dir": folder, "output_dir": nothing_written})
    assert finished.code != 0
    assert "Traceback" not in finished.stdout + finished.stderr
    for words in ("2 fault(s)", str(damaged), str(gone)):
        assert words in finished.stderr


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("loss_def#segmentation", "focal", ("one of", "dice_bce", "'focal'")),
        ("adversarial", "maybe", ("'maybe'", "true", "false")),
        ("batch_norm_momentum", 2, ("batch_norm_momentum 2", "above 0 and below 1")),
    ],
)
def test_a_wrong_value_of_a_config_is_refused(key, value, words, bundle, short, nothing_written, cohort):
    settings = short | {"dataset_dir": cohort, "output_dir": nothing_written, key: value}
    assert_refused(bundle.run("training", "train.yaml", settings), *words)


def test_an_unknown_split_is_refused(bundle, narrow, nothing_written, cohort):
    overrides = {"dataset_dir": cohort, "output_dir": nothing_written, "split": "validation"}
    assert_refused(bundle.run("evaluating", "evaluate.yaml", narrow | overrides), "'validation'", "train, val, test")


def test_evaluating_without_labels_is_refused(bundle, narrow, nothing_written, cohort, tmp_path):
    folder = tmp_path / "unlabelled"
    shutil.copytree(cohort / "imagesTs", folder / "imagesTs")
    finished = bundle.run(
        "evaluating", "evaluate.yaml", narrow | {"dataset_dir": folder, "output_dir": nothing_written}
    )
    assert_refused(finished, "has a label", "inferring")


@pytest.mark.parametrize(("run_id", "config"), [("evaluating", "evaluate.yaml"), ("inferring", "inference.yaml")])
def test_missing_weights_are_refused(run_id, config, bundle, narrow, nothing_written, cohort, tmp_path):
    overrides = {"dataset_dir": cohort, "output_dir": nothing_written, "ckpt_path": tmp_path / "model.pt"}
    assert_refused(bundle.run(run_id, config, narrow | overrides), str(tmp_path / "model.pt"), "--ckpt_path")


def test_weights_of_another_network_are_refused(bundle, narrow, nothing_written, cohort, trained):
    overrides = {"dataset_dir": cohort, "output_dir": nothing_written, "ckpt_path": trained / "model.pt"}
    finished = bundle.run("inferring", "inference.yaml", narrow | overrides | {"network_def#d_model": 32})
    assert_refused(finished, str(trained / "model.pt"), "network_def")


def test_a_training_checkpoint_is_refused_as_weights(bundle, narrow, nothing_written, cohort, trained):
    checkpoint = trained / "checkpoints" / "checkpoint_epoch=1.pt"
    overrides = {"dataset_dir": cohort, "output_dir": nothing_written, "ckpt_path": checkpoint}
    assert_refused(bundle.run("inferring", "inference.yaml", narrow | overrides), str(checkpoint), "--resume")


def test_a_fifth_volume_is_refused(bundle, narrow, nothing_written, trained, tmp_path):
    path = tmp_path / "five.nii.gz"
    nib.save(nib.Nifti1Image(np.random.default_rng(0).random((16, 20, 6, 5), dtype=np.float32), np.eye(4)), path)
    overrides = {"dataset_dir": path, "output_dir": nothing_written, "ckpt_path": trained / "model.pt"}
    assert_refused(bundle.run("inferring", "inference.yaml", narrow | overrides), str(path), "5", "four")


def test_checkpoints_of_an_earlier_run_are_not_overwritten(bundle, short, cohort, trained):
    before = files_below(trained)
    finished = bundle.run("training", "train.yaml", short | {"dataset_dir": cohort, "output_dir": trained})
    assert_refused(finished, str(trained / "checkpoints"), "--resume true", "--output_dir")
    assert files_below(trained) == before


@pytest.mark.parametrize("damage", ["truncated", "of another format"])
def test_an_unreadable_study_does_not_stop_the_others(damage, bundle, quick, trained, cohort, tmp_path):
    folder = tmp_path / "studies"
    shutil.copytree(cohort / "imagesTs", folder / "imagesTs")
    damaged = folder / "imagesTs" / "phantom-5-13_0001.nii.gz"
    damaged.write_bytes(damaged.read_bytes()[:999] if damage == "truncated" else b"no NIfTI")
    output_dir = tmp_path / "output"
    overrides = {"dataset_dir": folder, "output_dir": output_dir, "ckpt_path": trained / "model.pt"}
    finished = bundle.run("inferring", "inference.yaml", quick | overrides)
    assert finished.code != 0
    assert "Traceback" not in finished.stdout + finished.stderr
    assert "1 of 2 studies have faults" in finished.stderr
    assert "phantom-5-13" in finished.error
    assert not (output_dir / "phantom-5-13").exists()
    assert (output_dir / "phantom-5-14" / "result.json").is_file()
    assert (output_dir / "report.html").is_file()


# What goes well.


def test_training_leaves_weights_checkpoint_log_and_events(trained):
    assert load_weights(trained / "model.pt")
    assert [path.name for path in (trained / "checkpoints").iterdir()] == ["checkpoint_epoch=1.pt"]
    (row,) = csv.DictReader((trained / "training_log.csv").open(newline=""))
    assert {"epoch", "loss", "segmentation", "regression", "classification", "learning_rate", "val_score"} <= row.keys()
    (events,) = (trained / "tensorboard").iterdir()
    assert events.stat().st_size > 100
    assert {path.name for path in trained.iterdir()} == {"model.pt", "checkpoints", "training_log.csv", "tensorboard"}


def test_evaluating_writes_metrics_and_results(analysed):
    metrics = json.loads((analysed / "metrics.json").read_text())
    assert {"dsc_mean", "accuracy", "rule_accuracy", "mae_ratio"} <= metrics.keys()
    rows = list(csv.DictReader((analysed / "per_subject.csv").open(newline="")))
    assert len(rows) == 2
    for folder in ("phantom-5-13", "phantom-5-14"):
        assert {path.name for path in (analysed / folder).iterdir()} == {"mask.nii.gz", "result.json"}
    assert (analysed / "report.html").is_file()
    assert json.loads((analysed / "summary.json").read_text())["subjects"] == 2


def test_a_result_names_the_weights_that_made_it(analysed, trained):
    model = json.loads((analysed / "phantom-5-13" / "result.json").read_text())["model"]
    assert model["weights_sha256"] == hashlib.sha256((trained / "model.pt").read_bytes()).hexdigest()


def test_a_held_out_fold_is_scored_alone(bundle, quick, cohort, trained, tmp_path):
    overrides = {"dataset_dir": cohort, "output_dir": tmp_path, "ckpt_path": trained / "model.pt", "fold": 2}
    finished = bundle.run("evaluating", "evaluate.yaml", quick | overrides)
    assert finished.code == 0, finished.stderr
    scored = {row["case"] for row in csv.DictReader((tmp_path / "per_subject.csv").open(newline=""))}
    subjects = list(csv.DictReader((cohort / "subjects.csv").open(newline="")))
    assert scored == {row["case"] for row in subjects if row["fold"] == "2"}
    assert 0 < len(scored) < len(subjects)


def test_per_slice_mode_scores_slices(bundle, quick, cohort, trained, tmp_path):
    overrides = {"dataset_dir": cohort, "output_dir": tmp_path, "ckpt_path": trained / "model.pt", "split": "test"}
    assert bundle.run("evaluating", "evaluate.yaml", quick | overrides | {"per_slice": "true"}).code == 0
    rows = list(csv.DictReader((tmp_path / "per_subject.csv").open(newline="")))
    assert len(rows) > 2


def test_inferring_takes_one_file_of_four_volumes(bundle, narrow, cohort, trained, tmp_path):
    phases = [nib.load(cohort / "imagesTs" / f"phantom-5-13_000{phase}.nii.gz") for phase in range(4)]
    path = tmp_path / "mine.nii.gz"
    nib.save(nib.Nifti1Image(np.stack([p.get_fdata(dtype=np.float32) for p in phases], -1), phases[0].affine), path)
    overrides = {"dataset_dir": path, "output_dir": tmp_path / "out", "ckpt_path": trained / "model.pt"}
    finished = bundle.run("inferring", "inference.yaml", narrow | overrides)
    assert finished.code == 0, finished.stderr
    assert {file.name for file in (tmp_path / "out" / "mine").iterdir()} == {"mask.nii.gz", "result.json", "figure.png"}
    mask = nib.load(tmp_path / "out" / "mine" / "mask.nii.gz")
    assert mask.shape == phases[0].shape
    np.testing.assert_allclose(mask.affine, phases[0].affine)


@pytest.mark.slow
def test_typed_in_a_shell_from_the_repository_and_from_the_bundle(bundle, short, quick, cohort, trained, tmp_path):
    def arguments(run_id, config, overrides):
        return ["run", *([run_id] if run_id else []), "--config_file", config, *flags_of(overrides)]

    study = {"dataset_dir": cohort / "imagesTs", "ckpt_path": trained / "model.pt"}
    labelled = {**study, "dataset_dir": cohort, "split": "test"}
    train = short | {"dataset_dir": cohort, "output_dir": tmp_path / "train", "train#trainer#max_epochs": 2}
    commands = [
        (bundle.repository, arguments("training", "bundle/configs/train.yaml", train)),
        (bundle.root, arguments("inferring", "configs/inference.yaml", quick | study | {"output_dir": tmp_path / "a"})),
        (bundle.root, arguments("", "configs/evaluate.yaml", quick | labelled | {"output_dir": tmp_path / "b"})),
    ]
    processes = [bundle.start(*typed, folder=folder) for folder, typed in commands]
    for process in processes:
        finished = bundle.wait(process)
        assert finished.code == 0, finished.stdout
    assert sorted(path.name for path in (tmp_path / "train" / "checkpoints").iterdir()) == [
        "checkpoint_epoch=1.pt",
        "checkpoint_epoch=2.pt",
    ]
    assert (tmp_path / "a" / "phantom-5-14" / "mask.nii.gz").is_file()
    assert (tmp_path / "b" / "metrics.json").is_file()


@pytest.mark.slow
def test_mlflow_tracks_offline_inside_the_output_folder(bundle, short, cohort, tmp_path):
    before = set(bundle.repository.iterdir()) | set(bundle.root.iterdir())
    overrides = {"dataset_dir": cohort, "output_dir": tmp_path / "train", "tracking": "mlflow"}
    finished = bundle.run("training", "train.yaml", short | overrides)
    assert finished.code == 0, finished.stderr
    assert set(bundle.repository.iterdir()) | set(bundle.root.iterdir()) == before
    client = MlflowClient(f"sqlite:///{tmp_path / 'train' / 'mlruns.db'}")
    (experiment,) = [each for each in client.search_experiments() if each.name == "monai_experiment"]
    metrics = client.search_runs([experiment.experiment_id])[0].data.metrics
    assert {"train_loss", "segmentation", "score", "dice"} <= metrics.keys()


def test_the_registered_workflow_trains(bundle, short, cohort, tmp_path):
    name = "scripts.engines.workflows.TrainingWorkflow"
    overrides = short | {"dataset_dir": cohort, "output_dir": tmp_path}
    finished = bundle.type("run_workflow", "--workflow_name", name, *flags_of(overrides))
    assert finished.code == 0, finished.stderr
    assert (tmp_path / "model.pt").is_file()


@pytest.mark.parametrize("overlay", ["seg_only", "seg_reg", "no_tdd", "no_spa"])
def test_an_arm_trains(overlay, bundle, short, cohort, tmp_path):
    configs = ("train.yaml", f"experiments/{overlay}.yaml")
    overrides = {"dataset_dir": cohort, "output_dir": tmp_path, "adversarial_warmup_epochs": 0}
    finished = bundle.run("training", configs, short | overrides)
    assert finished.code == 0, finished.stderr
    (row,) = csv.DictReader((tmp_path / "training_log.csv").open(newline=""))
    assert ("discriminator_loss" in row) == (overlay == "no_spa")


def test_a_third_class_for_healthy_slices_trains_and_evaluates(bundle, quick, short, cohort, tmp_path):
    third = {"network_def#classes": 3, "dataset_dir": cohort}
    overrides = {"output_dir": tmp_path / "train", "adversarial_warmup_epochs": 0}
    finished = bundle.run("training", "train.yaml", short | third | overrides)
    assert finished.code == 0, finished.stderr
    (row,) = csv.DictReader((tmp_path / "train" / "training_log.csv").open(newline=""))
    assert float(row["discriminator_loss"]) > 0
    overrides = {"output_dir": tmp_path / "out", "ckpt_path": tmp_path / "train" / "model.pt", "split": "test"}
    finished = bundle.run("evaluating", "evaluate.yaml", quick | third | overrides)
    assert finished.code == 0, finished.stderr
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["accuracy"]["n"] == metrics["dsc_mean"]["n"]


def test_the_papers_literal_config_trains(bundle, short, cohort, tmp_path):
    overrides = {"dataset_dir": cohort, "output_dir": tmp_path, "adversarial_warmup_epochs": 0}
    finished = bundle.run("training", ("train.yaml", "paper.yaml"), short | overrides)
    assert finished.code == 0, finished.stderr
    assert (tmp_path / "model.pt").is_file()


def test_the_metadata_is_verified_offline(bundle):
    paths = ["--meta_file", "bundle/configs/metadata.json", "--filepath", "bundle/configs/metadata_schema.json"]
    finished = bundle.type("verify_metadata", *paths)
    assert finished.code == 0, finished.stderr
    assert "metadata is verified with no error" in finished.stdout


def test_the_networks_shapes_are_verified(bundle):
    paths = ["--config_file", "configs/inference.yaml", "--meta_file", "configs/metadata.json"]
    finished = bundle.type("verify_net_in_out", "segmentation_net", *paths, "--n", "2", folder=bundle.root)
    assert finished.code == 0, finished.stderr
    assert "data shape of network is verified with no error" in finished.stdout


def test_the_network_is_exported_as_torchscript(bundle, narrow, trained, tmp_path):
    paths = {
        "config_file": bundle.configs / "inference.yaml",
        "meta_file": bundle.configs / "metadata.json",
        "ckpt_file": trained / "model.pt",
        "filepath": tmp_path / "model.ts",
    }
    finished = bundle.type("ckpt_export", "network_def", *flags_of(paths | narrow))
    assert finished.code == 0, finished.stderr
    outputs = torch.jit.load(tmp_path / "model.ts").eval()(torch.randn(1, 4, 32, 32))
    assert outputs["segmentation"].shape == (1, 1, 32, 32)
    assert outputs["classification"].shape == (1, 2)


def test_a_cohort_is_made_from_the_bundles_folder(bundle, tmp_path):
    settings = {
        "subjects": 3,
        "seed": 7,
        "split_sizes": "[1,1,1]",
        "shape": "[32,24,8]",
        "output_dir": tmp_path / "made",
    }
    flags = [part for key, value in settings.items() for part in (f"--{key}", str(value))]
    finished = bundle.type("run", "make_phantom", "--config_file", "configs/phantom.yaml", *flags, folder=bundle.root)
    assert finished.code == 0, finished.stderr
    rows = list(csv.DictReader((tmp_path / "made" / "subjects.csv").open(newline="")))
    assert [row["split"] for row in rows] == ["train", "val", "test"]


def test_a_cohort_of_nobody_is_refused(bundle, nothing_written):
    assert_refused(
        bundle.run("make_phantom", "phantom.yaml", {"subjects": 0, "output_dir": nothing_written}), "subjects"
    )


@pytest.mark.slow
def test_the_demo_makes_its_cohort_and_analyses_a_users_file_beside_it(bundle, quick, cohort, trained, tmp_path):
    overrides = {"output_dir": tmp_path, "ckpt_path": trained / "model.pt", "subjects": 1, "extra": cohort / "imagesTs"}
    finished = bundle.run("demo", ("evaluate.yaml", "demo.yaml"), quick | overrides)
    assert finished.code == 0, finished.stderr
    numbers = json.loads((tmp_path / "summary.json").read_text())
    assert numbers["subjects"] == 1
    assert {"dsc_mean", "accuracy", "rule_accuracy", "mae_ratio", "seconds_per_study", "peak_rss_mb"} <= numbers.keys()
    assert (tmp_path / "extra-phantom-5-13" / "result.json").is_file()
    assert "Studies without a ground truth" in (tmp_path / "report.html").read_text()


@pytest.mark.slow
def test_the_demo_takes_a_users_labelled_dataset_and_another_seed(bundle, quick, cohort, trained, tmp_path):
    overrides = {"output_dir": tmp_path, "ckpt_path": trained / "model.pt", "subjects": 1}
    for seed, extra in ((1, {}), (2, {"extra": cohort})):
        finished = bundle.run("demo", ("evaluate.yaml", "demo.yaml"), quick | overrides | extra | {"demo_seed": seed})
        assert finished.code == 0, finished.stderr
    assert {"phantom-1-1", "phantom-2-1"} < {path.name for path in tmp_path.iterdir()}
    assert len(list(tmp_path.glob("extra-phantom-5-*/result.json"))) == 14
    assert json.loads((tmp_path / "summary.json").read_text())["subjects"] == 1
