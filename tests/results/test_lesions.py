import dataclasses
import re

import numpy as np
import pytest

from scripts.domain.classes import LABELS, UNKNOWN_LABEL
from scripts.domain.errors import ConfigurationError, StudyError
from scripts.results.lesions import analyse, rule_of_study


@pytest.fixture
def analysed(make_study, make_prediction, both_lesions, model):
    return analyse(make_study(both_lesions), make_prediction(both_lesions), model=model)


def test_says_which_phase_does_not_show_a_lesion(make_study, make_prediction, one_hcc, model):
    study = make_study(one_hcc)
    study.image[3] = 0.0
    result, _ = analyse(study, make_prediction(one_hcc), model=model)
    assert any("Lesion 1 is not wholly in what the delayed phase shows" in note for note in result.notes)
    assert result.lesions[0].rule_class is None
    assert result.lesions[0].enhancement.washout is None


def test_says_which_times_are_nominal(make_study, make_prediction, one_hcc, model):
    study = make_study(one_hcc, nominal_times=("arterial", "delayed"))
    result, _ = analyse(study, make_prediction(one_hcc), model=model)
    assert "The time after the injection is not known, so it is nominal: arterial, delayed." in result.notes
    known, _ = analyse(make_study(one_hcc), make_prediction(one_hcc), model=model)
    assert not any("nominal" in note for note in known.notes)


@pytest.mark.parametrize("threshold", [0.0, 1.0, -0.5])
def test_refuses_a_threshold_that_is_no_probability(make_study, make_prediction, one_hcc, model, threshold):
    with pytest.raises(ConfigurationError, match="threshold"):
        analyse(make_study(), make_prediction(one_hcc), model=model, threshold=threshold)


def test_refuses_a_negative_volume(make_study, make_prediction, one_hcc, model):
    with pytest.raises(ConfigurationError, match="min_volume_ml"):
        analyse(make_study(), make_prediction(one_hcc), model=model, min_volume_ml=-1)


def test_refuses_a_prediction_on_another_grid(make_study, make_prediction, one_hcc, model):
    with pytest.raises(StudyError, match=r"case_01.*\(95, 80, 20\)"):
        analyse(make_study(), make_prediction(one_hcc[1:]), model=model)


@pytest.mark.parametrize("head", ["regression", "classification"])
def test_refuses_heads_with_another_number_of_slices(make_study, make_prediction, one_hcc, model, head):
    prediction = make_prediction(one_hcc)
    prediction = dataclasses.replace(prediction, **{head: getattr(prediction, head)[1:]})
    with pytest.raises(StudyError, match=head):
        analyse(make_study(), prediction, model=model)


def test_lesions_come_with_size_and_place(analysed, make_study, known):
    result, _ = analysed
    large, small = result.lesions
    assert (large.id, small.id) == (1, 2)
    assert large.volume_ml == pytest.approx(np.count_nonzero(known.hcc_mask) * 0.012)
    assert large.volume_ml == pytest.approx(4 / 3 * np.pi * 1.6**3, rel=0.03)
    assert large.max_diameter_mm == pytest.approx(2 * known.hcc_radius_mm, abs=2.0)
    centre = make_study().affine @ [*known.hcc_centre, 1]
    assert large.centroid_mm == pytest.approx(tuple(centre[:3]), abs=1e-6)


def test_each_lesion_has_its_own_curves_and_rule(analysed, known):
    large, small = analysed[0].lesions
    assert large.enhancement.from_mask == pytest.approx(tuple(known.hcc_curve))
    assert large.enhancement.ring == pytest.approx(tuple(known.liver_curve))
    assert large.rule_class == "hcc"
    assert small.enhancement.from_mask == pytest.approx(tuple(known.hemangioma_curve))
    assert small.rule_class == "hemangioma"


def test_the_heads_are_weighted_by_the_lesions_area_in_each_slice(make_study, make_prediction, one_hcc, model, known):
    rng = np.random.default_rng(2)
    p = rng.random(20)
    regression = rng.normal(size=(20, 4))
    prediction = dataclasses.replace(
        make_prediction(one_hcc), regression=regression, classification=np.stack([1 - p, p], axis=1)
    )
    (lesion,) = analyse(make_study(one_hcc), prediction, model=model)[0].lesions
    area = [int((one_hcc[:, :, k] > 0).sum()) for k in range(20)]
    expected = sum(area[k] * p[k] for k in range(20)) / sum(area)
    curve = sum(area[k] * regression[k] for k in range(20)) / sum(area) * known.scale + known.offset
    assert lesion.probabilities["hcc"] == pytest.approx(expected)
    assert lesion.enhancement.regressed == pytest.approx(tuple(curve))
    assert lesion.predicted_class == ("hcc" if expected > 0.5 else "hemangioma")


def test_the_studys_class_is_weighted_by_volume(make_study, make_prediction, both_lesions, model):
    # The large lesion lies in slices 4-12, so beyond them only the small one could be heard.
    p = np.where(np.arange(20) < 7, 0.9, 0.2)
    prediction = dataclasses.replace(make_prediction(both_lesions), classification=np.stack([1 - p, p], axis=1))
    result, _ = analyse(make_study(both_lesions), prediction, model=model)
    volume = [x.volume_ml for x in result.lesions]
    expected = sum(x.volume_ml * x.probabilities["hcc"] for x in result.lesions) / sum(volume)
    assert result.probabilities["hcc"] == pytest.approx(expected)
    assert sum(result.probabilities.values()) == pytest.approx(1.0)
    assert result.predicted_class == max(result.probabilities, key=result.probabilities.get)


def test_the_mask_carries_each_lesions_class(make_study, make_prediction, both_lesions, model, known):
    _, mask = analyse(make_study(both_lesions), make_prediction(both_lesions, p_hcc=0.2), model=model)
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask, (both_lesions > 0) * LABELS["hemangioma"])


@pytest.mark.parametrize(("shift", "shared"), [(0, True), (14, False)])
def test_shared_slices_say_whether_another_lesion_was_seen_too(
    make_study, make_prediction, model, known, shift, shared
):
    label = np.zeros(known.shape, dtype=np.uint8)
    label[known.ellipsoid((30, 28, 4), 8.0)] = label[known.ellipsoid((70, 50, 4 + shift), 8.0)] = 1
    result, _ = analyse(make_study(label), make_prediction(label), model=model)
    assert [x.enhancement.shared_slices for x in result.lesions] == [shared, shared]


def test_the_ring_leaves_other_lesions_out(make_study, make_prediction, model, known):
    label = np.zeros(known.shape, dtype=np.uint8)
    label[30:40, 30:40, 8:12] = LABELS["hcc"]
    # A slab of hemangioma 4.5 mm beside it would own most of the ring on that side.
    label[43:80, 10:60, 4:16] = LABELS["hemangioma"]
    result, _ = analyse(make_study(label), make_prediction(label), model=model)
    assert result.lesions[1].enhancement.ring == pytest.approx(tuple(known.liver_curve))


def test_the_ring_stays_inside_the_liver_where_it_is_known(make_study, make_prediction, one_hcc, model, known):
    study = make_study(one_hcc)
    outside = np.ones(known.shape, dtype=bool)
    outside[:, :28] = False
    image = np.where(outside & ~known.hcc_mask, np.float32(7.0), study.image)
    inside = analyse(dataclasses.replace(study, image=image, liver=~outside), make_prediction(one_hcc), model=model)
    assert inside[0].lesions[0].enhancement.ring == pytest.approx(tuple(known.liver_curve))
    by_body = analyse(dataclasses.replace(study, image=image), make_prediction(one_hcc), model=model, body=outside)
    assert by_body[0].lesions[0].enhancement.ring == pytest.approx((7.0,) * 4)


def test_a_lesion_without_a_ring_gives_a_reason(make_study, make_prediction, one_hcc, model, known):
    study = make_study(one_hcc, liver=known.hcc_mask)
    result, _ = analyse(study, make_prediction(one_hcc), model=model)
    (lesion,) = result.lesions
    assert lesion.rule_class is None
    assert lesion.enhancement.psr_delayed is None
    assert lesion.enhancement.arterial_hyperenhancement is None
    assert any("Lesion 1 has no tissue in the ring" in note for note in result.notes)


def test_small_components_are_left_out_and_counted(make_study, make_prediction, one_hcc, model):
    specks = one_hcc.copy()
    specks[80, 70, 2] = specks[2:4, 2, 2] = 1
    result, mask = analyse(make_study(one_hcc), make_prediction(specks), model=model)
    assert len(result.lesions) == 1
    np.testing.assert_array_equal(mask > 0, one_hcc > 0)
    assert any(note.startswith("2 component(s) smaller than 0.1 ml") for note in result.notes)


def test_no_lesion_is_an_empty_list(make_study, make_prediction, known, model):
    result, mask = analyse(make_study(), make_prediction(np.zeros(known.shape)), model=model)
    assert result.lesions == ()
    assert result.predicted_class == "none"
    assert result.probabilities is None
    assert not mask.any()


@pytest.mark.parametrize(
    ("available", "reason"),
    [
        ((False, True, True, True), "pre phase is missing.*relative enhancement"),
        ((True, False, True, True), "arterial phase is missing.*kinetic rule"),
        ((True, True, False, True), "portal_venous phase is missing"),
        ((True, True, True, False), "delayed phase is missing.*washout"),
    ],
)
def test_a_missing_phase_gives_a_reason(make_study, make_prediction, one_hcc, model, available, reason):
    result, _ = analyse(make_study(one_hcc, available=available), make_prediction(one_hcc), model=model)
    (note,) = result.notes
    assert re.search(reason, note)
    assert (result.lesions[0].rule_class is None) == (not (available[1] and available[3]))


def test_without_heads_the_class_is_unknown_and_the_rule_does_not_take_its_place(
    make_study, make_prediction, one_hcc, model
):
    prediction = dataclasses.replace(make_prediction(one_hcc), regression=None, classification=None)
    result, mask = analyse(make_study(one_hcc), prediction, model=model)
    (lesion,) = result.lesions
    assert (lesion.predicted_class, lesion.probabilities, lesion.rule_class) == ("unknown", None, "hcc")
    assert (result.predicted_class, result.probabilities) == ("unknown", None)
    assert set(np.unique(mask)) == {0, UNKNOWN_LABEL}
    assert len(result.notes) == 2


def test_the_order_of_the_axes_does_not_matter(make_study, make_prediction, both_lesions, model):
    study = make_study(both_lesions)
    turned = dataclasses.replace(
        study,
        image=np.moveaxis(study.image, 3, 1),
        affine=study.affine[:, [2, 0, 1, 3]],
        slice_axis=0,
        label=np.moveaxis(both_lesions, 2, 0),
    )
    expected, mask = analyse(study, make_prediction(both_lesions), model=model)
    prediction = make_prediction(turned.label, slice_axis=0)
    result, turned_mask = analyse(turned, prediction, model=model)
    np.testing.assert_array_equal(turned_mask, np.moveaxis(mask, 2, 0))
    for a, b in zip(result.lesions, expected.lesions, strict=True):
        assert a.max_diameter_mm == pytest.approx(b.max_diameter_mm)
        assert a.centroid_mm == pytest.approx(b.centroid_mm)
        assert a.enhancement.ring == pytest.approx(b.enhancement.ring)


def test_the_rule_of_a_study_is_that_of_most_of_its_volume(analysed):
    large, small = analysed[0].lesions
    assert rule_of_study([large, small]) == "hcc"
    assert rule_of_study([dataclasses.replace(large, rule_class=None), small]) == "hemangioma"
    assert rule_of_study([dataclasses.replace(large, rule_class=None)]) is None
    assert rule_of_study([]) is None
