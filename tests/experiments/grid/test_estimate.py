"""The dry run: numbers from finished runs, or from a miniature that is scaled up; nothing is written."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from scripts.experiments.grid import estimate as module
from scripts.experiments.grid.arms import choose_arms
from scripts.experiments.grid.estimate import Estimate, from_finished, measured, plan_table
from scripts.experiments.grid.launcher import Ended
from scripts.experiments.grid.plan import Settings, open_dataset, plan_runs
from scripts.experiments.grid.run_folder import RunFolder
from scripts.experiments.grid.runner import run_grid


@pytest.fixture
def runs(cohort, tmp_path):
    dataset = open_dataset(cohort, [0], name=None)
    settings = Settings(tmp_path / "out", overrides={"max_epochs": 7, "image_size": 32})
    return plan_runs(choose_arms("mti_net"), [0], [0, 1, 2], {None: dataset}, settings)


class FakeLauncher:
    """Takes 2 s to set up, 3 s an epoch, 4 s a validation, 5 s to evaluate a study; tells what it was asked."""

    def __init__(self, code: int = 0, pace: float | None = None) -> None:
        self.code = code
        self.pace = pace
        self.cases: list[list[str]] = []
        self.epochs_done = 0

    def run(self, name, arguments, log: Path) -> Ended:
        said = dict(zip(arguments[2::2], arguments[3::2], strict=True))
        with (Path(said["--dataset_dir"]) / "subjects.csv").open() as table:
            self.cases.append([row["split"] for row in csv.DictReader(table)])
        log.write_text("one line\nerror: planted\n")
        if arguments[1] == "evaluating":
            if self.pace is not None:
                (log.parent / "summary.json").write_text(json.dumps({"seconds_per_study": self.pace}))
            return Ended(self.code, 5.0, 400.0)
        begun, self.epochs_done = self.epochs_done, int(said["--max_epochs"])
        epochs = range(begun + 1, self.epochs_done + 1)
        validated = [epoch for epoch in epochs if epoch % int(said["--val_interval"]) == 0]
        return Ended(self.code, 2.0 + 3.0 * len(epochs) + 4.0 * len(validated), 300.0)


def finish(run, seconds: float, peak: float) -> None:
    run.folder.path.mkdir(parents=True)
    told = {"seconds_training": seconds, "seconds_evaluating": 1.0, "peak_rss_mb": peak}
    run.folder.write_json(run.folder.provenance, told)
    run.folder.finish(keep_checkpoints=False)


def test_finished_runs_are_the_better_estimate(runs):
    assert from_finished(runs) is None
    finish(runs[0], 9.0, 100.0)
    finish(runs[2], 19.0, 200.0)
    assert from_finished(runs) == Estimate(15.0, 200.0, "2 finished")


@pytest.mark.parametrize(("pace", "a_study_more"), [(None, 5.0), (0.5, 0.5)])
def test_a_miniature_is_scaled_up(runs, tmp_path, monkeypatch, pace, a_study_more):
    """Setting up an evaluation is no part of a study's time, where the evaluation tells the two apart."""
    launcher = FakeLauncher(pace=pace)
    monkeypatch.setattr(module, "launcher_for", lambda *_: launcher)
    estimate = measured(runs[0], tmp_path)
    trained, scored = len(runs[0].parts.training), len(runs[0].parts.scored)
    # Setting up, seven epochs of all subjects instead of four, and the studies behind the first one. Validated are
    # epochs 3 and 6, as train.yaml says, and the last.
    assert scored > 1
    expected = 2.0 + (7 * 3.0 + 3 * 4.0) * trained / 4 + 5.0 + a_study_more * (scored - 1)
    assert estimate == Estimate(expected, 400.0, "measured")
    assert len(launcher.cases) == 5
    assert all(len(splits) == 6 and splits.count("test") == 1 for splits in launcher.cases)
    assert not (tmp_path / "out").exists()


def test_an_arm_that_does_not_run_is_said_to(runs, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "launcher_for", lambda *_: FakeLauncher(code=1))
    estimate = measured(runs[0], tmp_path)
    assert estimate.seconds is None
    assert estimate.basis == "not measured: training ended with code 1: error: planted"


def test_an_arm_whose_miniature_says_nothing_is_not_tried(cohort, tmp_path):
    settings = Settings(tmp_path / "out")
    (run,) = plan_runs(choose_arms("nnunet"), [0], [0], {None: open_dataset(cohort, [0], name=None)}, settings)
    estimate = measured(run, tmp_path)
    assert (estimate.seconds, estimate.peak_rss_mb) == (None, None)
    assert estimate.basis.startswith("not measured: ")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("first_is_done", [False, True])
def test_an_arm_starts_from_the_weights_of_the_one_before_it(first_is_done, cohort, tmp_path, monkeypatch):
    folder = tmp_path / "overlays"
    folder.mkdir()
    (folder / "first.yaml").write_text("# Overlay.\narm: {name: First}\n")
    (folder / "second.yaml").write_text("# Overlay.\narm: {name: Second, after: first}\n")
    dataset = open_dataset(cohort, [0], name=None)
    first, second = plan_runs(
        choose_arms("second", folder=folder), [0], [0], {None: dataset}, Settings(tmp_path / "out")
    )
    place = tmp_path / "place"
    place.mkdir()
    weights = RunFolder((tmp_path / "out" if first_is_done else place) / "runs" / first.name).model
    weights.parent.mkdir(parents=True)
    weights.write_text("weights")
    asked = []

    class Launcher(FakeLauncher):
        def run(self, name, arguments, log):
            asked.extend(Path(arguments[n + 1]) for n, each in enumerate(arguments) if each == "--init_ckpt")
            return super().run(name, arguments, log)

    monkeypatch.setattr(module, "launcher_for", lambda *_: Launcher())
    assert measured(second, place).basis == "measured"
    assert [path.read_text() for path in asked] == ["weights"] * 4


def test_the_table_says_each_arm_and_all(runs):
    finish(runs[0], 1.0, 1.0)
    text = plan_table({runs[0].arm: runs}, {runs[0].arm: Estimate(600.0, 1500.0, "measured")}, slots=2)
    _, line, total = text.splitlines()
    assert line.split() == ["mti_net", "3", "1", "10", "min", "20", "min", "1500", "MiB", "measured"]
    assert "3 runs, 1 of them done" in total
    assert "takes 20 min of one run after the other, about 10 min with 2 side by side, and up to 2.9 GiB" in total


def test_runs_of_unknown_time_are_told_beside_the_sum(runs):
    text = plan_table({runs[0].arm: runs}, {runs[0].arm: Estimate(None, None, "not measured")}, slots=2)
    assert "and up to 0.0 GiB of memory, besides 3 of unknown time. Rough" in text


def test_a_dry_run_writes_nothing(cohort, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(module, "launcher_for", lambda *_: FakeLauncher())
    out = tmp_path / "out"
    run_grid("seg_only", 2, [0, 1], str(cohort), str(out), overrides={"max_epochs": 2}, dry_run="true", cpus=4)
    assert not out.exists()
    printed = capsys.readouterr().out
    assert "seg_only" in printed
    assert "4 runs, 0 of them done" in printed
    assert "4 side by side" in printed
    run_grid("seg_only", 1, 0, str(cohort), str(out), cpus_per_task=2, dry_run="true", cpus=4)
    assert "2 side by side" in capsys.readouterr().out
