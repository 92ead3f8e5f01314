"""Checkpoints: written whole, resumed from the newest readable, refused when they do not belong."""

import logging

import pytest
import torch
from ignite.engine import Engine, Events

from scripts.domain.errors import CheckpointError
from scripts.engines.checkpoints import CheckpointHandler, find_checkpoints


def engine_with_epochs(length=3):
    engine = Engine(lambda engine, batch: None)
    engine.state.epoch_length = length
    engine.state.best_metric, engine.state.best_metric_epoch = -1, -1
    return engine


def trained(folder, epochs, *, keep=2):
    network = torch.nn.Linear(2, 1).requires_grad_(False)
    handler = CheckpointHandler(folder, {"network": network}, keep=keep)
    engine = engine_with_epochs()
    engine.add_event_handler(Events.EPOCH_STARTED, lambda _: network.weight.data.add_(1.0))
    handler.attach(engine)
    engine.run(range(3), max_epochs=epochs)
    return network


def test_keeping_one_checkpoint_is_refused(tmp_path):
    with pytest.raises(ValueError, match="at least 2"):
        CheckpointHandler(tmp_path, {}, keep=1)


def test_resuming_restores_states_and_epoch(tmp_path):
    network = trained(tmp_path, 3)
    fresh = torch.nn.Linear(2, 1)
    engine = engine_with_epochs()
    assert CheckpointHandler(tmp_path, {"network": fresh}).resume(engine) == 3
    assert (engine.state.epoch, engine.state.iteration) == (3, 9)
    assert torch.equal(fresh.weight, network.weight)


def test_only_the_newest_are_kept(tmp_path):
    trained(tmp_path, 5)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint_epoch=4.pt", "checkpoint_epoch=5.pt"]


def test_ten_follows_nine(tmp_path):
    trained(tmp_path, 10)
    assert [path.name for path in find_checkpoints(tmp_path)] == ["checkpoint_epoch=10.pt", "checkpoint_epoch=9.pt"]


@pytest.mark.parametrize("damage", [lambda data: data[: len(data) // 2], lambda data: b"", lambda data: b"x" * 100])
def test_a_damaged_newest_falls_back_with_a_warning(tmp_path, caplog, damage):
    trained(tmp_path, 3)
    newest = tmp_path / "checkpoint_epoch=3.pt"
    newest.write_bytes(damage(newest.read_bytes()))
    with caplog.at_level(logging.WARNING):
        epoch = CheckpointHandler(tmp_path, {"network": torch.nn.Linear(2, 1)}).resume(engine_with_epochs())
    assert epoch == 2
    assert "checkpoint_epoch=3.pt is damaged" in caplog.text


def test_nothing_but_damage_is_an_error(tmp_path):
    trained(tmp_path, 2)
    for path in tmp_path.iterdir():
        path.write_bytes(b"")
    with pytest.raises(CheckpointError, match="none of 2 checkpoints can be read"):
        CheckpointHandler(tmp_path, {"network": torch.nn.Linear(2, 1)}).resume(engine_with_epochs())


def test_an_empty_folder_starts_at_zero(tmp_path):
    assert CheckpointHandler(tmp_path, {}).resume(engine_with_epochs()) == 0


def test_another_epoch_length_is_refused(tmp_path):
    trained(tmp_path, 2)
    with pytest.raises(CheckpointError, match="3 iterations an epoch, this run has 4"):
        CheckpointHandler(tmp_path, {"network": torch.nn.Linear(2, 1)}).resume(engine_with_epochs(4))


def test_another_network_is_refused(tmp_path):
    trained(tmp_path, 2)
    with pytest.raises(CheckpointError, match="network does not fit"):
        CheckpointHandler(tmp_path, {"network": torch.nn.Linear(5, 1)}).resume(engine_with_epochs())
