"""A study refined: what changes, and who gives a lesion its class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lib.clicks import ReaderClick, read_clicks
from lib.errors import BadRequestError, BusyError
from lib.refining import StudyRefiner
from scripts.domain.classes import LABELS
from scripts.domain.errors import CheckpointError

ELSEWHERE = (46, 36, 11)
"""A voxel of the reference file in the liver, far from the lesion."""


def clicks_at(opened, *, lesion=(), none=(), tumour_class=None):
    request = {"foreground": [list(map(int, p)) for p in lesion], "background": [list(map(int, p)) for p in none]}
    return read_clicks(request | {"label": tumour_class}, opened, None)


def middle(truth):
    return tuple(int(i) for i in np.argwhere(truth).mean(axis=0).round())


def test_a_click_outside_the_reference_is_refused(refiner, opened):
    with pytest.raises(BadRequestError, match="outside the reference phase"):
        refiner.refine(opened, [ReaderClick((1e4, 0.0, 0.0), lesion=True)])


def test_missing_weights_are_an_error_of_the_server(opened, refiner):
    empty = StudyRefiner(refiner.analyser, Path("nowhere.pt"))
    with pytest.raises(CheckpointError, match="no such weights"):
        empty.refine(opened, clicks_at(opened, lesion=[ELSEWHERE]))


def test_without_clicks_the_automatic_answer(refiner, opened):
    refined = refiner.refine(opened, [])
    assert refined.analysed is refiner.analyser.analysed
    assert refined.class_by == ("network",)


def test_a_new_lesion_gets_the_kinetic_rules_class_and_the_old_one_keeps_its_own(refiner, opened, truth):
    refined = refiner.refine(opened, clicks_at(opened, lesion=[ELSEWHERE]))
    mask = refined.analysed.mask
    assert mask[ELSEWHERE] > 0
    assert mask[middle(truth)] == LABELS["hemangioma"]
    by = dict(zip(refined.class_by, refined.analysed.result.lesions, strict=True))
    assert set(by) == {"network", "rule"}
    assert by["rule"].predicted_class == by["rule"].rule_class
    assert mask[ELSEWHERE] == LABELS[by["rule"].rule_class]


def test_without_the_rule_the_heads_decide(without_delayed, opened):
    refined = without_delayed.refine(opened, clicks_at(opened, lesion=[ELSEWHERE]))
    assert set(refined.class_by) == {"network"}
    assert refined.analysed.mask[ELSEWHERE] == LABELS["hemangioma"]


def test_what_the_reader_says_counts_most(refiner, opened, truth):
    clicks = clicks_at(opened, lesion=[middle(truth)], tumour_class="hcc")
    refined = refiner.refine(opened, clicks)
    assert refined.class_by == ("reader",)
    assert refined.analysed.result.predicted_class == "hcc"
    assert set(np.unique(refined.analysed.mask)) == {0, LABELS["hcc"]}


def test_a_click_that_says_none_takes_the_lesion_away_there(refiner, opened, truth):
    refined = refiner.refine(opened, clicks_at(opened, none=[middle(truth)]))
    assert refined.analysed.mask[middle(truth)] == 0
    assert np.count_nonzero(refined.analysed.mask) < truth.sum()


def test_a_rough_mask_takes_the_masks_place_with_its_classes(refiner, opened):
    rough = np.zeros((96, 80, 20), dtype=np.uint8)
    rough[56:66, 36:44, 8:12] = LABELS["hcc"]
    refined = refiner.refine(opened, [], rough)
    mask = refined.analysed.mask
    assert refined.class_by == ("reader",)
    assert set(np.unique(mask)) == {0, LABELS["hcc"]}
    overlap = np.count_nonzero((mask > 0) & (rough > 0))
    assert 2 * overlap / (np.count_nonzero(mask) + np.count_nonzero(rough)) > 0.8


def test_a_viewer_that_sends_the_mask_back_is_not_the_reader(refiner, opened):
    clicks = clicks_at(opened, lesion=[ELSEWHERE])
    first = refiner.refine(opened, clicks)
    again = refiner.refine(opened, clicks, first.analysed.mask)
    assert again.class_by == first.class_by
    assert [x.predicted_class for x in again.analysed.result.lesions] == [
        x.predicted_class for x in first.analysed.result.lesions
    ]


def test_a_class_that_the_reader_changed_in_the_mask_counts(refiner, opened, truth):
    drawn = np.where(truth, LABELS["hcc"], 0).astype(np.uint8)
    refined = refiner.refine(opened, [], drawn)
    assert refined.class_by == ("reader",)
    assert refined.analysed.mask[middle(truth)] == LABELS["hcc"]


def test_the_same_clicks_always_give_the_same_answer(refiner, opened, truth):
    clicks = clicks_at(opened, lesion=[ELSEWHERE], none=[middle(truth)])
    first, second = (refiner.refine(opened, clicks).analysed for _ in range(2))
    assert np.array_equal(first.mask, second.mask)
    assert first.result == second.result


def test_refinements_wait_in_the_line_of_the_analyses(refiner, opened, truth):
    """Each holds a thread of the server while it waits, and nobody else would be answered."""
    clicks = clicks_at(opened, lesion=[middle(truth)])
    with refiner.analyser.queue.turn(), pytest.raises(BusyError):
        refiner.refine(opened, clicks)
    assert refiner.refine(opened, clicks).analysed.result.lesions


def test_the_automatic_analysis_is_left_as_it_is(refiner, opened, truth):
    before = refiner.analyser.analysed.mask.copy()
    refiner.refine(opened, clicks_at(opened, lesion=[middle(truth)], tumour_class="hcc"))
    assert np.array_equal(refiner.analyser.analysed.mask, before)


def test_the_result_says_that_it_was_refined(refiner, opened):
    refined = refiner.refine(opened, clicks_at(opened, lesion=[ELSEWHERE]))
    assert any("refined" in note for note in refined.analysed.result.notes)
