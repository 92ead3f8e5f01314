"""What is committed of a grid: refused where it would mix runs, and enough to build the same tables again."""

from __future__ import annotations

import json
import shutil

import pytest

from scripts.experiments.tables.building import build_tables
from scripts.experiments.tables.publishing import PUBLISHED, publish


@pytest.fixture(scope="module")
def grid_dir(module_grid, cohort):
    """Two runs with weights and a picture."""
    for arm, dice in (("mti_net", 0.8), ("unet", 0.7)):
        command = f"python -m monai.bundle run training --output_dir {module_grid.root}/runs --dataset_dir /elsewhere"
        folder = module_grid.write(arm, cohort(dice, 0.1, 0.9), train_command=command)
        (folder / "model.pt").write_bytes(b"weights")
        (folder / "subject").mkdir()
        (folder / "subject" / "mask.nii.gz").write_bytes(b"mask")
        (folder / "subject" / "report.html").write_bytes(b"report")
        (folder / "nnunet" / "results").mkdir(parents=True)
        (folder / "nnunet" / "facts.json").write_text("{}")
        (folder / "nnunet" / "results" / "plans.json").write_text("{}")
    return module_grid.root


@pytest.fixture(scope="module")
def published(grid_dir, tmp_path_factory):
    """By one who stands beside the grid."""
    output = tmp_path_factory.mktemp("published") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(grid_dir.parent)
        publish(grid_dir.name, str(output))
    return output


def files_of(folder):
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*.csv")}


def test_the_grid_itself_is_refused(grid_dir):
    with pytest.raises(SystemExit, match=r"error: output_dir .* is the grid itself\. Give a folder of its own"):
        publish(str(grid_dir), f"{grid_dir}/runs/..")
    assert not (grid_dir / "tables").exists()


def test_runs_of_another_grid_are_refused_and_kept(grid_dir, tmp_path):
    stranger = tmp_path / "out" / "runs" / "unet" / "fold0" / "seed7"
    stranger.mkdir(parents=True)
    with pytest.raises(SystemExit, match=r"error: .*seed7 is no finished run of .*\. Remove it, or publish to a new"):
        publish(str(grid_dir), str(tmp_path / "out"))
    assert list((tmp_path / "out").rglob("*.*")) == []
    assert stranger.is_dir()


def test_the_same_tables_can_be_built_from_what_is_published(published, tmp_path):
    build_tables(str(published), str(tmp_path))
    assert files_of(tmp_path) == files_of(published / "tables")
    assert files_of(tmp_path)


def test_weights_and_reports_stay_but_masks_come(published):
    folder = published / "runs" / "unet" / "fold0" / "seed0"
    names = {str(path.relative_to(folder)) for path in folder.rglob("*.*")}
    absent = {"summary.json", "pretraining/training_log.csv"}
    assert names == set(PUBLISHED) - absent | {"subject/mask.nii.gz"}
    assert (published / "runs/unet/fold0/seed0/subject/mask.nii.gz").read_bytes() == b"mask"


def test_paths_below_the_working_directory_become_relative(published):
    said = json.loads((published / "runs/unet/fold0/seed0/provenance.json").read_text())
    assert said["train_command"].endswith("--output_dir grid/runs --dataset_dir /elsewhere")


def test_a_second_call_replaces_the_first(published, tmp_path):
    shutil.copytree(published, tmp_path / "out")
    run = tmp_path / "out/runs/unet/fold0/seed0"
    (run / "metrics.json").write_text('{"earlier": {}}')
    shutil.rmtree(tmp_path / "out/runs/mti_net")
    publish(str(published), str(tmp_path / "out"))
    assert files_of(tmp_path / "out") == files_of(published)
    assert (run / "metrics.json").read_text() == (published / "runs/unet/fold0/seed0/metrics.json").read_text()
