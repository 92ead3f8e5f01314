"""Mutual information: nothing to tell, parity, and what blurring or another order of grey levels does."""

import numpy as np
import pytest
from sklearn.metrics import mutual_info_score

from scripts.studies.similarity import BINS, limits, mutual_information


@pytest.fixture
def values():
    return np.random.default_rng(0).gamma(2.0, 50.0, 20000)


def test_a_constant_tells_nothing(values):
    assert mutual_information(values, np.full(values.shape, 3.0)) == 0.0


def test_no_values_at_all_tell_nothing():
    nothing = np.empty(0)
    assert mutual_information(nothing, nothing, first_limits=(0.0, 1.0), second_limits=(0.0, 1.0)) == 0.0


def test_parity_with_scikit_learn(values):
    other = 300.0 - values + np.random.default_rng(1).normal(0.0, 30.0, values.shape)

    def bins(v):
        inner = np.linspace(*limits(v), BINS + 1)[1:-1]
        return np.digitize(v, inner)

    assert mutual_information(values, other) == pytest.approx(mutual_info_score(bins(values), bins(other)), rel=1e-9)


def test_noise_lowers_it_and_reversed_contrast_does_not(values):
    rng = np.random.default_rng(2)
    itself = mutual_information(values, values)
    assert mutual_information(values, -values) == pytest.approx(itself, rel=0.01)
    noisy = mutual_information(values, values + rng.normal(0.0, 50.0, values.shape))
    assert 0.1 * itself < noisy < 0.6 * itself
    assert mutual_information(values, rng.permutation(values)) < 0.05


def test_outliers_do_not_empty_the_bins(values):
    spoilt = values.copy()
    spoilt[:20] = 1e6
    assert mutual_information(spoilt, spoilt) == pytest.approx(mutual_information(values, values), rel=0.02)
