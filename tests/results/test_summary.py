import json

from scripts.results.metrics import summarise
from scripts.results.summary import summary, write_summary


def test_holds_plain_numbers_and_null_for_what_is_unknown(tmp_path):
    numbers = summary(summarise([]) | {"accuracy": {"value": 0.9, "ci95": None, "n": 10}},
                      seconds_per_study=3.14159, peak_rss_mb=1234.56, subjects=10)  # fmt: skip
    write_summary(numbers, tmp_path / "summary.json")
    assert json.loads((tmp_path / "summary.json").read_text()) == {
        "dsc_mean": None,
        "accuracy": 0.9,
        "rule_accuracy": None,
        "mae_ratio": None,
        "seconds_per_study": 3.14,
        "peak_rss_mb": 1234.6,
        "subjects": 10,
    }
