"""Inference backends answer as the network itself does."""

import pytest
import torch

from scripts.domain.errors import ConfigurationError
from scripts.engines import backends
from scripts.engines.backends import make_backend

CPU = torch.device("cpu")


@pytest.fixture
def trained(network):
    """Batch norms with statistics that folding could get wrong."""
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.5, 2.0)
    return network.eval()


@pytest.fixture
def slices():
    torch.manual_seed(1)
    available = torch.ones(3, 4, dtype=torch.bool)
    available[1, 3] = False
    return torch.randn(3, 4, 32, 32), available, torch.tensor([0.0, 25.0, 65.0, 200.0]).expand(3, -1)


def test_unknown_names_are_refused(network):
    with pytest.raises(ConfigurationError, match="'tensorrt' is not one of"):
        make_backend("tensorrt", network, CPU, 1, 32)


def test_openvino_is_refused_where_it_is_not_installed(network, monkeypatch):
    monkeypatch.setattr(backends.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match="needs the openvino package"):
        make_backend("openvino", network, CPU, 1, 32)
    assert isinstance(make_backend("auto", network, CPU, 1, 32), backends.TorchBackend)


@pytest.mark.parametrize("name", ["torch", "openvino"])
@pytest.mark.parametrize("batch_size", [1, 2])
def test_parity_with_the_network_within_1e_3(trained, slices, name, batch_size):
    if name == "openvino":
        pytest.importorskip("openvino")
    backend = make_backend(name, trained, CPU, batch_size, 32)
    with torch.no_grad():
        expected = trained(*slices)
    parts = [backend(*(tensor[i : i + batch_size] for tensor in slices)) for i in range(0, 3, batch_size)]
    assert parts[0].keys() == expected.keys()
    for key, value in expected.items():
        torch.testing.assert_close(torch.cat([part[key] for part in parts]), value, atol=1e-3, rtol=0)


def test_the_network_itself_is_left_as_it_is(trained, slices):
    before = {name: value.clone() for name, value in trained.state_dict().items()}
    make_backend("torch", trained, CPU, 1, 32)(*(tensor[:1] for tensor in slices))
    after = trained.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
