from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from pydicom.dataset import Dataset

from scripts.studies.dicom.evidence import bolus_start_s, facts_of, seconds, sentences
from scripts.studies.dicom.stack import Stack

BOLUS_S = 36930.0

Make = Callable[..., Stack]


@pytest.mark.parametrize("text", ["", "noon", "1", "10153", "101530.x", "-10"])
def test_what_is_no_time(text: str) -> None:
    assert seconds(text) is None


@pytest.mark.parametrize(
    ("text", "time_s"), [("10", 36000.0), ("1015", 36900.0), ("101530", 36930.0), ("10:15:30.25", 36930.25)]
)
def test_dicom_times(text: str, time_s: float) -> None:
    assert seconds(text) == time_s


def test_values_that_make_no_sense_are_as_good_as_none(make_stack: Make) -> None:
    (fact,) = facts_of([make_stack("x", RepetitionTime="", FlipAngle=None, ContrastBolusStartTime="soon")])
    assert (fact.tr_ms, fact.flip_deg, fact.bolus_start_s) == (None, None, None)


@pytest.mark.parametrize("vendor", ["siemens", "ge", "philips", "canon", "united_imaging"])
def test_spoiled_gradient_echoes_of_the_vendors(make_stack: Make, vendor: str) -> None:
    (fact,) = facts_of([make_stack("", vendor=vendor)])
    assert fact.t1
    assert fact.fat_suppressed
    assert fact.weighting == ""


def test_enhanced_mr_names_its_sequence_otherwise(make_stack: Make) -> None:
    tags = {
        "ScanningSequence": None,
        "SequenceVariant": None,
        "ScanOptions": None,
        "EchoPulseSequence": "GRADIENT",
        "Spoiling": "RF",
        "SpectrallySelectedSuppression": "FAT",
        "ContrastBolusAgentPhase": "PORTAL_VENOUS",
    }
    (fact,) = facts_of([make_stack("", **tags)])
    assert fact.t1
    assert fact.fat_suppressed
    assert fact.phase_word == "portal_venous"


@pytest.mark.parametrize(
    ("tags", "weighting"),
    [
        ({"ScanningSequence": "EP"}, "diffusion-weighted or echo planar"),
        ({"DiffusionBValue": 800.0}, "diffusion-weighted or echo planar"),
        ({"ScanningSequence": "SE"}, "spin echo, not a gradient echo"),
        ({"EchoPulseSequence": "SPIN"}, "spin echo, not a gradient echo"),
        ({"EchoTime": 21.0}, "echo time of 21 ms: T2-weighted"),
        ({"SequenceVariant": "SS", "FlipAngle": 60.0}, "balanced steady state, not spoiled"),
        ({"AcquisitionContrast": "T2"}, "not T1-weighted"),
    ],
)
def test_other_weightings_are_named(make_stack: Make, tags: dict, weighting: str) -> None:
    (fact,) = facts_of([make_stack("vibe", **tags)])
    assert fact.weighting == weighting
    assert not fact.t1


@pytest.mark.parametrize(
    ("tags", "contrast"),
    [
        ({}, False),
        ({"ContrastBolusAgent": "NONE"}, False),
        ({"ContrastBolusVolume": "0"}, False),
        ({"ContrastBolusAgent": "Primovist"}, True),
        ({"ContrastBolusVolume": "7.1"}, True),
        ({"ContrastBolusAgent": "Primovist", "ContrastBolusAgentAdministered": "NO"}, False),
        ({"ContrastBolusAgent": "Primovist", "ContrastBolusAgentPhase": "PRE_CONTRAST"}, False),
    ],
)
def test_contrast_tags(make_stack: Make, tags: dict, contrast: bool) -> None:
    (fact,) = facts_of([make_stack("", **tags)])
    assert fact.contrast is contrast


def test_the_bolus_of_enhanced_mr_lies_in_nested_sequences(make_stack: Make) -> None:
    profile, agent = Dataset(), Dataset()
    profile.ContrastBolusStartTime = "101530"
    agent.ContrastAdministrationProfileSequence = [profile]
    (fact,) = facts_of([make_stack("", ContrastBolusAgentSequence=[agent])])
    assert fact.bolus_start_s == BOLUS_S
    assert fact.contrast


def test_start_of_the_bolus(make_stack: Make) -> None:
    times_s = (-60.0, 31.0, 70.0)
    facts = facts_of([make_stack("", series=n, after_bolus_s=t, bolus_time=True) for n, t in enumerate(times_s)])
    assert bolus_start_s(facts) == BOLUS_S


def test_a_start_of_the_bolus_that_cannot_be_is_not_believed(make_stack: Make) -> None:
    hours = [make_stack("", series=n, after_bolus_s=t, bolus_time=True) for n, t in enumerate((4000.0, 4040.0))]
    assert bolus_start_s(facts_of(hours)) is None
    own = [
        make_stack("", series=n, after_bolus_s=30.0 + 40 * n, ContrastBolusStartTime=f"10{16 + n}00") for n in range(3)
    ]
    assert bolus_start_s(facts_of(own)) is None


@pytest.mark.parametrize("dated", [True, False])
@pytest.mark.parametrize("first", [1, 2, 3])
def test_midnight_in_the_study(make_stack: Make, first: int, dated: bool) -> None:
    """Midnight 10 s before the image of that number; ContrastBolusStartTime never has a date."""
    times_s = (-60.0, 33.0, 71.0, 182.0)
    bolus_s = 86_400.0 + 10.0 - times_s[first]
    clocks_s = [bolus_s + time_s if dated else (bolus_s + time_s) % 86_400 for time_s in times_s]
    start = f"{int(bolus_s % 86_400) // 3600:02d}{int(bolus_s % 86_400) // 60 % 60:02d}{int(bolus_s % 60):02d}"
    stacks = [
        make_stack("", series=n, after_bolus_s=clock_s - BOLUS_S, ContrastBolusStartTime=start)
        for n, clock_s in enumerate(clocks_s)
    ]
    facts = facts_of(stacks)
    assert bolus_start_s(facts) == bolus_s
    assert [fact.clock_s - bolus_s for fact in facts] == list(times_s)


def test_slices_on_both_sides_of_midnight_have_one_clock(make_stack: Make) -> None:
    stack = make_stack("", slices=20)
    frames = [replace(f, acquisition_time_s=(86_390.0 + n) % 86_400) for n, f in enumerate(stack.frames)]
    assert replace(stack, frames=tuple(frames)).acquisition_time_s == 86_399.5


def test_trigger_times_tell_the_parts_of_one_acquisition_time(make_stack: Make) -> None:
    parts = [
        make_stack("", part=part, after_bolus_s=-60.0, trigger_time_ms=trigger_ms)
        for part, trigger_ms in enumerate((0.0, 92e3, 130e3))
    ]
    facts = facts_of(parts)
    assert [fact.clock_s for fact in facts] == [BOLUS_S - 60, BOLUS_S + 32, BOLUS_S + 70]
    assert not any(fact.clock_shared for fact in facts)


def test_one_acquisition_time_without_triggers_is_that_of_the_first_part(make_stack: Make) -> None:
    facts = facts_of([make_stack("", part=part, after_bolus_s=-60.0) for part in range(3)])
    assert [fact.clock_shared for fact in facts] == [False, True, True]


def test_one_time_for_all_series_is_none(make_stack: Make) -> None:
    facts = facts_of([make_stack("", series=number, after_bolus_s=0.0) for number in range(3)])
    assert [fact.clock_s for fact in facts] == [None] * 3


def test_readers_are_told_of_the_portal_venous_phase_in_their_word(make_stack: Make) -> None:
    (fact,) = facts_of([make_stack("vibe PV", ContrastBolusAgentPhase="PORTAL_VENOUS")])
    said = sentences(fact, [])
    assert "the header names the contrast phase: portal-venous" in said
    assert 'the description has the term "pv" for the portal-venous phase' in said


def test_sentences_are_neutral_and_name_what_was_seen(make_stack: Make) -> None:
    planted = make_stack("PLANTED Muster vibe_aterial", contrast=True, ProtocolName="PLANTED")
    fact, other = facts_of([planted, make_stack("vibe", series=8)])
    said = sentences(fact, [other])
    assert 'the description has the term "arterial" for the arterial phase' in said
    assert "contrast agent tagged" in said
    assert 'T1-weighted gradient echo ("vibe", TR 3.71 ms, TE 1.35 ms, flip angle 12 degrees)' in said
    assert "fat-suppressed" in said
    assert "planted" not in " ".join(said).lower()
    assert "muster" not in " ".join(said).lower()
    assert "no contrast agent tagged, but other candidates have one" in sentences(other, [fact])
