"""The statistics, against SciPy, statsmodels and sums by hand."""

import itertools

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar

from scripts.experiments.tables.paired import (
    RANKS,
    compare_amounts,
    compare_shares,
    holm,
    mean_interval,
    sign_flip_p,
)
from scripts.results.statistics import bootstrap_interval


def test_fewer_than_two_subjects_have_no_interval():
    assert np.isnan(mean_interval(np.array([1.0]))).all()


def test_an_interval_is_that_of_scipys_bootstrap():
    values = np.random.default_rng(0).normal(0.8, 0.1, 150)
    ours = mean_interval(values, n_resamples=20_000)
    theirs = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=20_000, rng=1).confidence_interval
    assert np.allclose(ours, theirs, atol=0.001)


def test_it_is_the_interval_of_every_other_report_of_the_bundle():
    values = np.random.default_rng(0).normal(0.8, 0.1, 30)
    assert mean_interval(values, seed=4) == pytest.approx(bootstrap_interval(values, seed=4), abs=1e-12)


def test_amounts_are_tested_by_wilcoxons_signed_ranks():
    differences = np.random.default_rng(1).normal(0.02, 0.05, 40)
    paired = compare_amounts(differences)
    assert paired.p == pytest.approx(stats.wilcoxon(differences).pvalue)
    assert paired.test == "Wilcoxon signed-rank"
    assert paired.difference == pytest.approx(differences.mean())
    assert paired.interval[0] < paired.difference < paired.interval[1]


def test_effect_sizes_of_amounts_by_hand():
    # Ranks of |d|: 1 -> 1, 2 -> 2, 3 -> 3, 4 -> 4; the negative one has rank 2: (8 - 2) / 10.
    paired = compare_amounts(np.array([1.0, -2.0, 3.0, 4.0]))
    assert paired.effects[RANKS] == pytest.approx(0.6)
    assert paired.effects["Cohen's d (paired)"] == pytest.approx(1.5 / np.std([1, -2, 3, 4], ddof=1))


def test_no_difference_at_all_is_no_evidence():
    for compare in (compare_amounts, compare_shares):
        paired = compare(np.zeros(5))
        assert paired.p == 1.0
        assert paired.difference == 0.0
    assert compare_shares(np.zeros(5)).effects["matched odds ratio"] == 1.0


@pytest.mark.parametrize(("ours", "theirs"), [(7, 1), (3, 3), (0, 9), (1, 0)])
def test_with_one_run_it_is_mcnemars_exact_test(ours, theirs):
    differences = np.array([1.0] * ours + [-1.0] * theirs + [0.0] * 20)
    paired = compare_shares(differences)
    assert paired.test == "McNemar, exact"
    assert paired.p == pytest.approx(mcnemar([[10, ours], [theirs, 10]], exact=True).pvalue)
    assert paired.effects["risk difference"] == pytest.approx((ours - theirs) / len(differences))


def test_the_odds_ratio_is_that_of_the_discordant_subjects():
    assert compare_shares(np.array([1.0] * 6 + [-1.0] * 2)).effects["matched odds ratio"] == pytest.approx(3.0)
    # A half is added to both where one side is empty, so that it is a number.
    assert compare_shares(np.array([1.0] * 6)).effects["matched odds ratio"] == pytest.approx(13.0)
    assert compare_shares(np.array([-1.0] * 6)).effects["matched odds ratio"] == pytest.approx(1 / 13)


def test_with_several_runs_every_flip_is_counted():
    differences = np.array([2 / 3, -1 / 3, 1.0, 1 / 3, 1 / 2, 0.0])
    moved = differences[differences != 0]
    sums = [np.dot(signs, np.abs(moved)) for signs in itertools.product((-1, 1), repeat=len(moved))]
    expected = np.mean(np.abs(sums) >= abs(moved.sum()) - 1e-9)
    assert sign_flip_p(differences) == pytest.approx(expected)
    assert compare_shares(differences).test == "sign-flip, exact"


def test_seeds_are_no_extra_evidence():
    """Three runs that agree in every subject say what one says."""
    one = np.array([1.0] * 5 + [-1.0])
    assert sign_flip_p(one) == sign_flip_p(np.mean([one, one, one], axis=0))


def test_holm_by_hand():
    """Sorted .01 .02 .04 times 3, 2, 1, never falling."""
    assert holm([0.04, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])
    assert holm([]) == []
