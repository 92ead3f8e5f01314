"""Parameters and operations, against what can be counted by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from scripts.domain.errors import ConfigurationError
from scripts.experiments.grid.arms import CONFIGS, read_arm
from scripts.experiments.grid.configs import as_text, compose
from scripts.experiments.grid.cost import measure_cost


class OneConvolution(nn.Module):
    """3x3 from four phases to five maps, and a weight that is not trained."""

    def __init__(self) -> None:
        super().__init__()
        self.convolve = nn.Conv2d(4, 5, 3, padding=1, bias=False)
        self.frozen = nn.Parameter(torch.zeros(7), requires_grad=False)

    def forward(self, image):
        return self.convolve(image)


class OneChannel(OneConvolution):
    """The same of another kind of image."""

    def __init__(self) -> None:
        super().__init__()
        self.convolve = nn.Conv2d(1, 5, 3, padding=1, bias=False)

    def example_inputs(self, size):
        return (torch.zeros(1, 1, size, size),)


class OneAttention(OneConvolution):
    """Of every pixel to every pixel."""

    def forward(self, image):
        pixels = image.flatten(2).transpose(1, 2).unsqueeze(1).contiguous()
        return nn.functional.scaled_dot_product_attention(pixels, pixels, pixels)


class Refuses(OneConvolution):
    """Takes no image at all."""

    def forward(self, image):
        raise ConfigurationError("planted")


class NoNetwork(nn.Module):
    """A rule."""


@pytest.mark.parametrize(
    ("network", "parameters", "gflops"),
    [
        (OneConvolution, 4 * 5 * 9, 2 * 4 * 5 * 9 * 32 * 32 / 1e9),
        (OneChannel, 5 * 9, 2 * 5 * 9 * 32 * 32 / 1e9),
        (OneAttention, 4 * 5 * 9, 2 * (2 * 1024 * 1024 * 4) / 1e9),
        (Refuses, 4 * 5 * 9, None),
        (NoNetwork, 0, 0.0),
    ],
)
def test_operations_are_those_counted_by_hand(network, parameters, gflops, tmp_path, monkeypatch):
    config = tmp_path / "config.yaml"
    monkeypatch.setattr("scripts.networks.slice_network.OneForTests", network, raising=False)
    config.write_text("image_size: 32\nnetwork_def: {_target_: scripts.networks.slice_network.OneForTests}\n")
    cost = measure_cost(config)
    assert cost == {"parameters": parameters, "gflops": pytest.approx(gflops) if gflops else gflops, "image_size": 32}


def test_a_config_with_all_its_keys_is_measured(tmp_path):
    arm = read_arm(CONFIGS / "experiments" / "mti_net.yaml")
    config = tmp_path / "config.yaml"
    costs = []
    for size in (32, 64, 128):
        config.write_text(as_text(compose(arm, arm.train, {"image_size": size, "dataset_dir": "/nowhere"})))
        costs.append(measure_cost(config))
    # The shipped weights' 1.9 M (bundle/docs/README.md).
    assert costs[0]["parameters"] == pytest.approx(1.9e6, rel=0.02)
    # The Transformer over pooled maps costs the same at every size, the convolutions four times as much at each.
    small, middle, large = (cost["gflops"] for cost in costs)
    assert (large - middle) / (middle - small) == pytest.approx(4.0, rel=0.02)


class RunsElsewhere(nn.Module):
    def told_cost(self):
        return {"parameters": 7, "gflops": 1.5, "image_size": 48}


def test_what_runs_in_a_program_of_its_own_says_its_cost(tmp_path, monkeypatch):
    config = tmp_path / "config.yaml"
    monkeypatch.setattr("scripts.networks.slice_network.OneForTests", RunsElsewhere, raising=False)
    config.write_text("image_size: 0\nnetwork_def: {_target_: scripts.networks.slice_network.OneForTests}\n")
    assert measure_cost(config) == {"parameters": 7, "gflops": 1.5, "image_size": 48}
