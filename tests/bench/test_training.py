"""An epoch of the real trainer, both networks learning."""

from __future__ import annotations

import math

from scripts.bench import training


def test_values_are_finite_and_the_share_is_a_share(conditions):
    values = training.measure(conditions)
    assert values.keys() == set(training.UNITS)
    assert all(math.isfinite(value) for value in values.values())
    assert values["training_slices_per_s"] > 0
    assert 0 < values["data_wait_share"] < 1
