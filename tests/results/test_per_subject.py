import csv

from scripts.results.per_subject import write_per_subject
from scripts.results.scores import SubjectScore

NAN = float("nan")


def row(**changes) -> SubjectScore:
    values = {
        "case": "a", "slice_index": None, "true_class": "hcc", "predicted_class": "hcc", "probability_hcc": 0.9,
        "rule_class": None, "dice": 2 / 3, "iou": 0.5, "nsd": 0.25, "hd95_mm": 4.0, "true_lesions": 2,
        "predicted_lesions": 1, "matched_lesions": 1, "true_curve": (0.0, 1.0, 2.0, NAN), "head_curve": None,
        "mask_curve": (0.5, 1.5, 2.5, NAN), "scale": 10.0,
    }  # fmt: skip
    return SubjectScore(**(values | changes))


def test_no_row_is_an_empty_table(tmp_path):
    write_per_subject([], tmp_path / "per_subject.csv")
    assert (tmp_path / "per_subject.csv").read_text().strip() == ""


def test_each_row_has_a_column_per_phase_and_what_is_unknown_stays_empty(tmp_path):
    write_per_subject([row(), row(case="b", dice=None)], tmp_path / "per_subject.csv")
    with (tmp_path / "per_subject.csv").open(newline="") as file:
        first, second = csv.DictReader(file)
    assert (first["case"], first["dice"], first["true_lesions"]) == ("a", "0.666667", "2")
    assert (first["true_arterial"], first["true_delayed"], first["head_pre"], first["mask_pre"]) == ("1", "", "", "0.5")
    assert (first["rule_class"], first["correct"], first["rule_correct"]) == ("", "True", "")
    assert (second["case"], second["dice"]) == ("b", "")
