from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from scripts.domain.errors import ConfigurationError, StudyError
from scripts.domain.phases import PHASES
from scripts.studies.dicom import pixels
from scripts.studies.dicom.frames import scan
from scripts.studies.dicom.selection import Selection, choose_phases
from scripts.studies.dicom.stack import Stack
from scripts.studies.dicom.stacks import stacks_of

Make = Callable[..., Stack]

TIMES_S = (-60.0, 33.0, 71.0, 182.0)


@pytest.fixture(autouse=True)
def no_pixels(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Header sets have no pixels; files have."""
    if "dicom_phantom" in request.fixturenames:
        return

    def unreadable(stack: Stack) -> np.ndarray:
        raise StudyError("no pixels")

    monkeypatch.setattr(pixels, "read_volume", unreadable)


def _numbers(selection: Selection) -> dict[str, int | None]:
    return {phase: chosen.stack.series_number for phase, chosen in selection.phases.items()}


def _reasons(selection: Selection) -> dict[int | None, str]:
    return {item.stack.series_number: item.reason for item in selection.left}


def _dynamic(make_stack: Make, description: str = "t1_vibe_dyn", **settings: object) -> list[Stack]:
    return [
        make_stack(description, series=n, after_bolus_s=t, contrast=t > 0, bolus_time=t > 0, **settings)
        for n, t in enumerate(TIMES_S, start=1)
    ]


def _untold(make_stack: Make, count: int = 5) -> list[Stack]:
    return [make_stack("PLANTED t1 fs", series=n) for n in range(1, count + 1)]


# Wrong input


def test_stacks_of_two_studies_are_refused(make_stack: Make) -> None:
    stacks = [make_stack(series=1), make_stack(series=2, StudyInstanceUID="9.9")]
    with pytest.raises(StudyError, match="several studies"):
        choose_phases(stacks)


def test_no_stacks_and_no_candidates_are_refused(make_stack: Make) -> None:
    for stacks in ([], [make_stack("loc", series=1), make_stack("dwi", series=2)]):
        selection = choose_phases(stacks)
        assert not selection.confident
        assert selection.problem.startswith("no T1-weighted image of a contrast phase found. Check")
        assert selection.phases == {}
        assert len(selection.left) == len(stacks)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"venous": "3"}, "there is no phase 'venous'. The phases are pre, arterial, portal_venous, delayed"),
        ({"arterial": "99"}, r"arterial: there is no series '99' in the study. There is 1, 2, 3, 4, 7:1, 7:2, 8\."),
        ({"arterial": "7"}, "arterial: '7' is 2 volumes. Name one, with its part after a colon"),
        ({"arterial": "7:3"}, "arterial: '7:3' is no such part"),
        ({"arterial": "2", "delayed": "2"}, "delayed: '2' is given to two phases"),
        ({"arterial": "8"}, "arterial: series 8 cannot be used: 1 missing slice"),
        ({"arterial": "1.2.77"}, "arterial: there is no series '<UID>' in the study"),
    ],
)
def test_overrides_that_name_what_there_is_not(make_stack: Make, overrides: dict, message: str) -> None:
    stacks = _dynamic(make_stack)
    stacks += [make_stack("vibe", series=7, part=n, after_bolus_s=300.0 + n) for n in range(2)]
    stacks += [make_stack("vibe", series=8, faults=("1 missing slice",))]
    with pytest.raises(ConfigurationError, match=message):
        choose_phases(stacks, overrides=overrides)


def test_what_nothing_tells_apart_is_refused_with_the_way_to_say_it(make_stack: Make) -> None:
    selection = choose_phases(_untold(make_stack))
    assert not selection.confident
    assert selection.phases == {}
    assert "\n" not in selection.problem
    example = json.loads(re.search(r"--phases '(\{.*\})'", selection.problem)[1])
    assert set(example) <= set(PHASES)
    assert [row.override for row in selection.candidates] == ["1", "2", "3", "4", "5"]
    assert selection.table().splitlines()[0].split() == ["--phases", "slices", "time", "likely", "phase", "score"]
    assert len(selection.table().splitlines()) == 6


def test_order_alone_is_refused(make_stack: Make) -> None:
    assert not choose_phases(_untold(make_stack, 4)).confident


def test_three_of_four_without_names_and_times_are_refused(make_stack: Make) -> None:
    assert not choose_phases(_untold(make_stack, 3)).confident


def test_without_an_arterial_phase_there_is_no_reference(make_stack: Make) -> None:
    stacks = [make_stack(f"vibe {name}", series=n) for n, name in enumerate(("pre", "portal", "delayed"), start=1)]
    selection = choose_phases(stacks)
    assert not selection.confident
    assert selection.problem.startswith("no arterial phase found, to which the others are registered. Look")


def test_one_phase_is_no_study(make_stack: Make) -> None:
    selection = choose_phases([make_stack("vibe arterial", series=1)])
    assert not selection.confident
    assert selection.problem


def test_pixels_that_cannot_be_read_leave_it_at_the_headers(make_stack: Make, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    selection = choose_phases(_untold(make_stack, 4))
    assert not selection.confident
    assert "by the signal of series 1: its pixel data cannot be read" in caplog.text


def test_one_image_that_cannot_be_read_costs_its_own_signal_only(
    make_stack: Make, phase_volume: Callable[..., np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One before the others; among them it might be a phase, and the others' signal is measured by all phases."""
    shown = {2: 0, 3: 1, 4: 2, 5: 3}

    def read(stack: Stack) -> np.ndarray:
        if stack.series_number not in shown:
            raise StudyError("no pixels")
        return phase_volume(shown[stack.series_number], stack.shape)

    monkeypatch.setattr(pixels, "read_volume", read)
    selection = choose_phases(_untold(make_stack, 5))
    assert _numbers(selection) == dict(zip(PHASES, (2, 3, 4, 5), strict=True))
    del shown[3]
    assert not choose_phases(_untold(make_stack, 5)).confident


# Broken series

SIEMENS_S = (-60.0, 25.0, 65.0, 120.0, 180.0)
FAULT = ("1 missing slice: a gap of 12.0 mm",)


def _siemens(
    make_stack: Make, spoilt: int, spoil: dict, *, clocks: str = "clock", contrast: bool = True
) -> list[Stack]:
    """Series 7 to 11 of one description; number ``spoilt`` of them, from 0, is made with ``spoil``."""
    return [
        make_stack(
            "t1_vibe_fs_tra_bh_dyn",
            series=7 + number,
            after_bolus_s=None if clocks == "none" else time_s,
            contrast=contrast and time_s > 0,
            bolus_time=clocks == "bolus" and time_s > 0,
            **(spoil if number == spoilt else {}),
        )
        for number, time_s in enumerate(SIEMENS_S)
    ]


@pytest.mark.parametrize("clocks", ["bolus", "clock", "none"])
@pytest.mark.parametrize("contrast", [True, False])
@pytest.mark.parametrize("spoil", [{"faults": FAULT}, {"slices": 9}], ids=["a slice missing", "half of them missing"])
@pytest.mark.parametrize("spoilt", range(5))
def test_no_phase_takes_the_place_of_a_broken_one(
    make_stack: Make, spoilt: int, spoil: dict, contrast: bool, clocks: str
) -> None:
    selection = choose_phases(_siemens(make_stack, spoilt, spoil, clocks=clocks, contrast=contrast))
    right = {"pre": {7}, "arterial": {8}, "portal_venous": {9}, "delayed": {10, 11}}
    assert all(number in right[phase] for phase, number in _numbers(selection).items())
    if spoilt < 3:
        assert not selection.confident or selection.missing == (PHASES[spoilt],)
    assert 7 + spoilt not in [row.series_number for row in selection.candidates]
    assert [item.stack.series_number for item in selection.left if item.broken] == [7 + spoilt]


def test_a_broken_arterial_phase_is_missing(make_stack: Make) -> None:
    selection = choose_phases(_siemens(make_stack, 1, {"faults": FAULT}))
    assert selection.problem.startswith("no arterial phase found, to which the others are registered")
    assert _reasons(selection)[8] == f"unusable geometry: {FAULT[0]}"
    assert "number 2 of 4 candidates in time" in selection.candidates[1].evidence


def test_a_broken_image_that_is_not_the_best_costs_nothing(make_stack: Make) -> None:
    stacks = _dynamic(make_stack)
    tags = {"contrast": True, "bolus_time": True, "faults": FAULT}
    copy = make_stack("t1_vibe_dyn", series=20, after_bolus_s=33.0, **tags)
    late = make_stack("t1_vibe_dyn", series=21, after_bolus_s=300.0, **tags)
    fat = make_stack("t1_vibe_dyn_F", series=22, after_bolus_s=50.0, **tags)
    few = make_stack("t1_vibe_dyn", series=23, after_bolus_s=50.0, slices=5, **tags)
    selection = choose_phases([*stacks, copy, late, fat, few])
    assert _numbers(selection) == dict(zip(PHASES, (1, 2, 3, 4), strict=True))
    assert [item.stack.series_number for item in selection.left if item.broken] == [21]


def test_the_better_one_of_two_is_missed_where_it_is_broken(make_stack: Make) -> None:
    stacks = _dynamic(make_stack)
    early = make_stack("t1_vibe_dyn", series=20, after_bolus_s=17.0, contrast=True, bolus_time=True)
    broken = make_stack("t1_vibe_dyn", series=2, after_bolus_s=33.0, contrast=True, bolus_time=True, faults=FAULT)
    selection = choose_phases([stacks[0], early, broken, *stacks[2:]])
    assert selection.problem.startswith("no arterial phase found")


def test_a_series_that_was_broken_off_and_repeated_costs_nothing(make_stack: Make) -> None:
    stacks = _dynamic(make_stack)
    tags = {"contrast": True, "bolus_time": True}
    broken_off = make_stack("t1_vibe_dyn", series=20, after_bolus_s=70.0, slices=9, **tags)
    repeated = make_stack("t1_vibe_dyn", series=21, after_bolus_s=88.0, **tags)
    selection = choose_phases([*stacks[:2], broken_off, repeated, stacks[3]])
    assert _numbers(selection) == dict(zip(PHASES, (1, 2, 21, 4), strict=True))


def test_a_broken_series_without_positions_has_its_place_in_time(make_stack: Make) -> None:
    stacks = _siemens(make_stack, 1, {"faults": ("no usable ImagePositionPatient in 20 of 20 images",)})
    frames = tuple(replace(frame, position_mm=None, orientation=None) for frame in stacks[1].frames)
    stacks[1] = replace(stacks[1], frames=frames)
    assert choose_phases(stacks).problem.startswith("no arterial phase found")


# Realistic studies

VENDOR_STUDIES = {
    "siemens": ("t1_vibe_fs_tra_bh_pre", *("t1_vibe_fs_tra_bh_dyn",) * 3),
    "ge": ("Ax LAVA PRE", "Ax LAVA ART", "Ax LAVA PV", "Ax LAVA DELAY"),
    "philips": ("eTHRIVE nativ", "eTHRIVE art", "eTHRIVE ven", "eTHRIVE spät"),
    "canon": ("Quick 3D 造影前", "Quick 3D 動脈相", "Quick 3D 門脈相", "Quick 3D 平衡相"),
    "united_imaging": ("t1_quick3d_fs 平扫", "t1_quick3d_fs 动脉期", "t1_quick3d_fs 门脉期", "t1_quick3d_fs 延迟期"),
    "stripped": ("C-pre", "C+A", "C+V", "C+Delay"),
}

CLOCKS = ("bolus", "clock", "none")


# Without times three Siemens series of one name are told apart by their signal only.
@pytest.mark.parametrize(
    ("vendor", "clocks"), [pair for pair in product(VENDOR_STUDIES, CLOCKS) if pair != ("siemens", "none")]
)
def test_studies_of_the_vendors(make_stack: Make, vendor: str, clocks: str) -> None:
    stacks = [
        make_stack(
            description,
            series=100 * number,
            vendor=vendor,
            after_bolus_s=None if clocks == "none" else time_s,
            contrast=number > 1,
            bolus_time=clocks == "bolus" and number > 1,
        )
        for number, (description, time_s) in enumerate(zip(VENDOR_STUDIES[vendor], TIMES_S, strict=True), start=1)
    ]
    selection = choose_phases(stacks)
    assert selection.confident, selection.problem
    assert selection.problem == ""
    assert selection.missing == ()
    assert _numbers(selection) == dict(zip(PHASES, (100, 200, 300, 400), strict=True))
    assert all(0.75 <= chosen.confidence <= 1 for chosen in selection.phases.values())
    times_s = [chosen.time_s for chosen in selection.phases.values()]
    if clocks == "bolus":
        assert times_s == [0.0, 33.0, 71.0, 182.0]
    elif clocks == "clock":
        assert times_s == pytest.approx([0.0, 33.0, 71.0, 182.0], abs=16.0)
    else:
        assert times_s == [None] * 4


def test_one_series_with_trigger_times(make_stack: Make) -> None:
    stacks = [
        make_stack("Ax DISCO", vendor="ge", part=n, after_bolus_s=-60.0, contrast=True, trigger_time_ms=1e3 * (t + 60))
        for n, t in enumerate(TIMES_S)
    ]
    selection = choose_phases(stacks)
    assert [chosen.stack.part_index for chosen in selection.phases.values()] == [0, 1, 2, 3]


def test_two_dimensional_gradient_echoes_of_old(make_stack: Make) -> None:
    tags = {"RepetitionTime": 150.0, "EchoTime": 2.6, "FlipAngle": 70.0}
    assert choose_phases(_dynamic(make_stack, "dyn", **tags)).confident


def test_more_phases_than_four(make_stack: Make) -> None:
    times_s = {1: -60, 2: 16, 3: 34, 4: 50, 5: 70, 6: 88, 7: 185, 8: 300, 9: 1200}
    stacks = [
        make_stack("LAVA", series=n, vendor="ge", after_bolus_s=t, contrast=t > 0, bolus_time=t > 0)
        for n, t in times_s.items()
    ]
    selection = choose_phases(stacks)
    assert _numbers(selection) == {"pre": 1, "arterial": 3, "portal_venous": 5, "delayed": 7}
    reasons = _reasons(selection)
    assert reasons[2] == "early arterial, 16 s after the injection: series 3 is taken for the arterial phase"
    assert reasons[6] == "another portal-venous image, 88 s after the injection: series 5 is preferred"
    assert reasons[8] == "another delayed image, 300 s after the injection: series 7 is preferred"
    assert reasons[9] == "hepatobiliary phase, 1200 s after the injection: not one of the four"


def test_late_arterial_by_name(make_stack: Make) -> None:
    names = ("nativ", "früharteriell", "spätarteriell", "portalvenös", "spätvenös", "hepatobiliär 20min")
    stacks = [make_stack(f"vibe {name}", series=n) for n, name in enumerate(names, start=1)]
    selection = choose_phases(stacks)
    assert _numbers(selection) == {"pre": 1, "arterial": 3, "portal_venous": 4, "delayed": 5}
    assert _reasons(selection)[6] == "hepatobiliary phase: not one of the four"


@pytest.mark.parametrize("bolus_time", [True, False])
@pytest.mark.parametrize("arterial_s", [(18, 30), (22, 34), (28, 40)])
def test_late_arterial_by_time(make_stack: Make, bolus_time: bool, arterial_s: tuple[int, int]) -> None:
    stacks = [
        make_stack("LAVA", series=n, after_bolus_s=t, contrast=t > 0, bolus_time=bolus_time and t > 0)
        for n, t in enumerate((-60, *arterial_s, 71, 180), start=1)
    ]
    selection = choose_phases(stacks)
    assert _numbers(selection) == {"pre": 1, "arterial": 3, "portal_venous": 4, "delayed": 5}


def test_an_early_arterial_phase_is_better_than_none(make_stack: Make) -> None:
    stacks = [
        make_stack("LAVA", series=n, after_bolus_s=t, contrast=t > 0, bolus_time=t > 0)
        for n, t in enumerate((-60, 17, 70, 180), start=1)
    ]
    selection = choose_phases(stacks)
    assert selection.confident
    assert _numbers(selection)["arterial"] == 2
    assert "early arterial: the study has no late arterial image" in selection.phases["arterial"].evidence


def test_a_dynamic_series_of_twenty_phases(make_stack: Make) -> None:
    stacks = [
        make_stack("Ax DISCO", vendor="ge", part=n, after_bolus_s=-30.0 + 12.0 * n, contrast=True, bolus_time=True)
        for n in range(20)
    ]
    selection = choose_phases(stacks)
    assert [chosen.time_s for chosen in selection.phases.values()] == [0.0, 30.0, 66.0, 174.0]


def test_a_missing_phase_is_said(make_stack: Make) -> None:
    stacks = _dynamic(make_stack)
    selection = choose_phases([stacks[0], stacks[1], stacks[3]])
    assert selection.confident
    assert selection.missing == ("portal_venous",)
    assert _numbers(selection) == {"pre": 1, "arterial": 2, "delayed": 4}


def test_repeats_and_decoys_are_left(make_stack: Make) -> None:
    """The later complete one of two breath-holds; a broken-off one is none."""
    stacks = [
        make_stack("3-plane loc", series=1, slices=3),
        make_stack("t2_haste", series=2, after_bolus_s=-400.0, ScanningSequence="SE", EchoTime=90.0),
        make_stack("vibe pre", series=3, after_bolus_s=-120.0),
        make_stack("vibe pre", series=4, after_bolus_s=-80.0),
        make_stack("vibe art", series=5, after_bolus_s=20.0, slices=9, contrast=True),
        make_stack("vibe art", series=6, after_bolus_s=34.0, contrast=True),
        make_stack("vibe art", series=7, after_bolus_s=34.0, contrast=True, ImageType=["DERIVED", "PRIMARY", "SUB"]),
        make_stack("vibe portal", series=8, after_bolus_s=70.0, contrast=True),
        make_stack("vibe late", series=9, after_bolus_s=180.0, contrast=True),
        make_stack("vibe late", series=10, after_bolus_s=180.0, contrast=True),
        make_stack("vibe cor", series=11, after_bolus_s=220.0, contrast=True, orientation=(1, 0, 0, 0, 0, -1)),
        make_stack("vibe Becken", series=12, after_bolus_s=260.0, contrast=True, BodyPartExamined="PELVIS"),
    ]
    selection = choose_phases(stacks)
    assert _numbers(selection) == {"pre": 4, "arterial": 6, "portal_venous": 8, "delayed": 9}
    assert _reasons(selection)[3].endswith("series 4 is preferred")
    assert len(selection.left) == 8
    assert "the last of 2 candidates for the phase" in selection.phases["pre"].evidence


def test_fat_suppressed_goes_before_plain(make_stack: Make) -> None:
    plain = make_stack("flash pre", series=20, after_bolus_s=-20.0, ScanOptions=None)
    selection = choose_phases([*_dynamic(make_stack), plain])
    assert _numbers(selection)["pre"] == 1
    assert "the only fat-suppressed one of 2 candidates for the phase" in selection.phases["pre"].evidence


# Evidence and overrides


def test_evidence_says_what_the_choice_rests_on(make_stack: Make) -> None:
    evidence = choose_phases(_dynamic(make_stack)).phases["portal_venous"].evidence
    assert "contrast agent and start of the bolus tagged" in evidence
    assert "71 s after the injection (AcquisitionTime - ContrastBolusStartTime)" in evidence
    assert "number 3 of 4 candidates in time" in evidence


def test_supposed_times_are_said_to_be(make_stack: Make) -> None:
    stacks = [make_stack("vibe", series=n, after_bolus_s=t, contrast=t > 0) for n, t in enumerate(TIMES_S, start=1)]
    evidence = choose_phases(stacks).phases["delayed"].evidence
    assert "242 s after series 1, the first candidate" in evidence
    assert any("supposed" in line for line in evidence)


def test_overrides_settle_what_is_doubtful(make_stack: Make) -> None:
    stacks = _untold(make_stack)
    overrides = {"pre": "1", "arterial": 2, "portal_venous": stacks[3].series_uid, "delayed": "5"}
    selection = choose_phases(stacks, overrides=overrides)
    assert selection.confident
    assert _numbers(selection) == {"pre": 1, "arterial": 2, "portal_venous": 4, "delayed": 5}
    assert {chosen.confidence for chosen in selection.phases.values()} == {1.0}
    assert all("named by --phases" in chosen.evidence for chosen in selection.phases.values())


def test_one_override_leaves_the_others_to_the_evidence(make_stack: Make) -> None:
    stacks = _dynamic(make_stack)
    second = make_stack("vibe", series=20, after_bolus_s=40.0, contrast=True, bolus_time=True)
    selection = choose_phases([*stacks, second], overrides={"arterial": "20"})
    assert _numbers(selection) == {"pre": 1, "arterial": 20, "portal_venous": 3, "delayed": 4}


def test_an_override_takes_what_would_be_left(make_stack: Make) -> None:
    derived = make_stack("vibe", series=20, after_bolus_s=182.0, ImageType=["DERIVED", "SECONDARY"])
    selection = choose_phases([*_dynamic(make_stack), derived], overrides={"delayed": "20"})
    assert _numbers(selection)["delayed"] == 20


def test_parts_are_named_with_a_colon(make_stack: Make) -> None:
    stacks = [make_stack("t1", series=7, part=n) for n in range(5)]
    overrides = dict(zip(PHASES, ("7:1", "7:2", "7:4", "7:5"), strict=True))
    selection = choose_phases(stacks, overrides=overrides)
    assert [chosen.stack.part_index for chosen in selection.phases.values()] == [0, 1, 3, 4]


def test_series_of_one_number_are_named_by_their_uid(make_stack: Make) -> None:
    stacks = [make_stack("t1", series=7, uid=n) for n in range(5)]
    selection = choose_phases(stacks)
    assert [row.override for row in selection.candidates] == [stack.series_uid for stack in stacks]
    assert "1.2.3" not in selection.problem
    example = json.loads(re.search(r"--phases '(\{.*\})'", selection.problem)[1])
    assert set(example.values()) == {"<UID>"}
    message = r"arterial: '7' is 5 volumes\. Name it by its UID\. There is <UID>\.$"
    with pytest.raises(ConfigurationError, match=message):
        choose_phases(stacks, overrides={"arterial": "7"})
    by_uid = {phase: stack.series_uid for phase, stack in zip(PHASES, stacks, strict=False)}
    assert choose_phases(stacks, overrides=by_uid).confident


def test_the_threshold_is_an_option(make_stack: Make) -> None:
    assert not choose_phases(_dynamic(make_stack), threshold=0.9999).confident
    assert choose_phases(_untold(make_stack, 4), threshold=0.1).confident


def test_nothing_that_was_typed_is_repeated(make_stack: Make) -> None:
    """Names in descriptions, of patient and operator, in every kind of output."""
    names = ("Zyx^Muster", "MUSTER Zyx", "Dr. Zyx-Muster", "muster_zyx")
    tags = {"PatientName": "Muster^Zyx", "PatientID": "Zyx-77", "ProtocolName": "Muster", "OperatorsName": "Muster"}
    words = ("pre", "arterial", "portal", "delayed", "loc", "dwi", "sub", "Becken", "aterial", "MPR", "")
    stacks = [
        make_stack(f"{names[n % 4]} vibe {word}", series=n, after_bolus_s=30.0 * n, **tags)
        for n, word in enumerate(words)
    ]
    stacks += [make_stack(f"{names[0]} t1", series=90 + n, BodyPartExamined="MUSTER", **tags) for n in range(3)]
    for selection in (choose_phases(stacks), choose_phases(stacks[:4]), choose_phases(stacks[-3:])):
        said = [selection.problem, selection.table(), repr(selection.candidates)]
        said += [item.reason for item in selection.left]
        said += [line for chosen in selection.phases.values() for line in chosen.evidence]
        assert "muster" not in " ".join(said).lower()
        assert "zyx" not in " ".join(said).lower()


# Files of all styles


@pytest.mark.parametrize(
    "style",
    [
        "separate_series",
        "temporal_positions",
        "trigger_times",
        "acquisition_times",
        "untagged_repeats",
        "philips_series",
        "enhanced_multi_frame",
        "misspelt",
    ],
)
def test_all_four_phases_are_found_in_every_style(dicom_phantom: ModuleType, tmp_path: Path, style: str) -> None:
    study = dicom_phantom.STYLES[style](tmp_path)
    selection = choose_phases(stacks_of(scan(tmp_path, progress=False).frames))
    assert selection.confident, f"{selection.problem}\n{selection.table()}"
    for phase, truth in study.phases.items():
        stack = selection.phases[phase].stack
        assert (stack.series_uid, stack.part_index) == (truth.series.uid, truth.part), phase
    said = f"{selection.candidates} {[item.reason for item in selection.left]}"
    assert not any(word in said for word in study.patient.words)


@pytest.mark.parametrize("times", [True, False])
@pytest.mark.parametrize("language", ["german", "french", "spanish", "italian", "chinese", "japanese", "english"])
def test_misspelt_in_every_language(dicom_phantom: ModuleType, tmp_path: Path, language: str, times: bool) -> None:
    study = dicom_phantom.STYLES["misspelt"](tmp_path, language=language, times=times)
    selection = choose_phases(stacks_of(scan(tmp_path, progress=False).frames))
    assert selection.confident, f"{selection.problem}\n{selection.table()}"
    found = {phase: chosen.stack.series_uid for phase, chosen in selection.phases.items()}
    assert found == {phase: truth.series.uid for phase, truth in study.phases.items()}


@pytest.mark.parametrize("candidates", [4, 5, 7])
def test_the_ambiguous_style_is_refused(dicom_phantom: ModuleType, tmp_path: Path, candidates: int) -> None:
    dicom_phantom.ambiguous(tmp_path, candidates=candidates)
    selection = choose_phases(stacks_of(scan(tmp_path, progress=False).frames))
    assert not selection.confident
    assert selection.phases == {}
    assert "--phases" in selection.problem
    assert len(selection.candidates) == candidates
