"""The routes, with MONAI Label's own bookkeeping of its processes played."""

from __future__ import annotations

from datetime import datetime
from types import SimpleNamespace

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from monailabel.utils.async_tasks import utils
from monailabel.utils.async_tasks.task import AsyncTask

from lib.routes import training as routes
from lib.trainers.record import Record, TrainingRecord
from scripts.engines.weights import load_weights, save_atomically


@pytest.fixture
def record(settings):
    return TrainingRecord(settings.state_dir / "training")


@pytest.fixture
def client(settings, narrow_shelf, monkeypatch):
    monkeypatch.setattr(utils, "background_tasks", {})
    server = FastAPI()
    server.include_router(routes.router(SimpleNamespace(settings=settings, shelf=narrow_shelf)))
    return TestClient(server)


@pytest.fixture
def asked(monkeypatch):
    """What MONAI Label was asked to start and stop."""
    calls = []
    monkeypatch.setattr(
        AsyncTask, "run", staticmethod(lambda method, request: calls.append((method, request)) or ({}, None))
    )
    monkeypatch.setattr(AsyncTask, "stop", staticmethod(lambda method: calls.append(("stop", method))))
    return calls


def monai_label_knows(status, *, start="2026-01-02 03:04:05"):
    utils.background_tasks["train"] = [{"id": "1", "status": status, "start_ts": start}]


@pytest.mark.parametrize(
    ("wishes", "problem"),
    [
        ({"max_epochs": 0}, "must be a number"),
        ({"learning_rate": "/etc/passwd"}, "must be a number"),
        ({"original_cases": {}}, "must be a number"),
        ({"epochs": 3}, "no setting epochs; it takes learning_rate, max_epochs, original_cases"),
    ],
)
def test_wishes_out_of_range_or_unknown_start_nothing(client, asked, wishes, problem):
    answer = client.post("/mtinet/training", json=wishes)
    assert answer.status_code == 400
    assert problem in answer.json()["detail"]
    assert asked == []


def test_while_one_runs_no_other_is_started(client, asked, record):
    with record.alone():
        record.write(Record(state="training"))
        answer = client.post("/mtinet/training")
    assert answer.status_code == 503
    assert "running already" in answer.json()["detail"]
    assert asked == []


def test_nothing_to_roll_back_to(client):
    assert client.post("/mtinet/training/rollback").status_code == 400


def test_wishes_reach_the_training_with_the_defaults_of_the_others(client, asked):
    assert client.post("/mtinet/training", json={"max_epochs": 4}).json() == {"started": True}
    [(method, request)] = asked
    assert method == "train"
    assert request == {"model": "mtinet", "max_epochs": 4, "learning_rate": 1e-4, "original_cases": 40}


def test_before_the_first_training_there_is_none(client):
    answer = client.get("/mtinet/training").json()
    assert (answer["state"], answer["running"], answer["progress"]) == ("none", False, 0.0)
    assert answer["model"]["current"]["version"] == "1.0.0"


def test_a_running_one_says_how_far_it_is(client, record):
    with record.alone():
        record.write(Record(state="training", epoch=1, epochs=2, iteration=30, iterations=120, loss=0.5, eta_s=9.0))
        answer = client.get("/mtinet/training").json()
    assert (answer["running"], answer["progress"], answer["eta_s"], answer["epochs"]) == (True, 0.25, 9.0, 2)
    assert "server" not in answer


@pytest.mark.parametrize(
    ("status", "state"), [("SUBMITTED", "preparing"), ("RUNNING", "preparing"), ("ERROR", "failed")]
)
def test_one_that_has_written_nothing_yet_is_known_by_its_process(client, record, status, state):
    record.write(Record(state="promoted", started_at="2025-01-01T00:00:00+00:00"))
    monai_label_knows(status)
    answer = client.get("/mtinet/training").json()
    assert (answer["state"], answer["running"]) == (state, state == "preparing")


def test_a_record_that_is_newer_than_the_process_counts(client, record):
    record.write(Record(state="kept", started_at="2026-12-31T00:00:00+00:00"))
    monai_label_knows("RUNNING")
    assert client.get("/mtinet/training").json()["state"] == "kept"


def test_a_record_of_the_same_second_as_the_process_counts(client, record):
    start = datetime(2026, 1, 2, 3, 4, 5).astimezone()
    record.write(Record(state="failed", message="why", started_at=start.isoformat()))
    monai_label_knows("ERROR")
    assert client.get("/mtinet/training").json()["message"] == "why"


def test_stopping_waits_for_the_end(client, asked, record):
    record.write(Record(state="training"))
    answer = client.delete("/mtinet/training").json()
    assert asked == [("stop", "train")]
    assert answer["state"] == "interrupted"


def test_rolling_back_serves_the_weights_before(client, narrow_shelf, narrow_weights, tmp_path):
    weights = load_weights(narrow_weights)
    save_atomically(weights | {"mean_curve": weights["mean_curve"] + 1}, tmp_path / "new.pt")
    narrow_shelf.promote(tmp_path / "new.pt", metrics={"dice": 0.5})
    model = client.get("/mtinet/training").json()["model"]
    assert model["current"]["version"] == "1.0.0+1"
    assert "file" not in model["current"]
    assert client.post("/mtinet/training/rollback").json()["model"]["current"]["version"] == "1.0.0"
    assert len(client.get("/mtinet/training").json()["model"]["history"]) == 2
