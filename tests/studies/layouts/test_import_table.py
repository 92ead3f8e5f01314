from __future__ import annotations

from pathlib import Path

from scripts.studies.case import Case
from scripts.studies.layouts.import_table import Taken, table_text, write_table
from scripts.studies.layouts.source_case import LeftOut

TAKEN = [
    Taken(Case("a", label_file=Path("l"), tumour_class="hcc", split="train"), ("delayed resampled",)),
    Taken(Case("b", tumour_class="", split="test"), ("delayed resampled", "pre covers 80%")),
    Taken(Case("c", label_file=Path("l"), tumour_class="none", split="test"), ("pre covers 70%",)),
]
LEFT = [LeftOut(f"x{number}", "category Hepatic_cyst.") for number in range(7)]


def test_every_case_has_its_row(tmp_path, imported):
    write_table(tmp_path, TAKEN, LEFT)
    rows = imported(tmp_path)
    assert len(rows) == 10
    assert rows["a"] == {
        "case": "a",
        "taken": "yes",
        "class": "hcc",
        "split": "train",
        "label": "yes",
        "remarks": "delayed resampled",
    }
    assert (rows["b"]["label"], rows["b"]["class"]) == ("no", "")
    assert (rows["x3"]["taken"], rows["x3"]["remarks"]) == ("no", "category Hepatic_cyst.")


def test_the_terminal_counts_and_groups():
    lines = table_text(TAKEN, LEFT).splitlines()
    assert lines[0] == "3 of 10 cases taken"
    assert lines[1].split() == ["class", "train", "test"]
    assert lines[2].split() == ["hcc", "1", "0"]
    assert "unknown" in lines[4]
    assert "  1 without a label" in lines
    assert "     2  delayed resampled (a, b)" in lines
    assert "     2  pre covers …% (b, c)" in lines
    assert "     7  category Hepatic_cyst. (x0, x1, x2, x3, x4, … 2 more)" in lines


def test_one_reason_keeps_its_numbers():
    assert "delayed: shape 3" in table_text([], [LeftOut("a", "delayed: shape 3")])
