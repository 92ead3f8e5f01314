"""CMU-Net: its layers as the paper lists them."""

import pytest
import torch

from scripts.domain.errors import ConfigurationError
from scripts.related.cmu_net import CMUNet

NARROW = (4, 4, 4, 8, 8)


@pytest.mark.parametrize("phases", [(), ("venous",)])
def test_unknown_phases_are_refused(phases):
    with pytest.raises(ConfigurationError, match="give one or more of pre, arterial"):
        CMUNet(phases=phases)


@pytest.mark.parametrize(("size", "reason"), [(48, "not all divisible by 32"), (32, "Give 64 or more")])
def test_a_size_that_does_not_fit_is_refused(size, reason):
    with pytest.raises(ConfigurationError, match=reason):
        CMUNet(widths=NARROW)(torch.zeros(1, 4, size, size))


def test_a_logit_for_every_pixel_and_one_for_the_slice():
    outputs = CMUNet(widths=NARROW)(torch.zeros(2, 4, 64, 96))
    assert {name: tuple(value.shape) for name, value in outputs.items()} == {
        "segmentation": (2, 1, 64, 96),
        "organ": (2, 1),
    }


def test_it_has_the_parameters_of_the_layers_that_the_paper_lists():
    # Two 3x3 convolutions a block; from the second decoder block on, the input is twice the block before it.
    encoder = [(1, 16), (16, 16), (16, 32), (32, 32), (32, 64), (64, 64), (64, 128), (128, 128), (128, 256), (256, 256)]
    decoder = [(256, 256), (256, 256), (512, 128), (128, 128), (256, 64), (64, 64), (128, 32), (32, 32), (64, 16)]
    convolutions = sum(9 * i * o + o for i, o in [*encoder, *decoder, (16, 16)])
    pointwise, fully_connected = 32 + 1, 256 + 1
    with torch.device("meta"):
        network = CMUNet()
    assert sum(p.numel() for p in network.parameters()) == convolutions + pointwise + fully_connected


def test_it_sees_only_its_phases():
    torch.manual_seed(0)
    network = CMUNet(widths=NARROW, phases=("arterial",)).eval()
    image = torch.randn(1, 4, 64, 64)
    other = image.clone()
    other[:, [0, 2, 3]] += 1.0
    assert torch.equal(network(image)["segmentation"], network(other)["segmentation"])
    other[:, 1] *= 2.0
    other[:, 1, :32] += 1.0
    assert not torch.equal(network(image)["segmentation"], network(other)["segmentation"])


def test_a_phase_that_is_missing_is_zero():
    torch.manual_seed(0)
    network = CMUNet(widths=NARROW, phases=("arterial", "delayed")).eval()
    image, available = torch.randn(1, 4, 64, 64), torch.tensor([[True, True, True, False]])
    without = image.clone()
    without[:, 3] = 0.0
    assert torch.equal(network(image, available)["organ"], network(without)["organ"])


def test_the_organs_logit_needs_no_decoder():
    network = CMUNet(widths=NARROW)
    network(torch.randn(2, 4, 64, 64))["organ"].sum().backward()
    assert all(p.grad is not None for p in [*network.encoder.parameters(), *network.organ.parameters()])
    assert all(p.grad is None for p in [*network.decoder.parameters(), *network.segment.parameters()])
