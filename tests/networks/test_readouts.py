"""From tokens to intensities and classes."""

import numpy as np
import pytest
import torch

from scripts.networks.readouts import FlattenReadout, LocateReadout, MeanReadout

AVAILABLE = torch.tensor([[True, True, True, True], [True, False, True, True]])


def _linear(layer: torch.nn.Linear, x: np.ndarray) -> np.ndarray:
    return x @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()


def test_mean_readout_as_in_the_paper():
    """A phase's C tokens, averaged, give its intensity; all present tokens, averaged, the classes."""
    readout, tokens = MeanReadout(8, regression=True, classes=2), torch.randn(2, 4 * 3, 8)
    with torch.no_grad():
        regression, classification = readout(tokens, AVAILABLE, torch.zeros(2, 4))
    by_phase = tokens.numpy().reshape(2, 4, 3, 8)
    np.testing.assert_allclose(regression, _linear(readout.regress, by_phase.mean(axis=2))[..., 0], atol=1e-6)
    means = np.stack([by_phase[0].mean(axis=(0, 1)), by_phase[1, [0, 2, 3]].mean(axis=(0, 1))])
    np.testing.assert_allclose(classification, _linear(readout.classify, means), atol=1e-6)


def test_located_mean_is_where_regression_starts():
    readout = LocateReadout(8, regression=True, classes=2, dropout=0.0)
    located = torch.tensor([[0.1, 2.0, 1.0, 0.5]]).expand(2, -1)
    regression, _ = readout(torch.randn(2, 4, 8), AVAILABLE, located)
    assert (regression - located).abs().max() < 0.15


@pytest.mark.parametrize("kind", ["mean", "flatten", "locate"])
def test_absent_phases_do_not_touch_the_classes(kind):
    readout = {
        "mean": MeanReadout(8, regression=True, classes=2),
        "flatten": FlattenReadout(8, tokens=12, regression=True, classes=2),
        "locate": LocateReadout(8, regression=True, classes=2, dropout=0.0),
    }[kind]
    count = 4 if kind == "locate" else 12
    tokens = torch.randn(2, count, 8)
    changed = tokens.clone().unflatten(1, (4, -1))
    changed[1, 1] += 5.0
    here = readout(tokens, AVAILABLE, torch.zeros(2, 4))
    there = readout(changed.flatten(1, 2), AVAILABLE, torch.zeros(2, 4))
    torch.testing.assert_close(here[1], there[1])
    torch.testing.assert_close(here[0][AVAILABLE], there[0][AVAILABLE])


@pytest.mark.parametrize("regression", [True, False])
def test_removed_tasks_are_not_built(regression):
    options = {"regression": regression, "classes": 0 if regression else 2}
    for readout in (
        MeanReadout(8, **options),
        FlattenReadout(8, tokens=12, **options),
        LocateReadout(8, dropout=0.0, **options),
    ):
        assert (readout.regress is not None) == regression
        assert (readout.classify is None) == regression
