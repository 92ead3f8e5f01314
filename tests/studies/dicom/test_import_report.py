from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from scripts.domain.phases import PHASES
from scripts.studies.dicom.import_report import figure_file_name, left_by_reason, outcome_table, write_import_report
from scripts.studies.dicom.importing import FailedStudy, ImportOutcome
from scripts.studies.dicom.selection import Candidate


def phase(name: str, **changes: Any) -> dict[str, Any]:
    reference = name == "arterial"
    moved = {
        "asked": "deformable",
        "method": "deformable",
        "similarity_before": 0.31,
        "similarity_after": 0.4567,
        "displacement_mm": {"median": 3.26, "p95": 7.0},
        "kept": True,
        "reason": "",
    }
    content = {
        "series_number": 7 + PHASES.index(name),
        "part": "",
        "slices": 20,
        "rows": 32,
        "columns": 40,
        "spacing_mm": [2.0, 2.0, 4.0],
        "orientation": "LPS",
        "reference": reference,
        "time_s": 32.4,
        "confidence": 0.875,
        "evidence": ["first of <four>", "no contrast agent"],
        "coverage": None if reference else {"share": 0.9, "missing_mm": {"feet": 12.0}},
        "registration": None if reference else moved,
    }
    return content | changes


def record(case: str, **changes: Any) -> dict[str, Any]:
    content = {
        "case": case,
        "salt": "0",
        "identity": None,
        "scanner": "Siemens 3T",
        "grid": {"shape": [40, 32, 20], "spacing_mm": [2.0, 2.0, 4.0], "affine": []},
        "phases": {name: phase(name) for name in PHASES},
        "left": [
            {"series_number": 1, "part": "", "slices": 3, "reason": "localiser"},
            {"series_number": 2, "part": "echo 2 of 2", "slices": 20, "reason": "localiser"},
            {"series_number": None, "part": "", "slices": 20, "reason": "diffusion"},
        ],
        "notes": ["times are nominal"],
    }
    return content | changes


CANDIDATES = (
    Candidate("5:1", 5, "part 1 of 2", 20, 34.0, False, "early arterial", 0.25, ()),
    Candidate("1.2.826.0.1", 5, "", 20, None, False, "delayed", 0.5, ()),
)

LEFT = {"series_number": 9, "part": "", "slices": 12, "reason": "a slice is missing"}


def outcome(folder: Path, **changes: Any) -> ImportOutcome:
    settings = {
        "studies": (SimpleNamespace(case=SimpleNamespace(case="case-1")),),
        "failed": (
            FailedStudy("case-2", 80, "cannot tell the phases. Use --phases", CANDIDATES, (LEFT,)),
            FailedStudy("case-3", 12, "two patients"),
        ),
        "already": ("case-0",),
        "skipped": {"not DICOM": 3, "CT, not MR": 40},
        "records": (record("case-1"),),
    }
    return ImportOutcome(folder, **(settings | changes))


def test_series_with_one_reason_stand_together() -> None:
    assert left_by_reason(record("case-1")["left"]) == [("1, 2 (echo 2 of 2)", "localiser"), ("–", "diffusion")]  # noqa: RUF001


def test_the_table_says_what_was_taken_what_was_left_and_why(tmp_path: Path) -> None:
    lines = outcome_table(outcome(tmp_path)).splitlines()
    text = "\n".join(" ".join(line.split()) for line in lines)
    for line in (
        "case phase series part slices time confidence registration",
        "case-1 pre 7 20 32 s 0.88 deformable, moved 3.3 mm",
        "case-1 arterial 8 20 32 s 0.88 reference",
        "case-1 portal-venous 9 20 32 s 0.88 deformable, moved 3.3 mm",
        "case-1 1, 2 (echo 2 of 2) localiser",
        "case-1 times are nominal",
        "Imported before and left as they are: case-0",
        "case-2 (80 images): cannot tell the phases. Use --phases",
        "5:1 part 1 of 2 20 ~34 s early arterial 0.25",
        "1.2.826.0.1 20 unknown delayed 0.50",
        "left out: series 9: a slice is missing",
        "40 CT, not MR",
        f"Imported 1 of 4 studies into {tmp_path}",
    ):
        assert line in text.splitlines()


def test_columns_stand_below_each_other(tmp_path: Path) -> None:
    lines = outcome_table(outcome(tmp_path)).splitlines()
    start = next(n for n, line in enumerate(lines) if "confidence" in line)
    column = lines[start].index("slices")
    assert {line[column : column + 2] for line in lines[start + 1 : start + 5]} == {"20"}


def test_without_any_study_there_is_no_report_to_look_at(tmp_path: Path) -> None:
    text = outcome_table(outcome(tmp_path, studies=(), already=(), records=()))
    assert "Imported 0 of 2 studies" in text
    assert "Look at" not in text


@pytest.fixture
def report(tmp_path: Path) -> str:
    for case in ("case-0", "case-1"):
        (tmp_path / case).mkdir()
    Image.new("RGB", (8, 6), "red").save(tmp_path / "case-1" / figure_file_name("delayed"))
    dropped = phase("delayed")
    dropped["registration"] |= {"method": "rigid", "kept": False, "reason": "deformable: the mutual information fell"}
    without = {name: phase(name, registration=None) for name in PHASES}
    records = [
        (record("case-0", phases=without, identity={"patient_id": "MRN-1"}, left=[], notes=[]), tmp_path / "case-0"),
        (record("case-1", phases=record("x")["phases"] | {"delayed": dropped}), tmp_path / "case-1"),
    ]
    write_import_report(tmp_path / "out" / "report.html", outcome(tmp_path), records)
    return " ".join((tmp_path / "out" / "report.html").read_text().split())


def test_the_report_holds_all_studies_and_needs_nothing_else(report: str) -> None:
    assert report.count("data:image/jpeg;base64,") == 1
    assert "http" not in report
    assert "1.2.826.0.1" not in report
    assert "<td>by its UID</td>" in report
    assert report.count("<h3>case-") == 4
    assert report.count('class="flag">new<') == 1
    assert "PatientID MRN-1" in report
    assert "2 studies in the dataset, 1 of them new; 2 could not be imported" in report


def test_the_report_shows_numbers_reasons_and_doubts(report: str) -> None:
    for words in (
        "first of &lt;four&gt;; no contrast agent",
        '<td class="n">0.310</td> <td class="n">0.457</td> <td class="n">3.3 mm</td> <td class="n">7.0 mm</td>',
        '<td>rigid <span class="warn">dropped: deformable: the mutual information fell</span></td>',
        "none: resampled by its position in the scanner",
        "90 %, 12 mm missing at the feet",
        "series 1, 2 (echo 2 of 2): localiser",
        "times are nominal",
        "cannot tell the phases. Use --phases",
        "series 9: a slice is missing",
        "40 CT, not MR",
        "Not a medical device",
    ):
        assert words in report
