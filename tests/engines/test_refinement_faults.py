"""Faulty starting points."""

import numpy as np
import pytest

from scripts.engines.refinement_faults import faulty, roughly_drawn

SPACING_MM = (5.0, 3.0, 3.0)


@pytest.fixture
def truth():
    mask = np.zeros((16, 48, 40), dtype=bool)
    mask[4:9, 10:20, 12:24] = True
    mask[10:13, 30:38, 20:26] = True
    return mask


def generators(count):
    return (np.random.default_rng(seed) for seed in range(count))


def dice(a, b):
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


def test_faults_repeat_with_the_generators_seed(truth):
    start = np.where(truth, 0.9, 0.1)
    first, second, other = (faulty(start, truth, SPACING_MM, np.random.default_rng(s)) for s in (1, 1, 2))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)
    assert first.dtype == np.float32


def test_a_perfect_start_becomes_wrong_in_both_ways(truth):
    start = np.where(truth, 0.9, 0.1)
    wrong = [faulty(start, truth, SPACING_MM, rng) for rng in generators(30)]
    assert all(0.0 <= each.min() <= each.max() <= 1.0 for each in wrong)
    missed = [np.count_nonzero(truth & (each < 0.5)) for each in wrong]
    false = [np.count_nonzero(~truth & (each >= 0.5)) for each in wrong]
    assert max(missed) > 0.3 * truth.sum()
    assert max(false) > 0.1 * truth.sum()


def test_a_study_without_lesion_gets_false_ones(truth):
    nothing = np.zeros_like(truth)
    wrong = [faulty(np.full(truth.shape, 0.01), nothing, SPACING_MM, rng) for rng in generators(30)]
    assert any((each >= 0.5).any() for each in wrong)


def test_rough_masks_resemble_the_truth(truth):
    drawn = [roughly_drawn(truth, SPACING_MM, rng) for rng in generators(20)]
    scores = [dice(each, truth) for each in drawn]
    assert 0.4 < np.mean(scores) < 0.95
    assert len({round(score, 3) for score in scores}) > 10


def test_a_rough_mask_of_nothing_is_empty(truth):
    assert not roughly_drawn(np.zeros_like(truth), SPACING_MM, np.random.default_rng(0)).any()
