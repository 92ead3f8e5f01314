"""A new system is one file and one overlay: both are written here, then trained and evaluated as users would."""

from __future__ import annotations

import csv
import json
import os
import textwrap

import pytest

# A perceptron on every pixel's four phases.
SYSTEM = '''
    """A system of somebody else's."""

    import torch

    from scripts.networks.slice_network import SliceNetwork


    class PixelPerceptron(SliceNetwork):
        def __init__(self, *, width):
            super().__init__(stride=1)
            self.layers = torch.nn.Sequential(
                torch.nn.Conv2d(4, width, 1), torch.nn.ReLU(), torch.nn.Conv2d(width, 1, 1)
            )

        def forward(self, image, available=None, times_s=None):
            image, _, _ = self.complete(image, available, times_s)
            return {"segmentation": self.layers(image)}
'''
OVERLAY = """
    # Overlay. Somebody else's system.
    network_def: {_target_: pixel_perceptron.PixelPerceptron, width: 8}
    adversarial: false
    arm: {name: Pixel perceptron, tables: [extra]}
"""


@pytest.fixture
def overlay(tmp_path, monkeypatch):
    """The two files, the system's folder on Python's path."""
    (tmp_path / "pixel_perceptron.py").write_text(textwrap.dedent(SYSTEM))
    path = tmp_path / "pixel_perceptron.yaml"
    path.write_text(textwrap.dedent(OVERLAY).lstrip())
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    return path


def test_it_trains_and_is_evaluated(overlay, bundle, cohort, short, tmp_path):
    tiny = {key: value for key, value in short.items() if not key.startswith("network_def#")}
    # In shells of their own, which see the new folder on the path.
    trained = bundle.wait(
        bundle.start(
            *bundle.run_arguments(
                "training",
                ["train.yaml", str(overlay)],
                tiny | {"dataset_dir": cohort, "output_dir": tmp_path / "train", "tensorboard": "false"},
            )
        )
    )
    assert trained.code == 0, trained.stdout
    (row,) = csv.DictReader((tmp_path / "train" / "training_log.csv").open(newline=""))
    assert float(row["segmentation"]) > 0
    assert "regression" not in row

    evaluated = bundle.wait(
        bundle.start(
            *bundle.run_arguments(
                "evaluating",
                ["evaluate.yaml", str(overlay)],
                {
                    "dataset_dir": cohort,
                    "split": "test",
                    "ckpt_path": tmp_path / "train" / "model.pt",
                    "output_dir": tmp_path / "evaluate",
                    "image_size": tiny["image_size"],
                    "figures": "false",
                },
            )
        )
    )
    assert evaluated.code == 0, evaluated.stdout
    metrics = json.loads((tmp_path / "evaluate" / "metrics.json").read_text())
    assert metrics["dsc_mean"]["n"] > 0
    assert 0.0 <= metrics["dsc_mean"]["value"] <= 1.0
    rows = list(csv.DictReader((tmp_path / "evaluate" / "per_subject.csv").open(newline="")))
    assert len(rows) == 2
