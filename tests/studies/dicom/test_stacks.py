from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from scripts.studies.dicom.stack import Frame, Stack
from scripts.studies.dicom.stacks import stacks_of

SLICES, PHASES = 5, 4


def frame(k: int, number: int, *, position_mm: float | None = None, timing: dict | None = None, **tags) -> Frame:
    """Slice ``k`` of an axial series; ``number`` is its instance number."""
    header = Dataset()
    defaults = {
        "StudyInstanceUID": "1.2",
        "SeriesInstanceUID": "1.2.3",
        "SeriesNumber": 7,
        "PatientID": "A",
        "FrameOfReferenceUID": "1.9",
        "InstanceNumber": number,
        "ImageType": ["ORIGINAL", "PRIMARY", "M"],
        "EchoTime": 1.3,
    }
    for keyword, value in (defaults | tags).items():
        if value is not None:
            setattr(header, keyword, value)
    return Frame(
        file=Path(f"{number}.dcm"),
        index=0,
        header=header,
        position_mm=(1.0, 2.0, 3.0 * k if position_mm is None else position_mm),
        orientation=(1, 0, 0, 0, 1, 0),
        spacing_mm=(1.1, 0.9),
        shape=(20, 24),
        **(timing or {}),
    )


def series(timing: Callable[[int, int], dict] = lambda phase, k: {}, *, by_slice: bool = False, **tags) -> list[Frame]:
    """Phases of slices; instances run volume by volume, or slice by slice. ``StudyID`` holds the true phase."""
    pairs = [(phase, k) for phase in range(PHASES) for k in range(SLICES)]
    if by_slice:
        pairs.sort(key=lambda pair: pair[1])
    return [
        frame(k, number, timing=timing(phase, k), StudyID=str(phase), **tags)
        for number, (phase, k) in enumerate(pairs, start=1)
    ]


def shuffled(frames: list[Frame]) -> list[Frame]:
    return random.Random(3).sample(frames, len(frames))


def phases_of(stacks: list[Stack]) -> list[set[str]]:
    """The true phases in each stack."""
    return [{frame.header.StudyID for frame in stack.frames} for stack in stacks]


IN_ORDER = [{"0"}, {"1"}, {"2"}, {"3"}]


def test_patients_under_one_series_uid_are_not_mixed():
    """Two patients under one UID is a mistake of an anonymiser; their slices must not become one volume."""
    stacks = stacks_of([frame(k, k, PatientID="A" if k < 4 else "B") for k in range(8)])
    assert all(stack.faults == ("the series mixes patients",) for stack in stacks)
    assert [len(stack.frames) for stack in stacks] == [4, 4]
    assert [{frame.header.PatientID for frame in stack.frames} for stack in stacks] == [{"A"}, {"B"}]


def test_frames_of_reference_in_one_series_are_a_fault():
    stacks = stacks_of([frame(k, k, FrameOfReferenceUID=f"1.{k // 5}") for k in range(8)])
    assert [len(stack.frames) for stack in stacks] == [5, 3]
    assert all(stack.faults == ("the series mixes frames of reference",) for stack in stacks)


def test_orientations_in_one_series_are_a_fault():
    frames = [frame(k, k) for k in range(8)]
    frames[3] = replace(frames[3], orientation=(0, 1, 0, 1, 0, 0))
    stacks = stacks_of(frames)
    assert [len(stack.frames) for stack in stacks] == [7, 1]
    assert [stack.part for stack in stacks] == ["plane 1 of 2", "plane 2 of 2"]
    assert all("mixes orientations" in stack.faults[0] for stack in stacks)
    assert "1 missing slice" in stacks[0].faults[1]


def test_a_missing_position_is_a_fault_and_no_crash():
    frames = series()
    frames[3] = replace(frames[3], position_mm=None)
    (stack,) = stacks_of(frames)
    assert stack.faults == ("no usable ImagePositionPatient in 1 of 20 images",)


@pytest.mark.parametrize("trouble", ["same numbers", "no numbers", "no order", "one instance missing"])
def test_repeats_that_nothing_explains_are_a_fault(trouble):
    frames = series()
    if trouble == "same numbers":
        frames = [*map(frame, range(SLICES), range(SLICES)), *map(frame, range(SLICES), range(SLICES))]
    elif trouble == "no numbers":
        frames = series(InstanceNumber=None)
    elif trouble == "no order":
        numbers = random.Random(1).sample(range(len(frames)), len(frames))
        frames = [frame(k % SLICES, number) for k, number in enumerate(numbers)]
    else:
        del frames[7]
    (stack,) = stacks_of(frames)
    assert "no attribute tells the volumes apart" in stack.faults[0]


@pytest.mark.parametrize("by_slice", [False, True])
@pytest.mark.parametrize(
    ("name", "timing"),
    [
        ("temporal position", lambda phase, k: {"temporal_position": phase + 1}),
        ("trigger time", lambda phase, k: {"trigger_time_ms": 20_000.0 * phase}),
        ("acquisition time", lambda phase, k: {"acquisition_time_s": 36_000.0 + 20 * phase}),
        ("trigger time", lambda phase, k: {"temporal_position": 1, "trigger_time_ms": 9.5 * phase}),
        ("acquisition time", lambda phase, k: {"trigger_time_ms": 0.0, "acquisition_time_s": 5.0 * phase}),
        ("acquisition time", lambda phase, k: {"acquisition_time_s": 100.0 * phase + k}),
    ],
    ids=["temporal", "trigger", "acquisition", "constant temporal", "constant trigger", "a time per slice"],
)
def test_the_first_attribute_that_explains_the_repeats_splits(name, timing, by_slice):
    stacks = stacks_of(shuffled(series(timing, by_slice=by_slice)))
    assert phases_of(stacks) == IN_ORDER
    assert [stack.part for stack in stacks] == [f"{name} {phase} of 4" for phase in range(1, 5)]
    assert [stack.part_index for stack in stacks] == [0, 1, 2, 3]
    assert all(stack.faults == () and stack.shape == (24, 20, SLICES) for stack in stacks)


def test_acquisition_numbers_split():
    frames = [frame(n % SLICES, 1, StudyID=str(n // SLICES), AcquisitionNumber=n // SLICES) for n in range(20)]
    assert phases_of(stacks_of(shuffled(frames))) == IN_ORDER


def test_time_counts_for_the_order_not_the_instance_number():
    stacks = stacks_of(series(lambda phase, k: {"acquisition_time_s": 900.0 - phase}))
    assert phases_of(stacks) == IN_ORDER[::-1]


@pytest.mark.parametrize(("by_slice", "words"), [(False, "volume by volume"), (True, "slice by slice")])
@pytest.mark.parametrize("numbering", ["ascending", "descending slices"])
def test_untagged_repeats_are_split_by_the_order_of_instances(by_slice, words, numbering):
    frames = series(by_slice=by_slice)
    if numbering == "descending slices":
        frames = [replace(f, position_mm=(1.0, 2.0, -f.position_mm[2])) for f in frames]
    stacks = stacks_of(shuffled(frames))
    assert phases_of(stacks) == IN_ORDER
    assert [stack.part for stack in stacks] == [f"repeat {phase} of 4 (instances run {words})" for phase in range(1, 5)]
    assert all(stack.faults == () for stack in stacks)


def test_one_volume_is_not_split_by_times_of_its_slices():
    timing = {"trigger_time_ms": 1.0, "temporal_position": 1}
    (stack,) = stacks_of([frame(k, k, timing=timing | {"acquisition_time_s": 7.0 * (k % 2)}) for k in range(8)])
    assert (stack.part, stack.faults, stack.shape) == ("", (), (24, 20, 8))


def test_packages_of_a_volume_with_a_gap_stay_together():
    frames = [frame(k, k, timing={"acquisition_time_s": 7.0 * (k % 2)}) for k in range(9) if k != 7]
    (stack,) = stacks_of(frames)
    assert stack.faults == ("1 missing slice: a gap of 6.0 mm",)


@pytest.mark.parametrize("key", ["temporal_position", "acquisition_time_s"])
def test_a_missing_slice_is_missing_in_its_own_phase(key):
    frames = series(lambda phase, k: {key: phase + 1})
    del frames[2 * SLICES + 2]
    stacks = stacks_of(frames)
    assert phases_of(stacks) == IN_ORDER
    assert [stack.faults for stack in stacks] == [(), (), ("1 missing slice: a gap of 6.0 mm",), ()]


def test_a_doubled_slice_is_doubled_in_its_own_phase():
    frames = series(lambda phase, k: {"temporal_position": phase + 1})
    frames.append(frame(3, 99, timing={"temporal_position": 2}, StudyID="1"))
    assert [stack.faults for stack in stacks_of(frames)] == [(), ("1 doubled slice",), (), ()]


def test_phases_at_shifted_positions_are_split_by_temporal_position():
    frames = [
        frame(k, number, position_mm=3.0 * k + 1.1 * phase, timing={"temporal_position": phase + 1}, StudyID=str(phase))
        for number, (phase, k) in enumerate((phase, k) for phase in range(2) for k in range(SLICES))
    ]
    stacks = stacks_of(frames)
    assert phases_of(stacks) == [{"0"}, {"1"}]
    assert all(stack.faults == () for stack in stacks)


@pytest.mark.parametrize(
    ("tags", "parts"),
    [
        (
            [{"ImageType": ["ORIGINAL", "PRIMARY", word]} for word in ("IN_PHASE", "OPP_PHASE")],
            ["image type IN_PHASE", "image type OPP_PHASE"],
        ),
        ([{"EchoTime": 1.3}, {"EchoTime": 2.5}], ["echo 1.3 ms", "echo 2.5 ms"]),
        ([{"DiffusionBValue": 50.0}, {"DiffusionBValue": 800.0}], ["b 50", "b 800"]),
    ],
    ids=["in and opposed phase", "echoes", "b-values"],
)
def test_what_is_not_a_phase_is_split_and_named(tags, parts):
    frames = [frame(k, 10 * n + k, **own) for n, own in enumerate(tags) for k in range(SLICES)]
    stacks = stacks_of(shuffled(frames))
    assert [stack.part for stack in stacks] == parts
    assert all(stack.faults == () for stack in stacks)


def test_phases_of_several_image_types_are_split_both_ways():
    frames = []
    for word in ("WATER", "FAT"):
        frames += series(lambda phase, k: {"temporal_position": phase + 1}, ImageType=["DERIVED", "PRIMARY", word])
    stacks = stacks_of(frames)
    assert phases_of(stacks) == IN_ORDER * 2
    assert stacks[5].part == "image type WATER, temporal position 2 of 4"
    assert [stack.part_index for stack in stacks] == list(range(8))


def test_stacks_come_in_the_order_of_studies_and_series_numbers():
    frames = [
        frame(k, k, StudyInstanceUID=study, SeriesInstanceUID=f"{study}.{number or 0}", SeriesNumber=number)
        for study, number in (("1.3", 2), ("1.2", 11), ("1.2", None), ("1.2", 9))
        for k in range(3)
    ]
    stacks = stacks_of(frames)
    assert [(s.study_uid, s.series_number) for s in stacks] == [("1.2", 9), ("1.2", 11), ("1.2", None), ("1.3", 2)]


@pytest.mark.filterwarnings("ignore:Invalid value for VR IS")
@pytest.mark.parametrize("number", [b"ABC ", b"7\\8 ", b""])
def test_a_series_number_that_is_none_is_as_good_as_missing(number):
    frames = [frame(k, k) for k in range(SLICES)]
    for each in frames:
        # As it comes from a file: nothing is converted before it is asked for.
        each.header[0x0020, 0x0011] = RawDataElement(Tag(0x0020, 0x0011), "IS", len(number), number, 0, False, True)
    (stack,) = stacks_of(frames)
    assert stack.series_number is None
    assert stack.faults == ()


def test_an_echo_time_that_varies_in_its_last_digit_splits_nothing():
    (stack,) = stacks_of([frame(k, k, EchoTime=(1.884, 1.886)[k % 2]) for k in range(SLICES)])
    assert (stack.part, stack.faults) == ("", ())
    echoes_ms = ((1.884, 1.886), (3.084, 3.086))
    frames = [frame(k, 10 * n + k, EchoTime=echoes_ms[n][k % 2]) for n in range(2) for k in range(SLICES)]
    assert [stack.part for stack in stacks_of(frames)] == ["echo 1.88 ms", "echo 3.08 ms"]


@pytest.mark.parametrize("first", [0, 1, 2])
def test_midnight_inside_a_phase_mixes_no_phases(first):
    """A time per slice and no dates: midnight comes in the middle of one phase."""
    stacks = stacks_of(series(lambda phase, k: {"acquisition_time_s": (86_398 + 100 * (phase - first) + k) % 86_400.0}))
    assert phases_of(stacks) == IN_ORDER


def test_nothing_gives_nothing():
    assert stacks_of([]) == []
