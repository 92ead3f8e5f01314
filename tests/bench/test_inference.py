"""Names and plausibility of the forward pass's measurements, and the work that they count."""

from __future__ import annotations

import importlib.util
import math

import pytest
import torch
from torch import nn

from scripts.bench import inference


def test_every_value_is_finite_and_positive(conditions):
    values = inference.measure(conditions)
    expected = set(inference.UNITS)
    if importlib.util.find_spec("openvino") is None:
        expected.remove("forward_vs_basicunet_openvino")
    assert values.keys() == expected
    assert all(math.isfinite(value) and value > 0 for value in values.values())


def test_works_without_openvino(conditions, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "forward_vs_basicunet_openvino" not in inference.measure(conditions)


def test_work_of_a_convolution_is_two_operations_a_multiply_add():
    network = nn.Conv2d(4, 8, 3, padding=1, bias=False)
    gflop = inference._gflop(network, torch.zeros(2, 4, 16, 16))
    assert gflop == pytest.approx(2e-9 * 2 * 8 * 16 * 16 * 4 * 9)


def test_compiled_network_answers_as_the_eager_one():
    pytest.importorskip("openvino")
    network = nn.Sequential(nn.Conv2d(4, 3, 3), nn.ReLU()).eval()
    image = torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    compiled = torch.from_numpy(inference._compiled(network, image)()[0])
    torch.testing.assert_close(compiled, inference._eagerly(network, image), atol=1e-5, rtol=1e-4)
