from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from scripts.studies.dicom.evidence import facts_of
from scripts.studies.dicom.exclusion import name_of, sort_out
from scripts.studies.dicom.stack import Stack

Make = Callable[..., Stack]

CORONAL = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)


@pytest.fixture
def dynamic(make_stack: Make) -> list[Stack]:
    """Four phases that are not in question."""
    times_s = (-60.0, 32.0, 70.0, 180.0)
    return [make_stack("t1_vibe_dyn", series=10 + n, after_bolus_s=t, contrast=t > 0) for n, t in enumerate(times_s)]


def _reason(dynamic: list[Stack], stack: Stack) -> str:
    candidates, left = sort_out(facts_of([*dynamic, stack]))
    assert [fact.stack for fact in candidates] == dynamic
    assert [item.stack for item in left] == [stack]
    return left[0].reason


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"description": "3-plane loc"}, "localiser"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "localiser"),
        ({"ScanningSequence": "EP"}, "diffusion"),
        ({"description": "t2_haste"}, "T2-weighted"),
        ({"ScanningSequence": "SE"}, "spin echo"),
        ({"description": "t1_vibe art sub"}, "subtraction"),
        ({"ImageType": ["DERIVED", "PRIMARY", "M", "SUB"]}, "subtraction"),
        ({"ImageType": ["DERIVED", "SECONDARY", "PROJECTION IMAGE", "MIP"]}, "projection"),
        ({"ImageType": ["DERIVED", "SECONDARY", "MPR"]}, "reformat"),
        ({"ImageType": ["DERIVED", "PRIMARY", "OTHER"]}, "derived image"),
        ({"ImageType": ["DERIVED", "PRIMARY", "DIXON", "FAT"]}, "fat image of a Dixon set"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "P"]}, "phase image"),
        ({"description": "t1 opp phase"}, "opposed-phase image"),
        ({"description": "something", "vendor": "stripped"}, "nothing says that it is a T1-weighted"),
        ({"slices": 3}, r"too few slices: 3, at least 8"),
        ({"slices": 9}, "broken off or partial: 54 mm along the slices, the other candidates 120 mm"),
        ({"faults": ("2 missing slices: a gap of 18.0 mm",)}, "unusable geometry: 2 missing slices"),
        ({"BodyPartExamined": "PELVIS"}, r"other anatomy \(BodyPartExamined PELVIS\)"),
        ({"description": "t1 vibe Becken"}, r'other anatomy \(the description has the term "becken"\)'),
        ({"first_mm": (-150.0, -120.0, -400.0)}, "lies elsewhere"),
        ({"orientation": CORONAL, "first_mm": (-150.0, -60.0, 120.0)}, "coronal, while the other candidates are axial"),
    ],
)
def test_left_out_with_the_reason(make_stack: Make, dynamic: list[Stack], settings: dict, reason: str) -> None:
    stack = make_stack(**{"description": "t1_vibe_fs", "series": 30, "after_bolus_s": 250.0, **settings})
    assert re.search(reason, _reason(dynamic, stack))


def test_the_same_series_twice(make_stack: Make, dynamic: list[Stack]) -> None:
    again = make_stack("t1_vibe_dyn", series=910, after_bolus_s=32.0, contrast=True)
    assert _reason(dynamic, again) == "duplicate of series 11"


def test_the_same_images_in_another_series_without_times(make_stack: Make) -> None:
    first, again = (make_stack("vibe", series=n, SOPInstanceUID="1.2.9") for n in (5, 6))
    candidates, left = sort_out(facts_of([first, again]))
    assert [fact.stack for fact in candidates] == [first]
    assert left[0].reason == "duplicate of series 5"


def test_a_copy_filed_after_later_phases_without_times(make_stack: Make) -> None:
    names = ("pre", "art", "portal", "delayed", "art")
    stacks = [make_stack(f"LAVA {name}", series=n) for n, name in enumerate(names, start=1)]
    candidates, left = sort_out(facts_of(stacks))
    assert [fact.stack for fact in candidates] == stacks[:4]
    assert left[0].reason == "duplicate of series 2"


def test_a_repeat_that_follows_at_once_is_no_copy(make_stack: Make) -> None:
    stacks = [make_stack(f"LAVA {name}", series=n) for n, name in enumerate(("pre", "pre", "art", "portal"), start=1)]
    assert len(sort_out(facts_of(stacks))[0]) == 4


def test_dixon_water_goes_before_its_siblings(make_stack: Make) -> None:
    stacks = []
    for moment, time_s in enumerate((-60.0, 32.0, 70.0, 180.0)):
        for number, component in enumerate(("IN_PHASE", "OPP_PHASE", "FAT", "WATER")):
            image_type = ["DERIVED" if component in ("FAT", "WATER") else "ORIGINAL", "PRIMARY", "DIXON", component]
            stacks.append(
                make_stack("vibe_dixon", series=10 * moment + number, after_bolus_s=time_s, ImageType=image_type)
            )
    candidates, left = sort_out(facts_of(stacks))
    assert [fact.stack for fact in candidates] == stacks[3::4]
    assert len(left) == 12


def test_without_fat_suppression_what_there_is_is_taken(make_stack: Make) -> None:
    stacks = [
        make_stack("flash in phase", series=n, after_bolus_s=t, ScanOptions=None) for n, t in enumerate((-60, 32, 70))
    ]
    assert len(sort_out(facts_of(stacks))[0]) == 3


def test_what_all_share_leaves_none_out(make_stack: Make) -> None:
    """An archive that calls every image derived and the body part a chest."""
    tags = {"ImageType": ["DERIVED", "SECONDARY"], "BodyPartExamined": "CHEST"}
    stacks = [make_stack("t1_vibe", series=n, after_bolus_s=t, **tags) for n, t in enumerate((-60, 32, 70, 180))]
    assert len(sort_out(facts_of(stacks))[0]) == 4


def test_all_coronal_is_a_coronal_study(make_stack: Make) -> None:
    settings = {"orientation": CORONAL, "first_mm": (-150.0, -60.0, 120.0)}
    stacks = [make_stack("t1_vibe", series=n, after_bolus_s=t, **settings) for n, t in enumerate((-60, 32, 70, 180))]
    assert len(sort_out(facts_of(stacks))[0]) == 4


def test_four_series_with_one_time_and_names_of_their_own_are_no_copies(make_stack: Make) -> None:
    pre = make_stack("LAVA pre", series=1, after_bolus_s=-60.0)
    names = ("Ph1 LAVA", "Ph2 LAVA", "Ph3 LAVA")
    stacks = [pre, *(make_stack(name, series=n, after_bolus_s=20.0) for n, name in enumerate(names, start=2))]
    assert len(sort_out(facts_of(stacks))[0]) == 4


def test_what_a_person_named_is_kept(make_stack: Make, dynamic: list[Stack]) -> None:
    stack = make_stack("MPR", series=30, after_bolus_s=250.0)
    candidates, _ = sort_out(facts_of([*dynamic, stack]), keep=[stack])
    assert stack in [fact.stack for fact in candidates]


def test_names_of_stacks(make_stack: Make) -> None:
    assert name_of(make_stack("PLANTED", series=7)) == "series 7"
    assert name_of(make_stack("PLANTED", series=7, part=1)) == "series 7, part 2"
    assert name_of(make_stack("PLANTED", series=None)) == "a series without number"
