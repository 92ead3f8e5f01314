"""The inference copy, and the graph that OpenVINO makes of it."""

import pytest
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from scripts.domain.errors import ConfigurationError
from scripts.networks.inference import inference_copy

TRAIN = {"fusion_levels": "all", "decoder_skips": True, "head": "locate"}
VARIANTS = {
    "train": TRAIN,
    "paper": {},
    "four_encoders": {"share_encoder": False},
    "no_mdief": {**TRAIN, "fusion": "concat"},
    "features": {"spectral": "feature", "convs_per_block": 2},
}


def test_a_spectrum_cannot_be_filtered_by_matrices(make_network):
    with pytest.raises(ConfigurationError, match="use high_pass='fft'"):
        inference_copy(make_network(spectral="log_magnitude"), matrix_filter=True)


@pytest.mark.parametrize("matrix_filter", [False, True])
@pytest.mark.parametrize("name", VARIANTS)
def test_same_outputs(make_network, image, name, matrix_filter):
    network = make_network(**VARIANTS[name])
    fast = inference_copy(network, matrix_filter=matrix_filter)
    assert not any(isinstance(module, _BatchNorm) for module in fast.modules())
    for key, value in network(image).items():
        torch.testing.assert_close(fast(image)[key], value, atol=1e-4, rtol=0)


def test_the_original_is_left_alone(make_network, image):
    network = make_network(**TRAIN).train()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    fast = inference_copy(network, matrix_filter=True)
    assert network.training
    assert not fast.training
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert not any(p.requires_grad for p in fast.parameters())


def test_three_dimensions(make_network):
    network = make_network(**TRAIN, spatial_dims=3)
    volume = torch.randn(1, 4, 32, 16, 16)
    for key, value in inference_copy(network)(volume).items():
        torch.testing.assert_close(value, network(volume)[key], atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", ["train", "paper"])
@pytest.mark.filterwarnings("ignore")
def test_openvino_gives_the_same(make_network, image, name):
    openvino = pytest.importorskip("openvino")
    network = make_network(**VARIANTS[name])
    available = torch.tensor([[True, True, False, True], [True, True, True, True]])
    times_s = torch.tensor([[0.0, 30.0, 70.0, 180.0], [0.0, 22.0, 61.0, 300.0]])
    inputs = (image, available, times_s)
    graph = openvino.convert_model(
        inference_copy(network, matrix_filter=True),
        example_input=inputs,
        input=[tuple(given.shape) for given in inputs],
    )
    compiled = openvino.compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    results = compiled([given.numpy() for given in inputs])
    for key, value in network(*inputs).items():
        torch.testing.assert_close(torch.from_numpy(results[key]), value, atol=1e-3, rtol=0)
