"""The encoder's blocks."""

import numpy as np
import pytest
import torch
from scipy.signal import correlate2d

from scripts.networks.encoder import Encoder, SeparateEncoders, make_encoder

WIDTHS = (4, 6, 8, 10)


def test_strides_and_widths():
    maps = Encoder(WIDTHS)(torch.randn(8, 1, 96, 80))
    assert [tuple(m.shape) for m in maps] == [
        (8, 4, 96, 80),
        (8, 6, 48, 40),
        (8, 8, 24, 20),
        (8, 10, 12, 10),
        (8, 10, 6, 5),
    ]


@pytest.mark.parametrize("convs", [1, 2])
def test_parameters(convs):
    """Bias-free 3 x 3 convolutions, two a batch-norm channel, and an embedding of four phases."""
    ins = (1, *WIDTHS[:-1])
    expected = 4 * WIDTHS[0] + sum(
        9 * (a + (convs - 1) * b) * b + 2 * convs * b for a, b in zip(ins, WIDTHS, strict=True)
    )
    assert sum(p.numel() for p in Encoder(WIDTHS, convs_per_block=convs).parameters()) == expected


def test_first_block_equals_scipy():
    """Convolution plus phase embedding, batch norm with running statistics, ReLU, max-pooling."""
    encoder = Encoder(WIDTHS).eval()
    operation, norm, _ = encoder.blocks[0][0]
    with torch.no_grad():
        for value in (norm.weight, norm.bias, norm.running_mean):
            value.normal_()
        norm.running_var.uniform_(0.5, 2.0)
    phases = torch.randn(8, 1, 48, 32)
    weight, embedding = operation.conv.weight.detach().double(), operation.embedding.detach()
    image, phase, channel = 6, 2, 3  # the second sample's portal-venous phase
    expected = (
        correlate2d(phases[image, 0].double(), weight[channel, 0], mode="same") + embedding[phase, channel].item()
    )
    expected = (expected - norm.running_mean[channel].item()) / np.sqrt(norm.running_var[channel].item() + norm.eps)
    expected = np.maximum(expected * norm.weight[channel].item() + norm.bias[channel].item(), 0)
    with torch.no_grad():
        first = encoder(phases)[0]
    np.testing.assert_allclose(first[image, channel], expected, atol=1e-5)
    torch.testing.assert_close(encoder.pool(first)[image, channel, 4, 5], first[image, channel, 8:10, 10:12].max())


def test_shared_encoder_tells_phases_apart_only_by_the_embedding():
    encoder = Encoder(WIDTHS).eval()
    same = torch.randn(1, 1, 32, 32).expand(4, -1, -1, -1)
    different = encoder(same)[-1]
    assert not torch.allclose(different[0], different[1])
    torch.nn.init.zeros_(encoder.blocks[0][0][0].embedding)
    equal = encoder(same)[-1]
    torch.testing.assert_close(equal[0], equal[3])


def test_separate_encoders_run_one_network_a_phase():
    encoders = make_encoder(WIDTHS, share_encoder=False, convs_per_block=1, spatial_dims=2).eval()
    assert isinstance(encoders, SeparateEncoders)
    phases = torch.randn(8, 1, 32, 48)
    maps = encoders(phases)
    for image in range(8):
        alone = encoders.encoders[image % 4](phases[image : image + 1])
        for level, level_map in enumerate(maps):
            torch.testing.assert_close(level_map[image : image + 1], alone[level])


def test_three_dimensions():
    maps = Encoder(WIDTHS, spatial_dims=3)(torch.randn(4, 1, 16, 32, 16))
    assert tuple(maps[-1].shape) == (4, 10, 1, 2, 1)
