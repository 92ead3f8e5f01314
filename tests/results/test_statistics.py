import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from scripts.results.statistics import auroc, bootstrap_interval


def test_one_subject_has_no_interval():
    assert np.isnan(bootstrap_interval(np.array([0.7]))).all()


def test_slices_of_one_subject_have_no_interval():
    assert np.isnan(bootstrap_interval(np.array([0.7, 0.2, 0.4]), groups=["a", "a", "a"])).all()


def test_a_statistic_that_is_never_a_number_has_no_interval():
    assert np.isnan(bootstrap_interval(np.arange(5.0), statistic=lambda rows: float("nan"))).all()


def test_the_interval_of_a_mean_is_that_of_the_normal_distribution():
    values = np.random.default_rng(0).normal(10, 3, 400)
    low, high = bootstrap_interval(values, n=4000)
    half = 1.96 * values.std() / np.sqrt(len(values))
    assert low == pytest.approx(values.mean() - half, abs=0.06 * half)
    assert high == pytest.approx(values.mean() + half, abs=0.06 * half)


def test_agrees_with_scipy():
    values = np.random.default_rng(1).gamma(2.0, size=60)
    expected = stats.bootstrap((values,), np.median, method="percentile", n_resamples=9999, rng=3).confidence_interval
    assert bootstrap_interval(values, statistic=np.median, n=9999) == pytest.approx(tuple(expected), rel=0.03)


def test_the_same_seed_gives_the_same_interval_and_another_seed_another():
    values = np.random.default_rng(2).normal(size=30)
    assert bootstrap_interval(values, seed=4) == bootstrap_interval(values, seed=4)
    assert bootstrap_interval(values, seed=4) != bootstrap_interval(values, seed=5)


def test_repeating_a_subjects_value_does_not_narrow_the_interval():
    values = np.random.default_rng(3).normal(size=25)
    repeated = bootstrap_interval(np.repeat(values, 10), groups=np.repeat(np.arange(25), 10))
    assert repeated == pytest.approx(bootstrap_interval(values))


def test_columns_stay_paired():
    first = np.random.default_rng(4).normal(size=50)
    low, high = bootstrap_interval(
        np.stack([first + 0.5, first], axis=1), statistic=lambda rows: (rows[:, 0] - rows[:, 1]).mean()
    )
    assert (low, high) == pytest.approx((0.5, 0.5))


def test_auroc_needs_both_classes():
    assert np.isnan(auroc(np.ones(4, dtype=bool), np.arange(4)))


@pytest.mark.parametrize("seed", range(5))
def test_auroc_equals_scikit_learns_with_ties(seed):
    rng = np.random.default_rng(seed)
    positive = rng.random(80) > 0.4
    score = np.round(rng.random(80) + 0.3 * positive, 1)
    assert auroc(positive, score) == pytest.approx(roc_auc_score(positive, score))
