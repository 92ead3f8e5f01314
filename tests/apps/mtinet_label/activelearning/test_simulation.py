"""A simulation in miniature: two rounds, one seed."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import simulation

from lib.activelearning.simulation import curves
from lib.activelearning.simulation.arms import START, STRATEGIES, Arms
from lib.activelearning.simulation.sizes import Sizes
from scripts.domain.errors import ConfigurationError
from scripts.studies.layout import read_dataset

SMALL = Sizes(
    image_size=32,
    start=4,
    added=3,
    rounds=2,
    seeds=1,
    start_steps=3,
    round_steps=2,
    batch_size=4,
    candidates=8,
    test_subjects=3,
    samples=2,
    widths=(4, 4, 4, 4),
)


@pytest.fixture(scope="module")
def played(coarse_cohort, tmp_path_factory):
    arms = Arms(read_dataset(coarse_cohort), tmp_path_factory.mktemp("played"), SMALL)
    arms.play()
    return arms


def test_too_few_studies_are_refused(coarse_cohort, tmp_path):
    with pytest.raises(ConfigurationError, match="needs 19 studies in train and val"):
        Arms(read_dataset(coarse_cohort), tmp_path, replace(SMALL, rounds=5))


def test_a_folder_of_other_sizes_is_refused(played, coarse_cohort):
    with pytest.raises(ConfigurationError, match="other sizes"):
        Arms(read_dataset(coarse_cohort), played.folder, replace(SMALL, added=2))


def test_the_command_says_so_in_one_line(played, coarse_cohort):
    with pytest.raises(SystemExit, match="error: the folder holds a simulation of other sizes"):
        simulation.main(
            ["--dataset_dir", str(coarse_cohort), "--output_dir", str(played.folder), "--rounds", "1", "--added", "1"]
        )


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_round_adds_studies_that_were_not_labelled_yet(played, strategy):
    before = played.finished(0, START, 0).labelled
    assert len(before) == 4
    for number in (1, 2):
        labelled = played.finished(0, strategy, number).labelled
        assert labelled[: len(before)] == before
        assert len(set(labelled)) == len(before) + 3
        assert not set(labelled) & {subject.case.case for subject in played.test}
        before = labelled


def test_all_are_scored_on_the_same_subjects_with_a_tumour(played):
    scored = [played.finished(0, strategy, 2) for strategy in STRATEGIES]
    assert len({tuple(sorted(each.dice)) for each in scored}) == 1
    assert all(0 <= dice <= 1 for each in scored for dice in each.dice.values())
    assert all(each.correct.keys() == each.dice.keys() for each in scored)


def test_what_was_stopped_goes_on_and_ends_with_the_same_numbers(played, coarse_cohort):
    file = played.folder / "rounds" / "0-2-uncertainty.json"
    before = file.read_text()
    others = {path: path.stat().st_mtime_ns for path in file.parent.iterdir() if "0-2-uncertainty" not in path.name}
    file.unlink()
    Arms(read_dataset(coarse_cohort), played.folder, SMALL).play()
    assert file.read_text() == before
    assert all(path.stat().st_mtime_ns == changed for path, changed in others.items())


def test_the_curves_have_intervals_around_their_values(played, tmp_path):
    summary = curves.summarise(played)
    assert summary["rounds_played"] == summary["rounds_planned"] == 8
    for strategy, rows in summary["curves"].items():
        assert [row["labelled"] for row in rows] == [4, 7, 10]
        for row in rows:
            low, high = row["dice"]["ci95"]
            assert low <= row["dice"]["value"] <= high
        assert ("dice_minus_random" in rows[1]) == (strategy != "random")
    curves.write(summary, tmp_path / "curves.json")
    curves.draw(summary, tmp_path / "curves.png")
    assert json.loads((tmp_path / "curves.json").read_text())["curves"] == summary["curves"]
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_a_round_that_random_has_not_played_is_left_out(played, monkeypatch):
    finished = Arms.finished

    def without(self, seed, strategy, number):
        return None if (strategy, number) == ("random", 2) else finished(self, seed, strategy, number)

    monkeypatch.setattr(Arms, "finished", without)
    summary = curves.summarise(played)
    assert summary["rounds_played"] == 7
    assert [row["labelled"] for row in summary["curves"]["uncertainty"]] == [4, 7]
