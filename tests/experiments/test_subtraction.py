"""Subtraction and threshold."""

import numpy as np
import pytest

from scripts.domain.study import Study
from scripts.experiments.subtraction import THRESHOLDS, dice, dice_by_threshold, enhancement_score


@pytest.fixture
def study():
    rng = np.random.default_rng(0)
    image = 100.0 + rng.normal(0.0, 2.0, (4, 40, 36, 6)).astype(np.float32)
    image[1, 12:20, 10:20, 2:4] += 60.0
    return Study(
        case="c",
        image=image,
        affine=np.diag([3.0, 3.0, 5.0, 1.0]),
        available=(True,) * 4,
        times_s=(0.0, 30.0, 70.0, 180.0),
        offset=100.0,
        scale=10.0,
    )


def test_score_is_high_where_the_arterial_phase_is_brighter(study):
    score = enhancement_score(study, np.ones(study.image.shape[1:], bool))
    assert score[13:19, 11:19, 2:4].min() > 5.0
    assert np.median(score) == pytest.approx(0.0, abs=0.1)


def test_nothing_outside_the_region(study):
    region = np.zeros(study.image.shape[1:], bool)
    region[:10] = True
    assert np.all(np.isneginf(enhancement_score(study, region)[~region]))


def test_easy_lesion_is_found(study):
    truth = np.zeros(study.image.shape[1:], bool)
    truth[12:20, 10:20, 2:4] = True
    by_threshold = dice_by_threshold(enhancement_score(study, np.ones_like(truth)), truth)
    assert by_threshold.shape == THRESHOLDS.shape
    assert by_threshold.max() > 0.8
    assert by_threshold[0] < 0.2


def test_dice():
    truth = np.array([True, True, False, False])
    assert dice(np.array([True, False, True, False]), truth) == pytest.approx(0.5)
    assert dice(np.zeros(4, bool), truth) == 0.0
