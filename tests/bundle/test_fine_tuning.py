"""A training that starts from weights that are there already."""

from __future__ import annotations

import json

import pytest
import torch


@pytest.fixture
def settings(short, cohort, tmp_path):
    """A training that changes next to nothing."""
    return short | {
        "dataset_dir": cohort,
        "output_dir": tmp_path / "tuned",
        "learning_rate": 1e-12,
        "head_learning_rate": 1e-12,
        "adversarial_warmup_epochs": 1,
    }


def test_weights_of_another_grid_are_refused_in_one_line(bundle, settings, trained):
    finished = bundle.run("training", "train.yaml", settings | {"init_ckpt": trained / "model.pt", "image_size": 48})
    assert finished.code == 1
    assert "was trained at image_size 32, this config says 48" in finished.error


def test_it_goes_on_from_the_weights_and_says_how_far_it_is(bundle, settings, trained, tmp_path):
    options = {"init_ckpt": trained / "model.pt", "progress_file": tmp_path / "progress.json"}
    finished = bundle.run("training", "train.yaml", settings | options | {"network_def#decoder_dropout": 0.2})
    assert finished.code == 0, finished.stderr
    before, after = (torch.load(folder / "model.pt", weights_only=True) for folder in (trained, tmp_path / "tuned"))
    assert before.keys() == after.keys()
    for name, value in before.items():
        if "running" not in name and "num_batches" not in name:
            torch.testing.assert_close(after[name], value, rtol=0, atol=1e-6)
    progress = json.loads((tmp_path / "progress.json").read_text())
    assert progress["iteration"] == progress["iterations"] > 0
    assert progress["eta_s"] == 0.0
