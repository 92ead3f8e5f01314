"""A time-resolved examination of thousands of large images: twenty temporal positions of 120 slices of 512 x 512."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import nibabel as nib

from scripts.studies.dicom.importing import import_studies


def test_the_four_phases_are_picked_out_of_twenty(dicom_phantom: ModuleType, tmp_path: Path) -> None:
    dicom_phantom.large_series(tmp_path / "in")
    outcome = import_studies(tmp_path / "in", tmp_path / "out", register="none", progress=False)
    (study,), (record,) = outcome.studies, outcome.records
    times_s = {phase: chosen["time_s"] for phase, chosen in record["phases"].items()}
    assert times_s == {"pre": 0.0, "arterial": 30.0, "portal_venous": 66.0, "delayed": 174.0}
    assert [nib.load(file).shape for file in study.case.phase_files] == [(512, 512, 120)] * 4
    reasons = [left["reason"] for left in record["left"]]
    assert len(reasons) == 16
    assert reasons[0] == "another pre image, 30 s before the injection: series 9, part 3 is preferred"


def test_what_cannot_be_told_apart_is_listed(dicom_phantom: ModuleType, tmp_path: Path) -> None:
    dicom_phantom.large_series(tmp_path / "in", slices=12, size=64, bolus_time=False)
    outcome = import_studies(tmp_path / "in", tmp_path / "out", register="none", progress=False)
    (failed,) = outcome.failed
    assert "not sure which images are which phase" in failed.reason
    assert [row.override for row in failed.candidates] == [f"9:{part}" for part in range(1, 21)]
    assert not (tmp_path / "out").exists()
