"""Statistics of one system and of a pair of systems over the same subjects."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from scipy import stats
from statsmodels.stats.multitest import multipletests

from ...results.statistics import LEVEL

ALPHA = 0.05
RANKS = "rank-biserial r"
_LARGEST_DENOMINATOR = 1000


@dataclass(frozen=True)
class Paired:
    """A paired comparison over subjects.

    Args:
        n: subjects.
        difference: mean of system less reference.
        interval: 95 % bootstrap interval of it over subjects; NaN below two subjects.
        test: name of the test.
        p: two-sided, uncorrected.
        effects: effect sizes by name.
    """

    n: int
    difference: float
    interval: tuple[float, float]
    test: str
    p: float
    effects: dict[str, float]


def mean_interval(values: np.ndarray, *, seed: int = 0, n_resamples: int = 2000) -> tuple[float, float]:
    """95 % percentile bootstrap interval of a mean over subjects ``(N,)``; NaN below two subjects.

    That of ``results.statistics.bootstrap_interval``, draw for draw, in one step: a page has hundreds of them.
    """
    if len(values) < 2:
        return math.nan, math.nan
    rng = np.random.default_rng(seed)
    means = values[rng.integers(len(values), size=(n_resamples, len(values)))].mean(axis=1)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def compare_amounts(differences: np.ndarray, *, seed: int = 0) -> Paired:
    """Wilcoxon's signed-rank test on differences by subject ``(N,)``, such as of Dice or of an error.

    Effect sizes: Cohen's d of the paired differences (their mean over their standard deviation) and the matched
    rank-biserial correlation (Kerby 2014), (W+ - W-) / (W+ + W-), from -1 to 1.
    """
    moved = differences[differences != 0.0]
    p = float(stats.wilcoxon(moved).pvalue) if len(moved) else 1.0
    ranks = stats.rankdata(np.abs(moved))
    spread = differences.std(ddof=1) if len(differences) > 1 else 0.0
    return Paired(
        n=len(differences),
        difference=float(differences.mean()),
        interval=mean_interval(differences, seed=seed),
        test="Wilcoxon signed-rank",
        p=p,
        effects={
            "Cohen's d (paired)": float(differences.mean() / spread) if spread > 0 else math.nan,
            RANKS: float(np.sign(moved) @ ranks / ranks.sum()) if len(moved) else 0.0,
        },
    )


def compare_shares(differences: np.ndarray, *, seed: int = 0) -> Paired:
    """Exact sign-flip test on differences of the share of right answers by subject ``(N,)``, each in [-1, 1].

    With one run a system the shares are 0 or 1 and this is McNemar's exact test. With several runs a subject's share is
    over its runs, so that the subject stays the unit and seeds are no extra evidence.

    Effect sizes: the risk difference, and the matched odds ratio (what speaks for the system over what speaks against
    it; a half is added to both where one is zero).
    """
    better, worse = float(differences.clip(min=0).sum()), float(-differences.clip(max=0).sum())
    correction = 0.5 if (better == 0.0) != (worse == 0.0) else 0.0
    odds = (better + correction) / (worse + correction) if better + worse > 0 else 1.0
    return Paired(
        n=len(differences),
        difference=float(differences.mean()),
        interval=mean_interval(differences, seed=seed),
        test="McNemar, exact" if np.isin(differences, (-1.0, 0.0, 1.0)).all() else "sign-flip, exact",
        p=sign_flip_p(differences),
        effects={"risk difference": float(differences.mean()), "matched odds ratio": odds},
    )


def sign_flip_p(differences: np.ndarray) -> float:
    """Two-sided p of the sum of differences when each one's sign is a fair coin's, computed over all flips.

    The differences are shares of few runs, so they are whole multiples of one small fraction, and the distribution of
    the sum is a convolution.
    """
    fractions = [Fraction(float(value)).limit_denominator(_LARGEST_DENOMINATOR) for value in differences if value]
    unit = math.lcm(*(fraction.denominator for fraction in fractions))
    steps = [abs(int(fraction * unit)) for fraction in fractions]
    total = sum(steps)
    observed = abs(int(sum(fractions) * unit))
    # probability[k] is that of the sum k - total.
    probability = np.zeros(2 * total + 1)
    probability[total] = 1.0
    for step in steps:
        probability = 0.5 * (_shifted(probability, step) + _shifted(probability, -step))
    sums = np.abs(np.arange(-total, total + 1))
    return float(min(1.0, probability[sums >= observed].sum()))


def _shifted(values: np.ndarray, by: int) -> np.ndarray:
    # Nothing falls off the ends: the sum never leaves the array.
    return np.roll(values, by)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction for one family of tests (Holm 1979)."""
    return [float(p) for p in multipletests(p_values, alpha=ALPHA, method="holm")[1]] if len(p_values) else []
