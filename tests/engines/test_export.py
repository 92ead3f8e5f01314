"""Exports: wrong input, files that answer as PyTorch for any number of slices, and none that does not."""

from __future__ import annotations

import pytest
import torch

from scripts.domain.errors import ConfigurationError
from scripts.engines import export as exporting
from scripts.engines.export import ENDINGS, TOLERANCE, export, write_checked
from scripts.engines.weights import save_atomically
from scripts.networks.baselines.ei_ddpm import EvidentialDiffusion
from scripts.networks.mtinet import MTINet
from scripts.networks.slice_network import SliceNetwork

SMALL = {
    "widths": (4, 4, 8, 8),
    "fusion_levels": "all",
    "decoder_skips": True,
    "head": "locate",
    "d_model": 16,
    "heads": 2,
    "ffn": 16,
    "blocks": 1,
}
NAMES = ["segmentation", "localisation", "regression", "classification"]


@pytest.fixture
def network():
    """A small MTI-Net whose batch norms have seen data."""
    torch.manual_seed(3)
    made = MTINet(**SMALL)
    with torch.no_grad():
        made.train()(2.0 * torch.randn(4, 4, 32, 32) + 0.5)
    made.image_size.fill_(32)
    return made.eval()


@pytest.fixture
def weights(network, tmp_path):
    save_atomically(network.state_dict(), tmp_path / "model.pt")
    return str(tmp_path / "model.pt")


class Unequal(SliceNetwork):
    """Answers otherwise each time."""

    def __init__(self):
        super().__init__(stride=1)
        self.calls = 0

    def forward(self, image, available=None, times_s=None):
        self.calls += 1
        return {"regression": image.mean(dim=(2, 3)) + float(self.calls)}


class Untraceable(SliceNetwork):
    """Asks the image for a Python number, which no graph of torch.export can."""

    def __init__(self):
        super().__init__(stride=1)

    def forward(self, image, available=None, times_s=None):
        return {"regression": image.mean(dim=(2, 3)) if float(image.sum()) > 0 else image.amax(dim=(2, 3))}


def test_an_unknown_format_is_refused(network, weights, tmp_path):
    with pytest.raises(
        SystemExit, match=r"error: format .tensorrt. is unknown\. Use one of torchscript, onnx, openvino$"
    ):
        export(network, weights, str(tmp_path / "a.plan"), file_format="tensorrt", image_size=32)


@pytest.mark.parametrize("file_format", ENDINGS)
def test_a_name_with_the_wrong_ending_is_refused(network, weights, tmp_path, file_format):
    with pytest.raises(SystemExit, match=rf"must end in \{ENDINGS[file_format]}$"):
        export(network, weights, str(tmp_path / "a.pt"), file_format=file_format, image_size=32)


def test_a_missing_package_is_named(network, weights, tmp_path, monkeypatch):
    monkeypatch.setattr(exporting.importlib.util, "find_spec", lambda name: None if name == "onnxscript" else name)
    with pytest.raises(SystemExit, match=r"needs onnxscript: pip install -r requirements/grid\.txt"):
        export(network, weights, str(tmp_path / "a.onnx"), file_format="onnx", image_size=32)


def test_weights_of_another_network_are_refused(weights, tmp_path):
    with pytest.raises(SystemExit, match="do not fit network_def"):
        export(
            MTINet(**SMALL | {"d_model": 32}), weights, str(tmp_path / "a.ts"), file_format="torchscript", image_size=32
        )
    assert not (tmp_path / "a.ts").exists()


def test_weights_of_another_image_size_are_refused(network, weights, tmp_path):
    with pytest.raises(SystemExit, match="Give --image_size 32"):
        export(network, weights, str(tmp_path / "a.ts"), file_format="torchscript", image_size=64)


def test_what_is_no_network_of_slices_is_refused(weights, tmp_path):
    with pytest.raises(SystemExit, match="Linear is no network of slices"):
        export(torch.nn.Linear(2, 2), weights, str(tmp_path / "a.ts"), file_format="torchscript", image_size=32)


def test_a_network_that_samples_is_refused(weights, tmp_path):
    network = EvidentialDiffusion(channels=(8, 8, 16), ddim_steps=1, samples=1)
    with pytest.raises(SystemExit, match="many random steps"):
        export(network, weights, str(tmp_path / "a.onnx"), file_format="onnx", image_size=32)


def test_what_an_exporter_refuses_is_one_line_and_no_file(tmp_path):
    pytest.importorskip("onnxruntime")
    with pytest.raises(ConfigurationError, match="Untraceable cannot be exported as onnx: ") as said:
        write_checked(Untraceable().eval(), tmp_path / "a.onnx", file_format="onnx", image_size=32)
    assert "\n" not in str(said.value)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_would_answer_otherwise_does_not_replace_an_older_one(tmp_path):
    (tmp_path / "a.ts").write_text("older")
    with pytest.raises(ConfigurationError, match="from PyTorch, more than"):
        write_checked(Unequal().eval(), tmp_path / "a.ts", file_format="torchscript", image_size=32)
    assert [path.name for path in tmp_path.iterdir()] == ["a.ts"]
    assert (tmp_path / "a.ts").read_text() == "older"


def slices(count):
    """Slices of other numbers than the writer checks, one without its portal-venous phase."""
    generator = torch.Generator().manual_seed(7)
    available = torch.ones(count, 4, dtype=torch.bool)
    available[-1, 2] = False
    times_s = torch.tensor([0.0, 28.0, 66.0, 190.0]).repeat(count, 1)
    return torch.randn(count, 4, 32, 32, generator=generator), available, times_s


def assert_same(network, answers):
    for count in (1, 2, 5):
        inputs = slices(count)
        with torch.inference_mode():
            expected = network(*inputs)
        got = answers(inputs)
        assert list(got) == list(expected) == NAMES
        for name, value in expected.items():
            limit = TOLERANCE * max(1.0, float(value.abs().max()))
            torch.testing.assert_close(torch.as_tensor(got[name]), value, atol=limit, rtol=0)


def test_torchscript_answers_as_pytorch(network, weights, tmp_path):
    path = tmp_path / "new" / "a.ts"
    export(network, weights, str(path), file_format="torchscript", image_size=32)
    loaded = torch.jit.load(path)
    assert_same(network, lambda inputs: {name: loaded(*inputs)[name].detach() for name in NAMES})


def test_onnx_has_names_and_any_number_of_slices(network, weights, tmp_path, capsys):
    runtime = pytest.importorskip("onnxruntime")
    onnx = pytest.importorskip("onnx")
    path = tmp_path / "a.onnx"
    export(network, weights, str(path), file_format="onnx", image_size=32)
    assert "any number of slices of 32x32" in capsys.readouterr().out
    onnx.checker.check_model(onnx.load(path), full_check=True)
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert {port.name: port.shape for port in session.get_inputs()} == {
        "image": ["batch", 4, 32, 32],
        "available": ["batch", 4],
        "times_s": ["batch", 4],
    }
    assert [port.name for port in session.get_outputs()] == NAMES

    def answers(inputs):
        named = dict(zip(("image", "available", "times_s"), (tensor.numpy() for tensor in inputs), strict=True))
        return dict(zip(NAMES, session.run(NAMES, named), strict=True))

    assert_same(network, answers)


def test_openvino_has_names_and_its_weights_beside_it(network, weights, tmp_path):
    openvino = pytest.importorskip("openvino")
    path = tmp_path / "a.xml"
    export(network, weights, str(path), file_format="openvino", image_size=32)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.bin", "a.xml", "model.pt"]
    compiled = openvino.compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def answers(inputs):
        named = dict(zip(("image", "available", "times_s"), (tensor.numpy() for tensor in inputs), strict=True))
        values = compiled(named)
        return {name: values[name] for name in NAMES}

    assert_same(network, answers)
