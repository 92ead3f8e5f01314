"""Handlers that watch a training run."""

import csv
import json
import logging

import pytest
import torch
from ignite.engine import Engine, Events

from scripts.engines.monitoring import (
    CollapseWarning,
    EarlyStop,
    EpochAverages,
    EpochSeed,
    ProgressFile,
    TrainingLog,
)


class Dataset:
    def set_epoch(self, epoch):
        self.epoch = epoch


def run(engine, epochs, batches=2):
    engine.run(range(batches), max_epochs=epochs)


def test_the_same_epoch_draws_the_same_numbers_whenever_it_runs():
    drawn = []
    engine = Engine(lambda engine, batch: drawn.append((engine.state.epoch, float(torch.rand(())))))
    dataset = Dataset()
    EpochSeed(dataset, seed=3).attach(engine)
    run(engine, 2)
    assert dataset.epoch == 2
    torch.rand(17)
    resumed = Engine(lambda engine, batch: drawn.append((engine.state.epoch, float(torch.rand(())))))
    EpochSeed(dataset, seed=3).attach(resumed)
    resumed.load_state_dict({"epoch": 1, "max_epochs": 2, "epoch_length": 2})
    run(resumed, 2)
    assert drawn[2:4] == drawn[4:6]
    assert drawn[0] != drawn[2]


def test_averages_are_over_the_iterations_that_had_the_entry():
    outputs = iter([[{"loss": 1.0}], [{"loss": 3.0, "extra": 5.0}], [{"loss": 10.0}], [{"loss": 20.0}]])
    engine = Engine(lambda engine, batch: next(outputs))
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.25)
    EpochAverages(optimizer).attach(engine)
    run(engine, 1)
    assert engine.state.metrics == {"loss": 2.0, "extra": 5.0, "learning_rate": 0.25}


@pytest.mark.parametrize(("accuracies", "warns"), [([1.0, 1.0, 1.0], True), ([1.0, 0.7, 1.0], False)])
def test_collapse_is_three_perfect_epochs_in_a_row(caplog, accuracies, warns):
    engine = Engine(lambda engine, batch: None)
    watch = CollapseWarning()
    with caplog.at_level(logging.WARNING):
        for accuracy in accuracies:
            engine.state.metrics["discriminator_accuracy"] = accuracy
            watch._check(engine)
    assert ("collapsed" in caplog.text) == warns


def test_the_log_of_a_resumed_run_has_each_epoch_once(tmp_path):
    path = tmp_path / "log.csv"
    for first, last in ((1, 3), (3, 4)):
        engine = Engine(lambda engine, batch: None)
        TrainingLog(path).attach(engine)
        engine.state.metrics["loss"] = first
        if first > 1:
            engine.load_state_dict({"epoch": first - 1, "max_epochs": last, "epoch_length": 2})
        run(engine, last)
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["epoch"]) for row in rows] == [1, 2, 3, 4]


def test_training_stops_after_patience_and_remembers_its_waiting():
    validator = Engine(lambda engine, batch: None)
    validator.state.key_metric_name = "score"
    scores = iter([0.5, 0.6, 0.6, 0.6, 0.9])

    def validate(engine):
        validator.state.epoch = engine.state.epoch
        validator.state.metrics["score"] = next(scores)

    engine = Engine(lambda engine, batch: None)
    stop = EarlyStop(validator, patience=2)
    engine.add_event_handler(Events.EPOCH_COMPLETED, validate)
    stop.attach(engine)
    run(engine, 5)
    assert engine.state.epoch == 4
    assert stop.state_dict() == {"best": 0.6, "waited": 2}


def test_a_resumed_run_that_had_stopped_does_not_go_on():
    validator = Engine(lambda engine, batch: None)
    ran = []
    engine = Engine(lambda engine, batch: ran.append(engine.state.epoch))
    stop = EarlyStop(validator, patience=2)
    stop.load_state_dict({"best": 0.6, "waited": 2})
    stop.attach(engine)
    run(engine, 5)
    assert ran == []


def progress_of(tmp_path, *, every_s, losses):
    """What stands in the file after every iteration of two epochs of three."""
    file, seen, coming = tmp_path / "progress.json", [], iter(losses)
    engine = Engine(lambda engine, batch: [{"loss": next(coming)}])
    ProgressFile(file, every_s=every_s).attach(engine)
    engine.add_event_handler(Events.ITERATION_COMPLETED, lambda _: seen.append(json.loads(file.read_text())))
    run(engine, 2, batches=3)
    return seen


def test_progress_counts_iterations_over_all_epochs(tmp_path):
    seen = progress_of(tmp_path, every_s=0.0, losses=[1.0] * 6)
    assert [each["iteration"] for each in seen] == [1, 2, 3, 4, 5, 6]
    assert [each["epoch"] for each in seen] == [1, 1, 1, 2, 2, 2]
    assert {(each["iterations"], each["epochs"]) for each in seen} == {(6, 2)}
    assert seen[-1]["eta_s"] == 0.0
    assert all(each["eta_s"] > 0 for each in seen[:-1])


def test_progress_is_written_seldom_but_at_the_end_of_every_epoch(tmp_path):
    seen = progress_of(tmp_path, every_s=1e9, losses=[1.0] * 6)
    assert [each["iteration"] for each in seen] == [1, 1, 3, 3, 3, 6]


def test_progress_shows_a_loss_that_follows_slowly(tmp_path):
    seen = progress_of(tmp_path, every_s=0.0, losses=[1.0, 2.0, 2.0, 2.0, 2.0, 2.0])
    assert seen[1]["loss"] == pytest.approx(1.1)
    assert 1.1 < seen[-1]["loss"] < 2.0
