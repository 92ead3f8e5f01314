"""Small networks: every switch in milliseconds."""

from __future__ import annotations

import pytest
import torch

from scripts.networks.mtinet import MTINet

SMALL = {"widths": (4, 6, 8, 10), "token_grid": 4, "d_model": 16, "heads": 2, "ffn": 32, "blocks": 2}
TRAIN = {"fusion_levels": "all", "decoder_skips": True, "head": "locate"}


@pytest.fixture
def train_switches() -> dict:
    """The switches of train.yaml that are not the constructor's defaults."""
    return dict(TRAIN)


@pytest.fixture
def make_network():
    """Build a small network from a fixed seed; its batch norms have seen data, so that folding them is a test."""

    def make(**switches) -> MTINet:
        torch.manual_seed(3)
        network = MTINet(**{**SMALL, **switches})
        with torch.no_grad():
            size = (32,) * network.spatial_dims
            network.train()(2.0 * torch.randn(4, 4, *size) + 0.5)
        return network.eval()

    return make


@pytest.fixture
def image() -> torch.Tensor:
    """Two slices of 96 x 80."""
    return torch.randn(2, 4, 96, 80, generator=torch.Generator().manual_seed(5))
