import dataclasses

import numpy as np
import pytest

from scripts.domain.errors import StudyError
from scripts.results.lesions import analyse
from scripts.results.scores import score_slices, score_subject

NAN = float("nan")


@pytest.fixture
def score(make_study, make_prediction, model):
    """Score ``(label, predicted mask)``; further arguments go to the study or the prediction."""

    def score_it(label, predicted, *, study=None, **heads):
        study = make_study(label) if study is None else study
        prediction = make_prediction(predicted)
        prediction = dataclasses.replace(prediction, **heads)
        result, mask = analyse(study, prediction, model=model)
        return score_subject(study, mask, result, prediction)

    return score_it


@pytest.fixture
def normalised(known):
    return lambda curve: pytest.approx(tuple((curve - known.offset) / known.scale))


@pytest.fixture
def nothing(known):
    return np.zeros(known.shape, dtype=np.uint8)


def test_refuses_a_study_without_a_label(score, one_hcc, make_study, make_prediction):
    with pytest.raises(StudyError, match=r"case_01.*no label"):
        score(None, one_hcc)
    with pytest.raises(StudyError, match=r"case_01.*no label"):
        score_slices(make_study(), one_hcc, make_prediction(one_hcc))


def test_a_perfect_prediction(score, one_hcc, known, normalised):
    row = score(one_hcc, one_hcc)
    assert (row.case, row.true_class, row.predicted_class, row.rule_class) == ("case_01", "hcc", "hcc", "hcc")
    assert (row.dice, row.iou, row.nsd, row.hd95_mm) == (1, 1, 1, 0)
    assert (row.true_lesions, row.predicted_lesions, row.matched_lesions) == (1, 1, 1)
    assert row.probability_hcc == pytest.approx(0.9)
    assert row.true_curve == row.mask_curve == normalised(known.hcc_curve)
    assert row.head_curve == normalised(known.hcc_curve)
    assert (row.missed, row.correct, row.rule_correct) == (False, True, True)


def test_a_subjects_true_curve_is_the_mean_over_all_its_lesions(score, both_lesions, known, normalised):
    a, b = known.hcc_mask.sum(), known.hemangioma_mask.sum()
    row = score(both_lesions, both_lesions)
    assert row.true_curve == normalised((a * known.hcc_curve + b * known.hemangioma_curve) / (a + b))


def test_a_subjects_head_curve_is_weighted_by_predicted_area(score, one_hcc, both_lesions):
    regression = np.random.default_rng(0).normal(size=(20, 4))
    row = score(one_hcc, both_lesions, regression=regression)
    area = (both_lesions > 0).sum(axis=(0, 1))
    assert row.head_curve == pytest.approx(tuple((area[:, None] * regression).sum(axis=0) / area.sum()))


def test_on_the_true_slices_the_heads_are_weighted_by_true_area(score, one_hcc, both_lesions):
    rng = np.random.default_rng(0)
    p, regression = rng.random(20), rng.normal(size=(20, 4))
    classification = np.stack([1 - p, p], axis=1)
    row = score(both_lesions, one_hcc, regression=regression, classification=classification)
    area = (both_lesions > 0).sum(axis=(0, 1))
    assert row.true_slices_curve == pytest.approx(tuple((area[:, None] * regression).sum(axis=0) / area.sum()))
    assert row.true_slices_probability_hcc == pytest.approx((area * p).sum() / area.sum())


@pytest.mark.parametrize("truth", ["one_hcc", "hemangioma"])
def test_whoever_tells_the_class_by_what_it_finds_and_finds_nothing_is_wrong(score, one_hcc, known, nothing, truth):
    label = one_hcc if truth == "one_hcc" else known.hemangioma_mask.astype(np.uint8)
    unsaid = np.full((known.shape[2], 2), np.nan, dtype=np.float32)
    row = score(label, nothing, classification=unsaid)
    assert row.correct_on_true_slices is False


def test_of_a_given_mask_no_overlap_is_told(score, one_hcc):
    row = score(one_hcc, one_hcc, mask_given=True)
    assert (row.dice, row.iou, row.nsd, row.hd95_mm, row.missed) == (None, None, None, None, False)
    assert (row.correct, row.mask_given) == (True, True)


def test_nothing_found_is_a_miss(score, one_hcc, nothing):
    row = score(one_hcc, nothing)
    assert row.missed
    assert (row.dice, row.predicted_class, row.rule_class) == (0.0, "none", "none")
    assert (row.correct, row.rule_correct) == (False, False)
    assert np.isnan([row.probability_hcc, *row.head_curve, *row.mask_curve]).all()


def test_a_lesion_found_elsewhere_is_a_miss_with_a_wrong_class(score, one_hcc, known):
    row = score(one_hcc, known.hemangioma_mask)
    assert row.predicted_class == row.true_class == "hcc"
    assert row.missed
    assert row.correct is False
    assert row.matched_lesions == 0


def test_no_lesion_and_none_found(score, nothing):
    row = score(nothing, nothing)
    assert (row.true_class, row.has_lesion, row.missed) == ("none", False, False)
    assert (row.dice, row.iou, row.nsd, row.hd95_mm) == (None,) * 4
    assert (row.correct, row.rule_correct) == (None, None)


def test_a_lesion_found_where_there_is_none(score, nothing, one_hcc):
    row = score(nothing, one_hcc)
    assert (row.true_lesions, row.predicted_lesions, row.dice) == (0, 1, None)


def test_without_heads_nothing_is_said(score, one_hcc, nothing):
    for predicted in (one_hcc, nothing):
        row = score(one_hcc, predicted, regression=None, classification=None)
        assert (row.predicted_class, row.probability_hcc, row.head_curve) == ("unknown", None, None)
        assert row.correct is None
        assert (row.true_slices_curve, row.true_slices_probability_hcc, row.correct_on_true_slices) == (None,) * 3
        assert row.rule_correct is (predicted is one_hcc)


def test_the_rule_is_not_asked_without_its_phases(score, one_hcc, make_study):
    row = score(one_hcc, one_hcc, study=make_study(one_hcc, available=(True, True, True, False)))
    assert (row.rule_class, row.rule_correct) == (None, None)
    assert row.correct is True
    np.testing.assert_array_equal(np.isnan([row.true_curve, row.head_curve, row.mask_curve]), [[0, 0, 0, 1]] * 3)


def test_a_rule_without_a_ring_is_wrong(score, one_hcc, make_study, known):
    row = score(one_hcc, one_hcc, study=make_study(one_hcc, liver=known.hcc_mask))
    assert (row.rule_class, row.rule_correct) == ("unknown", False)


@pytest.mark.parametrize("slice_axis", [0, 2])
def test_slices_are_scored_in_their_plane_with_their_own_heads(make_study, make_prediction, one_hcc, known, slice_axis):
    rng = np.random.default_rng(1)
    n = known.shape[slice_axis]
    p, regression = rng.random(n), rng.normal(size=(n, 4))
    prediction = dataclasses.replace(
        make_prediction(one_hcc, slice_axis=slice_axis),
        classification=np.stack([1 - p, p], axis=1),
        regression=regression,
    )
    mask = np.where(known.ellipsoid((31, 29, 8), 14.0), np.uint8(2), np.uint8(0))
    rows = score_slices(make_study(one_hcc, slice_axis=slice_axis), mask, prediction)
    in_plane = tuple(axis for axis in range(3) if axis != slice_axis)
    assert [row.slice_index for row in rows] == list(np.flatnonzero(one_hcc.any(axis=in_plane)))
    for row in rows:
        truth, predicted = (np.take(x > 0, row.slice_index, slice_axis) for x in (one_hcc, mask))
        assert row.dice == pytest.approx(2 * (truth & predicted).sum() / (truth.sum() + predicted.sum()))
        assert row.probability_hcc == pytest.approx(p[row.slice_index])
        assert row.predicted_class == ("hcc" if p[row.slice_index] > 0.5 else "hemangioma")
        assert row.head_curve == pytest.approx(tuple(regression[row.slice_index]))
        assert not row.missed
    assert rows[0].dice == 0.0
    assert rows[0].hd95_mm == pytest.approx(
        np.linalg.norm(np.delete(np.multiply(known.shape, known.spacing_mm), slice_axis))
    )
