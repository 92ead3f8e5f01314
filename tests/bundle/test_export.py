"""The command `export`: it writes a file that answers, or says in one line why not."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from monai.bundle import ConfigParser

CONFIGS = Path(__file__).resolve().parents[2] / "bundle" / "configs"
EXPERIMENTS = [
    path.name
    for path in sorted((CONFIGS / "experiments").glob("*.yaml"))
    if "train" not in ConfigParser.load_config_file(path).get("arm", {})
]


def definition(*names):
    parser = ConfigParser()
    parser.read_config([str(CONFIGS / name) for name in names])
    return parser["network_def"]


def assert_refused(finished, *words):
    assert finished.code != 0
    assert "Traceback" not in finished.stdout + finished.stderr
    assert finished.error.startswith("error: ")
    for word in words:
        assert word in finished.error


@pytest.fixture
def output(tmp_path):
    """A file in a folder that only a successful export makes."""
    return tmp_path / "new" / "model.ts"


def test_an_unknown_format_is_refused(bundle, trained, narrow, output):
    overrides = {"ckpt_path": trained / "model.pt", "format": "coreml", "output_path": output}
    assert_refused(bundle.run("export", "export.yaml", narrow | overrides), "'coreml'", "torchscript, onnx, openvino")
    assert not output.parent.exists()


def test_weights_of_another_network_are_refused(bundle, trained, output):
    overrides = {"ckpt_path": trained / "model.pt", "format": "torchscript", "output_path": output}
    assert_refused(bundle.run("export", "export.yaml", overrides), "do not fit network_def", str(trained / "model.pt"))
    assert not output.parent.exists()


def test_weights_that_nobody_trained_are_refused(bundle, trained, narrow, output, tmp_path):
    weights = torch.load(trained / "model.pt", weights_only=True)
    torch.save(weights | {"image_size": torch.tensor(0)}, tmp_path / "untrained.pt")
    overrides = {"ckpt_path": tmp_path / "untrained.pt", "format": "torchscript", "output_path": output}
    assert_refused(bundle.run("export", "export.yaml", narrow | overrides), "untrained.pt", "names no image_size")
    assert not output.parent.exists()


def test_a_reader_without_a_network_is_refused(bundle, trained, output):
    overrides = {"ckpt_path": trained / "model.pt", "format": "torchscript", "output_path": output}
    finished = bundle.run("export", ("export.yaml", "experiments/rule.yaml"), overrides)
    assert_refused(finished, "KineticRule", "nothing to export")
    assert not output.parent.exists()


def test_a_trained_network_is_written_with_its_weights(bundle, trained, narrow, output):
    overrides = {"ckpt_path": trained / "model.pt", "format": "torchscript", "output_path": output}
    finished = bundle.run("export", "export.yaml", narrow | overrides)
    assert finished.code == 0, finished.stderr
    assert f"{output}: torchscript, any number of slices of 32x32" in finished.stdout
    answer = torch.jit.load(output)(torch.zeros(3, 4, 32, 32), torch.ones(3, 4, dtype=torch.bool), torch.zeros(3, 4))
    assert {name: len(value) for name, value in answer.items()} == dict.fromkeys(
        ("segmentation", "localisation", "regression", "classification"), 3
    )


def test_it_exports_the_network_of_training():
    assert definition("export.yaml") == definition("train.yaml")


@pytest.mark.parametrize("overlay", EXPERIMENTS)
def test_an_overlay_fits_behind_it(overlay):
    overlay = f"experiments/{overlay}"
    assert definition("export.yaml", overlay) == definition("train.yaml", overlay)
