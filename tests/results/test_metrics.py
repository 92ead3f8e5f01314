import dataclasses
import json

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, roc_auc_score

from scripts.results.metrics import METRICS, summarise, write_metrics
from scripts.results.scores import SubjectScore

NAN = float("nan")
MEAN_CURVE = (0.0, 1.0, 2.0, 1.0)

PERFECT = SubjectScore(
    case="a",
    slice_index=None,
    true_class="hcc",
    predicted_class="hcc",
    probability_hcc=0.9,
    rule_class="hcc",
    dice=1.0,
    iou=1.0,
    nsd=1.0,
    hd95_mm=0.0,
    true_lesions=1,
    predicted_lesions=1,
    matched_lesions=1,
    true_curve=(0.0, 2.0, 2.0, 1.0),
    head_curve=(0.0, 2.0, 2.0, 1.0),
    mask_curve=(0.0, 2.0, 2.0, 1.0),
    scale=10.0,
)
MISSED = dataclasses.replace(
    PERFECT,
    case="b",
    predicted_class="none",
    probability_hcc=NAN,
    rule_class="none",
    dice=0.0,
    iou=0.0,
    nsd=0.0,
    hd95_mm=300.0,
    predicted_lesions=0,
    matched_lesions=0,
    head_curve=(NAN,) * 4,
    mask_curve=(NAN,) * 4,
)
HEALTHY = dataclasses.replace(
    MISSED,
    case="c",
    true_class="none",
    dice=None,
    iou=None,
    nsd=None,
    hd95_mm=None,
    true_lesions=0,
    true_curve=(NAN,) * 4,
)
FALSE_POSITIVE = dataclasses.replace(HEALTHY, case="d", predicted_class="hcc", predicted_lesions=2)


def value(rows, key, **options):
    return summarise(rows, n_resamples=20, **options)[key]["value"]


@pytest.fixture(scope="module")
def cohort() -> list[SubjectScore]:
    """Sixty subjects with a lesion, some missed, and numbers at random."""
    rng = np.random.default_rng(7)
    rows = []
    for i in range(60):
        truth = "hcc" if rng.random() < 0.58 else "hemangioma"
        p = float(np.clip(rng.normal(0.65 if truth == "hcc" else 0.35, 0.25), 0, 1))
        dice = float(rng.beta(6, 2))
        true_curve = rng.normal(size=4)
        row = dataclasses.replace(
            PERFECT,
            case=f"case_{i:02d}",
            true_class=truth,
            predicted_class="hcc" if p > 0.5 else "hemangioma",
            probability_hcc=p,
            rule_class=str(rng.choice(["hcc", "hemangioma"])),
            dice=dice,
            iou=dice / (2 - dice),
            nsd=float(rng.random()),
            hd95_mm=float(rng.gamma(3, 4)),
            true_lesions=int(rng.integers(1, 4)),
            predicted_lesions=int(rng.integers(1, 4)),
            matched_lesions=1,
            true_curve=tuple(true_curve),
            head_curve=tuple(true_curve + rng.normal(0, 0.3, 4)),
            mask_curve=tuple(true_curve + rng.normal(0, 0.1, 4)),
            true_slices_curve=tuple(true_curve + rng.normal(0, 0.2, 4)),
            true_slices_probability_hcc=p,
            scale=float(rng.uniform(5, 50)),
        )
        rows.append(
            dataclasses.replace(MISSED, case=row.case, true_class=truth, true_curve=row.true_curve)
            if i % 9 == 4
            else row
        )
    return rows


def test_no_subject_gives_no_value_and_no_error():
    assert summarise([]) == {key: {"value": None, "ci95": None, "n": 0} for key in METRICS}


def test_one_subject_has_values_but_no_intervals():
    metrics = summarise([PERFECT], training_mean_curve=MEAN_CURVE)
    assert metrics["dsc_mean"] == {"value": 1.0, "ci95": None, "n": 1}
    assert metrics["mae_ratio"] == {"value": 0.0, "ci95": None, "n": 1}


def test_every_key_of_the_contract_is_there():
    assert {
        "dsc_mean", "iou_mean", "nsd_2mm", "hd95_mm", "lesion_sensitivity", "lesion_precision", "lesion_f1", "accuracy",
        "balanced_accuracy", "auroc", "mae_raw", "mae_normalised", "mae_ratio", "mae_ratio_from_mask", "rule_accuracy",
        "accuracy_minus_rule", "false_positive_subjects",
    } <= set(summarise([PERFECT]))  # fmt: skip


@pytest.mark.parametrize(
    ("key", "expected"),
    [("dsc_mean", 0.5), ("iou_mean", 0.5), ("nsd_2mm", 0.5), ("hd95_mm", 150.0), ("missed_subjects", 0.5),
     ("accuracy", 0.5), ("rule_accuracy", 0.5), ("lesion_sensitivity", 0.5), ("lesion_precision", 1.0),
     ("lesion_f1", 2 / 3)],
)  # fmt: skip
def test_a_miss_counts_as_nothing(key, expected):
    assert value([PERFECT, MISSED], key) == pytest.approx(expected)


def test_subjects_without_a_lesion_enter_false_positives_only():
    alone = summarise([PERFECT, MISSED], training_mean_curve=MEAN_CURVE)
    among = summarise([PERFECT, HEALTHY, MISSED, FALSE_POSITIVE], training_mean_curve=MEAN_CURVE)
    assert among.pop("false_positive_subjects")["value"] == 0.5
    assert alone.pop("false_positive_subjects") == {"value": None, "ci95": None, "n": 0}
    assert among == alone


def test_a_miss_has_the_error_of_the_mean_curve():
    # |(0, 1, 2, 1) - (0, 2, 2, 1)| is 1 in one phase of four.
    assert value([MISSED], "mae_normalised", training_mean_curve=MEAN_CURVE) == pytest.approx(0.25)
    assert value([MISSED], "mae_raw", training_mean_curve=MEAN_CURVE) == pytest.approx(2.5)
    assert value([MISSED], "mae_ratio", training_mean_curve=MEAN_CURVE) == pytest.approx(1.0)
    assert value([PERFECT, MISSED], "mae_ratio_from_mask", training_mean_curve=MEAN_CURVE) == pytest.approx(0.5)


def test_a_lesion_found_elsewhere_is_not_credited_with_its_curve():
    elsewhere = dataclasses.replace(PERFECT, dice=0.0)
    assert value([elsewhere], "mae_ratio", training_mean_curve=MEAN_CURVE) == pytest.approx(1.0)


def test_without_a_mean_curve_misses_leave_the_error_and_ratios_are_none():
    metrics = summarise([PERFECT, MISSED])
    assert metrics["mae_normalised"] == {"value": 0.0, "ci95": None, "n": 1}
    assert metrics["mae_ratio"]["value"] is None
    assert metrics["mae_ratio_from_mask"]["value"] is None


def test_a_missing_phase_is_left_out_of_the_error():
    row = dataclasses.replace(PERFECT, true_curve=(0.0, 2.0, NAN, 1.0), head_curve=(0.3, 2.0, NAN, 1.0))
    assert value([row], "mae_normalised") == pytest.approx(0.1)


def test_the_ratio_is_of_the_means_and_not_a_mean_of_ratios():
    far = dataclasses.replace(PERFECT, case="z", true_curve=(0, 5.0, 2.0, 1.0), head_curve=(0.0, 4.0, 2.0, 1.0))
    # The heads are wrong by 0 and 1/4, the mean curve by 1/4 and 4/4.
    assert value([PERFECT, far], "mae_ratio", training_mean_curve=MEAN_CURVE) == pytest.approx(0.25 / 1.25)


def test_without_a_classification_head_there_is_no_accuracy_but_a_rule():
    row = dataclasses.replace(PERFECT, predicted_class="unknown", probability_hcc=None)
    metrics = summarise([row, dataclasses.replace(MISSED, predicted_class="unknown", probability_hcc=None)])
    for key in ("accuracy", "balanced_accuracy", "auroc", "accuracy_minus_rule"):
        assert metrics[key]["n"] == 0
    assert metrics["rule_accuracy"]["value"] == 0.5


def test_without_a_regression_head_there_is_no_error_but_that_of_the_mask():
    row = dataclasses.replace(PERFECT, head_curve=None)
    metrics = summarise([row], training_mean_curve=MEAN_CURVE)
    assert metrics["mae_ratio"]["n"] == 0
    assert metrics["mae_ratio_from_mask"]["value"] == 0.0


def test_the_rule_is_compared_where_it_could_be_asked():
    not_asked = dataclasses.replace(PERFECT, case="e", rule_class=None)
    wrong_rule = dataclasses.replace(PERFECT, case="f", rule_class="hemangioma")
    metrics = summarise([PERFECT, not_asked, wrong_rule])
    assert metrics["rule_accuracy"]["n"] == metrics["accuracy_minus_rule"]["n"] == 2
    assert metrics["accuracy_minus_rule"]["value"] == 0.5
    assert metrics["accuracy"]["n"] == 3


def test_classification_equals_scikit_learns(cohort):
    metrics = summarise(cohort, n_resamples=50)
    other = {"hcc": "hemangioma", "hemangioma": "hcc"}
    truth = [row.true_class for row in cohort]
    said = [other[row.true_class] if row.missed else row.predicted_class for row in cohort]
    is_hcc = np.array(truth) == "hcc"
    score = [(row.true_class != "hcc") if row.missed else row.probability_hcc for row in cohort]
    assert metrics["accuracy"]["value"] == pytest.approx(accuracy_score(truth, said))
    assert metrics["balanced_accuracy"]["value"] == pytest.approx(balanced_accuracy_score(truth, said))
    assert metrics["auroc"]["value"] == pytest.approx(roc_auc_score(is_hcc, score))
    assert metrics["auroc"]["n"] == 60


def test_errors_equal_those_written_from_the_definition(cohort):
    metrics = summarise(cohort, training_mean_curve=MEAN_CURVE, n_resamples=50)
    truth = np.array([row.true_curve for row in cohort])
    missed = np.array([row.missed for row in cohort])[:, None]
    head = np.where(missed, MEAN_CURVE, [row.head_curve for row in cohort])
    mask = np.where(missed, MEAN_CURVE, [row.mask_curve for row in cohort])
    reference = np.abs(np.array(MEAN_CURVE) - truth).mean()
    assert metrics["mae_normalised"]["value"] == pytest.approx(np.abs(head - truth).mean())
    assert metrics["mae_ratio"]["value"] == pytest.approx(np.abs(head - truth).mean() / reference)
    assert metrics["mae_ratio_from_mask"]["value"] == pytest.approx(np.abs(mask - truth).mean() / reference)
    raw = np.abs(head - truth).mean(axis=1) * [row.scale for row in cohort]
    assert metrics["mae_raw"]["value"] == pytest.approx(raw.mean())


def test_a_miss_with_a_worse_curve_of_another_place_is_judged_by_that():
    wrong_place = dataclasses.replace(MISSED, head_curve=tuple(np.array(MISSED.true_curve) + 7.0))
    assert value([wrong_place], "mae_normalised", training_mean_curve=MEAN_CURVE) == pytest.approx(7.0)


def test_lesions_are_pooled_over_subjects(cohort):
    metrics = summarise(cohort, n_resamples=50)
    found, true, predicted = (
        sum(getattr(row, f"{name}_lesions") for row in cohort) for name in ("matched", "true", "predicted")
    )
    sensitivity, precision = metrics["lesion_sensitivity"]["value"], metrics["lesion_precision"]["value"]
    assert sensitivity == pytest.approx(found / true)
    assert precision == pytest.approx(found / predicted)
    assert metrics["lesion_f1"]["value"] == pytest.approx(2 * sensitivity * precision / (sensitivity + precision))


def test_every_value_lies_in_its_interval(cohort):
    metrics = summarise([*cohort, HEALTHY, FALSE_POSITIVE], training_mean_curve=MEAN_CURVE, n_resamples=400)
    for key, entry in metrics.items():
        low, high = entry["ci95"]
        assert low <= entry["value"] <= high, key


def test_the_paired_interval_is_narrower_than_the_two_apart(cohort):
    """A rule that errs with the network differs little from it, however wide either interval is."""
    rows = [dataclasses.replace(row, rule_class=row.predicted_class) for row in cohort]
    rows[0] = dataclasses.replace(rows[0], rule_class="unknown")
    metrics = summarise(rows)
    width = {key: np.ptp(metrics[key]["ci95"]) for key in ("accuracy", "accuracy_minus_rule")}
    assert width["accuracy_minus_rule"] < 0.5 * width["accuracy"]


def test_slices_are_drawn_by_subject():
    rows = [dataclasses.replace(PERFECT, slice_index=k, dice=d) for k, d in enumerate([1.0, 0.8, 0.9])]
    rows += [dataclasses.replace(row, case="b", dice=row.dice - 0.5) for row in rows]
    entry = summarise(rows)["dsc_mean"]
    assert entry["n"] == 6
    assert entry["value"] == pytest.approx(0.65)
    # Two subjects of mean 0.9 and 0.4: a draw has one of both, or twice the same.
    assert entry["ci95"] == pytest.approx([0.4, 0.9])


def test_an_empty_slice_keeps_the_head_and_gives_the_mask_the_mean_curve():
    row = dataclasses.replace(PERFECT, slice_index=3, dice=0.0, mask_curve=(NAN,) * 4)
    metrics = summarise([row], training_mean_curve=MEAN_CURVE)
    assert metrics["accuracy"]["value"] == 1.0
    assert metrics["mae_ratio"]["value"] == 0.0
    assert metrics["mae_ratio_from_mask"]["value"] == 1.0
    assert metrics["missed_subjects"]["n"] == 0


def test_the_file_is_plain_json(tmp_path, cohort):
    metrics = summarise([*cohort, HEALTHY], n_resamples=20)
    write_metrics(metrics, tmp_path / "metrics.json")
    assert json.loads((tmp_path / "metrics.json").read_text()) == metrics


def test_heads_on_the_true_slices_against_scikit_learn(cohort):
    rows = [row for row in cohort if row.true_slices_curve is not None and not row.missed]
    truth = [row.true_class == "hcc" for row in rows]
    p = [row.true_slices_probability_hcc for row in rows]
    assert value(rows, "accuracy_true_slices") == pytest.approx(accuracy_score(truth, np.array(p) > 0.5))
    assert value(rows, "auroc_true_slices") == pytest.approx(roc_auc_score(truth, p))
    true = np.array([row.true_curve for row in rows])
    said = np.array([row.true_slices_curve for row in rows])
    errors, mean_errors = (np.abs(curve - true).mean(axis=1) for curve in (said, np.array(MEAN_CURVE)))
    assert value(rows, "mae_raw_true_slices") == pytest.approx(np.mean(errors * [row.scale for row in rows]))
    ratio = value(rows, "mae_ratio_true_slices", training_mean_curve=MEAN_CURVE)
    assert ratio == pytest.approx(errors.sum() / mean_errors.sum())


def test_a_class_that_was_not_said_ranks_as_the_wrong_one_with_certainty():
    said = dataclasses.replace(PERFECT, true_slices_probability_hcc=0.9)
    unsaid = dataclasses.replace(PERFECT, case="b", true_slices_probability_hcc=NAN)
    other = dataclasses.replace(said, case="c", true_class="hemangioma", true_slices_probability_hcc=0.1)
    # Of the pairs (said, other) and (unsaid, other) the first is in order.
    assert value([said, unsaid, other], "auroc_true_slices") == 0.5
    assert value([said, unsaid, other], "accuracy_true_slices") == pytest.approx(2 / 3)


def test_nothing_is_said_of_a_mask_that_was_given():
    overlap = dict.fromkeys(("dice", "iou", "nsd", "hd95_mm"))
    rows = [dataclasses.replace(row, mask_given=True, **overlap) for row in (PERFECT, HEALTHY)]
    of_masks = ("dsc_mean", "iou_mean", "nsd_2mm", "hd95_mm", "missed_subjects", "false_positive_subjects")
    of_masks += ("lesion_sensitivity", "lesion_precision", "lesion_f1")
    metrics = summarise(rows, n_resamples=20)
    assert [metrics[key]["n"] for key in of_masks] == [0] * len(of_masks)
    assert metrics["accuracy"]["value"] == 1.0
