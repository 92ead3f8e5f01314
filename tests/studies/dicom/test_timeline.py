from __future__ import annotations

from collections.abc import Callable
from itertools import combinations_with_replacement, pairwise

import numpy as np
import pytest

from scripts.domain.phases import PHASES
from scripts.studies.dicom import timeline
from scripts.studies.dicom.evidence import facts_of
from scripts.studies.dicom.stack import Stack
from scripts.studies.dicom.timeline import STATES, WINDOWS, place

Make = Callable[..., Stack]


def _states(stacks: list[Stack], **options: object) -> dict[int, str]:
    return {item.facts.stack.series_number: item.state for item in place(facts_of(stacks), **options)}


def test_nothing_to_place() -> None:
    assert place([]) == []


def test_order_alone_is_not_sure(make_stack: Make) -> None:
    placed = place(facts_of([make_stack("vibe", series=n) for n in range(4)]))
    assert [item.state for item in placed] == list(PHASES)
    assert min(item.probability(item.state) for item in placed) < 0.75
    assert [item.time_s for item in placed] == [None] * 4


def test_series_without_numbers_and_times_have_no_order(make_stack: Make) -> None:
    stacks = [make_stack("vibe", series=None, uid=n) for n in range(4)]
    assert max(item.probability(item.state) for item in place(facts_of(stacks))) <= 0.5
    named = [make_stack(name, series=None, uid=n) for n, name in enumerate(("late", "art", "portal", "nativ"))]
    placed = place(facts_of(named))
    assert [item.state for item in placed] == list(PHASES)
    assert min(item.probability(item.state) for item in placed) > 0.9


def test_a_name_against_a_known_time_is_not_sure(make_stack: Make) -> None:
    names, times_s = ("pre", "portal", "arterial", "delayed"), (-60, 32, 70, 180)
    stacks = [
        make_stack(f"vibe {name}", series=n, after_bolus_s=t, bolus_time=True, contrast=True)
        for n, (name, t) in enumerate(zip(names, times_s, strict=True))
    ]
    placed = place(facts_of(stacks))
    assert min(item.probability(item.state) for item in placed) < 0.75


@pytest.mark.parametrize("state", STATES)
def test_windows_end_softly(state: str) -> None:
    window = WINDOWS[state]
    middle_s = np.clip(0.5 * (max(window.first_s, -100) + min(window.last_s, 1200)), window.first_s, window.last_s)
    assert window.fit(middle_s) == 0.0
    times_s = np.linspace(window.last_s, window.last_s + 60, 5) if np.isfinite(window.last_s) else [600.0]
    fits = [window.fit(time_s) for time_s in times_s]
    assert all(later <= earlier for earlier, later in pairwise(fits))
    assert min(fits) >= timeline.LEAST_FIT


def test_times_since_the_bolus_decide(make_stack: Make) -> None:
    times_s = {1: -90, 2: 17, 3: 34, 4: 72, 5: 185, 6: 310, 7: 1200}
    stacks = [make_stack("vibe", series=n, after_bolus_s=t, bolus_time=True) for n, t in times_s.items()]
    assert _states(stacks) == {
        1: "pre",
        2: "early_arterial",
        3: "arterial",
        4: "portal_venous",
        5: "delayed",
        6: "delayed",
        7: "hepatobiliary",
    }


def test_without_the_bolus_the_times_between_decide(make_stack: Make) -> None:
    stacks = [make_stack("vibe", series=n, after_bolus_s=t) for n, t in enumerate((-300, 33, 71, 190, 1190))]
    placed = place(facts_of(stacks))
    assert [item.state for item in placed] == [*PHASES, "hepatobiliary"]
    assert [item.time_known for item in placed] == [False] * 5
    assert placed[2].time_s - placed[1].time_s == pytest.approx(38.0)
    assert placed[1].time_s == pytest.approx(30.0)


def test_clocks_go_before_series_numbers(make_stack: Make) -> None:
    times_s = {9: -60, 8: 32, 7: 70, 6: 180}
    stacks = [make_stack("vibe", series=n, after_bolus_s=t, bolus_time=True) for n, t in times_s.items()]
    assert _states(stacks) == dict(zip((9, 8, 7, 6), PHASES, strict=True))


def test_times_in_the_descriptions_stand_in_for_clocks(make_stack: Make) -> None:
    stacks = [make_stack(f"LAVA {text}", series=n) for n, text in enumerate(("", "30s", "70s", "3min", "20min"))]
    assert list(_states(stacks).values()) == [*PHASES, "hepatobiliary"]


def test_one_breath_hold_time_in_all_descriptions_says_nothing(make_stack: Make) -> None:
    with_time, without = (
        place(facts_of([make_stack(text, series=n) for n in range(4)])) for text in ("LAVA 20s", "LAVA")
    )
    for first, second in zip(with_time, without, strict=True):
        assert first.probabilities == pytest.approx(second.probabilities)


def test_contrast_tags_part_before_and_after(make_stack: Make) -> None:
    stacks = [make_stack("vibe", series=n, contrast=n > 1) for n in range(5)]
    placed = place(facts_of(stacks))
    assert [item.state for item in placed][:2] == ["pre", "pre"]
    untagged = place(facts_of([make_stack("vibe", series=n) for n in range(5)]))
    assert placed[1].probability("pre") > 2 * untagged[1].probability("pre")
    assert placed[2].probability("pre") < 0.5 * untagged[2].probability("pre")


def test_a_persons_word_goes_first(make_stack: Make) -> None:
    stacks = [make_stack("vibe", series=n, after_bolus_s=t, bolus_time=True) for n, t in enumerate((-60, 20, 35, 70))]
    assert _states(stacks, named={"arterial": stacks[1]})[1] == "arterial"


def test_probabilities_are_those_of_all_ways_listed(make_stack: Make) -> None:
    """Parity with the sum over every non-decreasing sequence of states."""
    rng = np.random.default_rng(3)
    fits = rng.uniform(-4, 0, (5, len(STATES)))
    weights = np.zeros((5, len(STATES)))
    total = 0.0
    for way in combinations_with_replacement(range(len(STATES)), 5):
        score = sum(fits[number, state] for number, state in enumerate(way))
        score += timeline.REPEATED * sum(a == b for a, b in pairwise(way))
        visited = {STATES[state] for state in way}
        score += sum(cost for state, cost in timeline.VISITED.items() if state in visited)
        for phase in PHASES:
            # An early arterial image stands for the arterial phase unless the study begins with the next one.
            stands_in = phase == "arterial" and "early_arterial" in visited
            if phase not in visited and not stands_in:
                score += timeline.SKIPPED
        total += np.exp(score)
        for number, state in enumerate(way):
            weights[number, state] += np.exp(score)
    found_total, found = timeline._ways(fits)
    assert found_total == pytest.approx(total)
    assert found == pytest.approx(weights / total)
