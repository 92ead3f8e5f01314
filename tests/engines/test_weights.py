"""Weights files: written whole, read without running code, refused when they do not belong."""

import pytest
import torch
from ignite.engine import Engine

from scripts.domain.errors import CheckpointError, ConfigurationError
from scripts.engines.weights import BestWeights, load_network, load_weights, save_atomically


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "no such weights file"), (b"rubbish", "cannot be read as weights")],
)
def test_unreadable_weights_are_named(tmp_path, content, message):
    path = tmp_path / "model.pt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        load_weights(path)


def test_weights_that_would_run_code_are_refused(tmp_path):
    path = tmp_path / "model.pt"
    torch.save({"network": torch.nn.Linear(1, 1)}, path)
    with pytest.raises(CheckpointError, match="cannot be read as weights"):
        load_weights(path)


def test_a_training_checkpoint_is_no_weights_file(tmp_path):
    path = tmp_path / "model.pt"
    torch.save({"network": {"weight": torch.zeros(1)}, "trainer": {"epoch": 1}}, path)
    with pytest.raises(CheckpointError, match="not a plain state_dict"):
        load_weights(path)


def test_weights_of_another_network_are_refused(tmp_path):
    path = tmp_path / "model.pt"
    torch.save(torch.nn.Linear(3, 1).state_dict(), path)
    with pytest.raises(CheckpointError, match="do not fit network_def"):
        load_network(torch.nn.Linear(2, 1), path)


def test_an_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "state.pt"
    save_atomically({"value": 1}, path)

    def dies_half_way(state, file):
        file.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", dies_half_way)
    with pytest.raises(KeyboardInterrupt):
        save_atomically({"value": 2}, path)
    assert torch.load(path, weights_only=True) == {"value": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["state.pt"]


def test_an_unknown_keep_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match=r"keep 'first' is unknown\. Use one of best, last"):
        BestWeights(tmp_path / "model.pt", torch.nn.Linear(1, 1), keep="first")


@pytest.mark.parametrize(("keep", "kept"), [("best", 1), ("last", 2)])
def test_the_weights_kept_are_those_of_the_best_validation_or_the_last(tmp_path, keep, kept):
    network = torch.nn.Linear(1, 1, bias=False)
    best = BestWeights(tmp_path / "model.pt", network, keep=keep)
    validator = Engine(lambda engine, batch: None)
    best.attach(validator)
    validator.state.key_metric_name = "score"
    for value, score in enumerate([0.3, 0.8, 0.5]):
        network.weight.data.fill_(value)
        validator.state.metrics["score"] = score
        best._compare(validator)
    assert load_weights(tmp_path / "model.pt")["weight"].item() == kept
    restored = BestWeights(tmp_path / "model.pt", network, keep=keep)
    restored.load_state_dict(best.state_dict())
    assert restored.best == 0.8
