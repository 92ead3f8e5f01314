"""What is set on a network before it trains."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from scripts.domain.errors import ConfigurationError
from scripts.engines.optimization import with_batch_norm_momentum


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.Sequential(nn.BatchNorm2d(2, momentum=0.3)))


@pytest.mark.parametrize("momentum", [0, 1, -0.1, 2.0, float("nan"), "fast"])
def test_a_momentum_out_of_range_is_refused(momentum):
    with pytest.raises(ConfigurationError, match=f"batch_norm_momentum {momentum!r}: give a number"):
        with_batch_norm_momentum(network(), momentum)


def test_none_leaves_the_layers_own():
    same = network()
    assert with_batch_norm_momentum(same, None) is same
    assert [layer.momentum for layer in same.modules() if isinstance(layer, nn.BatchNorm2d)] == [0.1, 0.3]


def test_the_running_mean_follows_the_batches_as_fast_as_said():
    layers = with_batch_norm_momentum(nn.Sequential(nn.BatchNorm2d(1)), 0.01).train()
    for batch in range(50):
        layers(torch.full((4, 1, 2, 2), float(batch)))
    expected = sum(0.01 * 0.99 ** (49 - batch) * batch for batch in range(50))
    torch.testing.assert_close(layers[0].running_mean, torch.tensor([expected]))
