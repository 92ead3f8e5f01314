"""GoogLeNet: what torchvision's network of three colours is given for four phases."""

from __future__ import annotations

import torch

from scripts.networks.baselines.googlenet import GoogLeNet


def test_random_kernels_of_the_phases_are_independent():
    torch.manual_seed(0)
    kernels = GoogLeNet(task="regression").backbone.conv1.conv.weight.detach()
    kernels = kernels.transpose(0, 1).flatten(1)
    correlation = torch.corrcoef(kernels) - torch.eye(4)
    assert correlation.abs().max() < 0.1
