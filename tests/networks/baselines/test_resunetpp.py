"""ResUNet++: its blocks against plain formulas, its size against the published one."""

import torch
from torch.nn import functional as F

from scripts.networks.baselines.resunetpp import AtrousPyramid, AttentionGate, ResUNetPlusPlus, SqueezeExcite


def test_the_published_number_of_parameters(parameters_of):
    # The authors' implementation has 4.07 M, with an image of three channels.
    assert abs(parameters_of(ResUNetPlusPlus) / 4.07e6 - 1) < 0.02


def normalised(maps, norm):
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    return (maps - norm.running_mean[:, None, None]) * scale[:, None, None] + norm.bias[:, None, None]


def with_statistics(module):
    """In evaluation mode, its batch norms with statistics that matter."""
    for part in module.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.running_mean.uniform_(-0.5, 0.5)
            part.running_var.uniform_(0.5, 2.0)
    return module.eval()


@torch.inference_mode()
def test_attention_gate_by_its_formula():
    torch.manual_seed(0)
    gate = with_statistics(AttentionGate(3, 5))
    skip, deep = torch.randn(2, 3, 8, 12), torch.randn(2, 5, 4, 6)

    def activated(maps, sequence):
        return F.conv2d(normalised(maps, sequence[0]).clamp(min=0), sequence[2].weight, sequence[2].bias, padding=1)

    agreement = F.max_pool2d(activated(skip, gate.of_skip), 2) + activated(deep, gate.of_deep)
    torch.testing.assert_close(gate(skip, deep), deep * activated(agreement, gate.attention))


@torch.inference_mode()
def test_squeeze_and_excitation_by_its_formula():
    torch.manual_seed(0)
    excite, maps = SqueezeExcite(16), torch.randn(2, 16, 4, 6)
    down, up = excite.weights[0].weight, excite.weights[2].weight
    assert down.shape == (2, 16)
    weights = torch.sigmoid(up @ (down @ maps.mean(dim=(2, 3)).T).clamp(min=0)).T
    torch.testing.assert_close(excite(maps), maps * weights[:, :, None, None])


@torch.inference_mode()
def test_the_pyramid_sees_as_far_as_its_rates():
    torch.manual_seed(0)
    pyramid = with_statistics(AtrousPyramid(1, 8))
    maps = torch.zeros(1, 1, 41, 41)
    silent = pyramid(maps)
    maps[..., 20, 20] = 1.0
    seen = (pyramid(maps) - silent).abs().sum(dim=(0, 1)) > 1e-7
    reach = {(i - 20, j - 20) for i, j in seen.nonzero().tolist()}
    assert reach == {(rate * i, rate * j) for rate in (1, 6, 12, 18) for i in (-1, 0, 1) for j in (-1, 0, 1)}
