"""Which series of real DICOM files becomes which phase, and what a user is told and can say about it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from scripts.domain.phases import PHASES
from scripts.studies.dicom import importing
from scripts.studies.dicom.importing import ImportOutcome


def siemens(dicom_phantom: ModuleType, folder: Path) -> object:
    """Series 7 to 11 of one description and without the start of the bolus, the last ones both delayed."""
    parts = dicom_phantom.styles.phase_parts(dicom_phantom.Subject())
    times_s = {"pre": -60.0, "arterial": 25.0, "portal_venous": 65.0, "delayed": 120.0, "later": 180.0}
    parts["later"] = replace(parts["delayed"], phase="")
    series = [
        dicom_phantom.Series(
            number=number,
            role="dynamic",
            description="t1_vibe_fs_tra_bh_dyn",
            parts=(replace(parts[name], seconds=time_s),),
            contrast=time_s > 0,
            bolus_time=False,
        )
        for number, (name, time_s) in enumerate(times_s.items(), start=7)
    ]
    return dicom_phantom.filing.write_study(folder, series, dicom_phantom.Subject(), dicom_phantom.Filing())


@pytest.mark.parametrize("spoil", ["truncate", "remove_slice"])
def test_no_phase_takes_the_place_of_a_broken_one(
    only_failure: Callable[[ImportOutcome], str],
    spoil: str,
    dicom_phantom: ModuleType,
    sent: Callable[..., ImportOutcome],
    tmp_path: Path,
) -> None:
    bad, written = dicom_phantom.bad_input, siemens(dicom_phantom, tmp_path / "in")
    if spoil == "truncate":
        bad.truncate(written.of_role("arterial").files[6])
    else:
        bad.remove_slice(written.of_role("arterial"), 6)
    outcome = sent()
    reason = only_failure(outcome)
    assert reason.startswith("series 8 cannot be used: 1 ")
    assert "no arterial phase found" in reason
    assert [row.series_number for row in outcome.failed[0].candidates] == [7, 9, 10, 11]
    assert "8" in [str(each["series_number"]) for each in outcome.failed[0].left]


def test_a_whole_siemens_study_is_taken(
    dicom_phantom: ModuleType, sent: Callable[..., ImportOutcome], tmp_path: Path
) -> None:
    siemens(dicom_phantom, tmp_path / "in")
    numbers = [phase["series_number"] for phase in sent().records[0]["phases"].values()]
    assert numbers in ([7, 8, 9, 10], [7, 8, 9, 11])


def test_numbers_in_advice_survive_a_study_of_the_same_number(
    only_failure: Callable[[ImportOutcome], str],
    dicom_phantom: ModuleType,
    sent: Callable[..., ImportOutcome],
    tmp_path: Path,
) -> None:
    filing = dicom_phantom.Filing(patient=dicom_phantom.Patient(name="PLANTED^OTHER"))
    written = dicom_phantom.ambiguous(tmp_path / "in", filing=filing)
    for number, series in enumerate(written.series):
        dicom_phantom.bad_input.edit(series.files, SeriesNumber=1001 + number, StudyID="1001", AccessionNumber="1002")
    reason = only_failure(sent())
    assert "[removed]" not in reason
    assert re.search(r"--phases '\{.*\"100\d\".*\}'", reason)


def test_series_that_share_a_number_are_named_by_their_uid(
    only_failure: Callable[[ImportOutcome], str],
    dicom_phantom: ModuleType,
    sent: Callable[..., ImportOutcome],
    tmp_path: Path,
) -> None:
    filing = dicom_phantom.Filing(patient=dicom_phantom.Patient(name="PLANTED^OTHER"))
    written = dicom_phantom.ambiguous(tmp_path / "in", filing=filing, candidates=4)
    for series in written.series:
        dicom_phantom.bad_input.edit(series.files, SeriesNumber=10)
    uids = {series.uid for series in written.series}
    for options in ({}, {"phases": {"arterial": "10"}}):
        outcome = sent(**options)
        reason = only_failure(outcome)
        assert "[removed]" not in reason
        assert "<UID>" in reason
        assert {row.override for row in outcome.failed[0].candidates} == uids
        assert not any(uid in reason for uid in uids)
        assert all(uid in importing.outcome_table(outcome) for uid in uids)
    assert "arterial: '10' is 4 volumes. Name it by its UID" in reason
    phases = {phase: series.uid for phase, series in zip(PHASES, written.series, strict=True)}
    outcome = sent(phases=phases)
    assert outcome.failed == ()
    assert outcome.studies[0].sources["delayed"].series_uid == phases["delayed"]


def test_a_series_number_that_is_none_is_no_bug(study: object, sent: Callable[..., ImportOutcome]) -> None:
    for file in study.of_role("arterial").files:
        content = file.read_bytes()
        place = content.index(b"\x20\0\x11\0IS")
        assert content[place + 6 : place + 10] == b"\x02\x0010"
        file.write_bytes(content[: place + 8] + b"AB" + content[place + 10 :])
    outcome = sent(phases={"delayed": "12"})
    assert outcome.failed == ()
    assert outcome.records[0]["phases"]["arterial"]["series_number"] is None


def test_a_series_given_by_the_user_settles_it(
    study: object, sent: Callable[..., ImportOutcome], tmp_path: Path
) -> None:
    given = {"pre": "7", "arterial": study.phases["portal_venous"].series.uid}
    given |= {"portal_venous": 10, "delayed": "12"}
    outcome = sent(phases=given)
    assert outcome.failed == ()
    assert outcome.records[0]["phases"]["arterial"]["series_number"] == 11


def test_an_ambiguous_study_comes_with_its_candidates(
    only_failure: Callable[[ImportOutcome], str],
    dicom_phantom: ModuleType,
    sent: Callable[..., ImportOutcome],
    tmp_path: Path,
) -> None:
    dicom_phantom.ambiguous(tmp_path / "in")
    outcome = sent()
    assert "--phases" in only_failure(outcome)
    assert {row.series_number for row in outcome.failed[0].candidates} == set(range(5, 10))
    table = importing.outcome_table(outcome)
    assert "likely phase" in table
    assert not (tmp_path / "out").exists()
