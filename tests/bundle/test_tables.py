"""The commands `tables`, `publish`, `detectable` and `attention` as users type them."""

from __future__ import annotations

import json
import re
import shutil

import pytest
from monai.bundle import ConfigParser

from scripts.studies.layout import read_dataset, select


@pytest.fixture(scope="module")
def scored(bundle, cohort, trained, narrow, tmp_path_factory):
    """A grid of one run: a real training and evaluation, with the files that the runner adds."""
    grid_dir = tmp_path_factory.mktemp("tables") / "grid"
    folder = grid_dir / "runs" / "mti_net" / "fold0" / "seed0"
    folder.mkdir(parents=True)
    for name in ("model.pt", "training_log.csv"):
        shutil.copy(trained / name, folder / name)
    case = next(each.case for each in select(read_dataset(cohort), split="test") if each.tumour_class != "none")
    overrides = {"dataset_dir": cohort, "output_dir": folder, "ckpt_path": trained / "model.pt", "split": "test"}
    kept = {"figures": "false", "keep_masks": f"['{case}']", "threshold": 0.01}
    finished = bundle.run("evaluating", "evaluate.yaml", narrow | overrides | kept)
    assert finished.code == 0, finished.stderr
    (folder / "provenance.json").write_text(json.dumps({"split": "test", "commit": "abc", "hardware": {"cores": 2}}))
    (folder / "cost.json").write_text(json.dumps({"parameters": 1000, "gflops": 0.1, "image_size": 32}))
    (folder / "done.json").write_text(json.dumps({"status": "done"}))
    return grid_dir


def test_tables_of_nothing_are_refused(bundle, tmp_path):
    finished = bundle.run("tables", "tables.yaml", {"grid_dir": tmp_path / "nowhere", "output_dir": tmp_path / "out"})
    assert finished.code != 0
    assert finished.error.startswith("error: ")
    assert "Give --grid_dir" in finished.error
    assert "Traceback" not in finished.stderr
    assert not (tmp_path / "out").exists()


def test_tables_of_a_real_run(bundle, scored, cohort, tmp_path):
    overrides = {"grid_dir": scored, "output_dir": tmp_path / "out", "dataset_dir": cohort}
    finished = bundle.run("tables", "tables.yaml", overrides)
    assert finished.code == 0, finished.stderr
    assert "Rows as reported: 4 of 6" in finished.stdout
    text = (tmp_path / "out" / "tables.md").read_text()
    assert "not converged (only 1 epoch)" in text
    assert "| UNet | missing | 77.34 |" in text
    assert re.search(r"\| MTI-Net \| \d+\.\d\d", text)


def test_a_real_run_is_published(bundle, scored, tmp_path):
    finished = bundle.run("publish", "tables.yaml", {"grid_dir": scored, "output_dir": tmp_path / "out"})
    assert finished.code == 0, finished.stderr
    assert "| MTI-Net |" in (tmp_path / "out/tables/tables.md").read_text()
    published = {path.name for path in (tmp_path / "out/runs/mti_net/fold0/seed0").iterdir()}
    assert {"per_subject.csv", "provenance.json", "training_log.csv"} <= published
    assert "model.pt" not in published


def test_detectable_by_a_real_evaluation(bundle, scored, tmp_path):
    overrides = {"pilot": scored / "runs/mti_net/fold0/seed0/per_subject.csv", "output_dir": tmp_path / "out"}
    finished = bundle.run("detectable", "tables.yaml", overrides | {"subjects": 184, "seeds": 3})
    assert finished.code == 0, finished.stderr
    assert "| 184 | 3 |" in (tmp_path / "out" / "detectable.md").read_text()


def test_attention_of_a_trained_network(bundle, trained, cohort, narrow, tmp_path):
    overrides = {"dataset_dir": cohort, "output_dir": tmp_path / "out", "ckpt_path": trained / "model.pt"}
    finished = bundle.run("attention", "attention.yaml", narrow | overrides)
    assert finished.code == 0, finished.stderr
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"attention.csv", "attention_per_subject.csv", "attention.png"}


def test_attention_of_a_split_that_is_not_there_is_refused(bundle, trained, cohort, narrow, tmp_path):
    overrides = {"dataset_dir": cohort, "output_dir": tmp_path / "out", "ckpt_path": trained / "model.pt"}
    finished = bundle.run("attention", "attention.yaml", narrow | overrides | {"split": "holdout"})
    assert finished.code != 0
    assert finished.error.startswith("error: ")
    assert "'holdout'" in finished.error


def test_attention_looks_at_the_network_that_is_trained(bundle):
    definitions = []
    for name in ("train.yaml", "attention.yaml"):
        parser = ConfigParser()
        parser.read_config(str(bundle.configs / name))
        definitions.append((parser["network_def"], parser["image_size"]))
    assert definitions[0] == definitions[1]
