"""The real server: trained through MONAI Label's client, stopped, killed in the middle, and trained again."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from bench import infer, running_server
from monailabel.client import MONAILabelClient
from monailabel.client.client import MONAILabelClientException

PATIENCE_S = 420.0
ENDED = ("promoted", "kept", "failed", "stopped", "interrupted")


def look(address: str) -> dict[str, Any]:
    """The latest training."""
    with urllib.request.urlopen(f"{address}/mtinet/training") as answer:
        return json.load(answer)


def wait_until(address: str, fits: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The training once it is as it should be."""
    give_up = time.monotonic() + PATIENCE_S
    while time.monotonic() < give_up:
        latest = look(address)
        if fits(latest):
            return latest
        time.sleep(0.5)
    pytest.fail(f"the training stays as {latest}")


def at_work_on_the_network(latest: dict[str, Any]) -> bool:
    assert latest["state"] not in ENDED, latest["message"]
    return latest["state"] == "training" and latest["iteration"] > 0


@pytest.fixture
def small_config(monkeypatch: pytest.MonkeyPatch) -> None:
    """One thread a process: the tests have few cores."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.mark.slow
@pytest.mark.usefixtures("small_config")
def test_a_training_is_cancelled_killed_with_the_server_and_done_at_last(dataset_dir: Path, tmp_path: Path) -> None:
    with running_server(dataset_dir, tmp_path) as (address, server):
        client = MONAILabelClient(address)
        with pytest.raises(MONAILabelClientException):
            client.train_start("mtinet", {"max_epochs": 2, "device": "cuda"})
        client.train_start("mtinet", {"max_epochs": 100})
        assert look(address)["running"]
        wait_until(address, at_work_on_the_network)
        with pytest.raises(MONAILabelClientException):
            client.train_start("mtinet", {"max_epochs": 2})
        # Inference answers while the network learns.
        assert infer(client, "liver-01")["model"]["version"]
        assert look(address)["running"]
        client.train_stop()
        assert wait_until(address, lambda latest: not latest["running"])["state"] == "stopped"

        client.train_start("mtinet", {"max_epochs": 100})
        wait_until(address, at_work_on_the_network)
        left = psutil.Process(server.pid).children(recursive=True)
        server.kill()
        server.wait()

    with running_server(dataset_dir, tmp_path) as (address, _):
        ended = wait_until(address, lambda latest: not latest["running"])
        assert ended["state"] == "interrupted"
        assert not psutil.wait_procs(left, timeout=60)[1]
        client = MONAILabelClient(address)
        before = infer(client, "liver-01")["model"]
        client.train_start("mtinet", {"max_epochs": 1})
        done = wait_until(address, lambda latest: latest["started_at"] > ended["started_at"] and not latest["running"])
        assert done["state"] in ("promoted", "kept"), done["message"]
        # Without a restart, the next answer is by whatever weights are served now.
        after = infer(client, "liver-01")["model"]
        assert (after != before) == (done["state"] == "promoted")
        assert after["weights_sha256"] == done["model"]["current"]["sha256"]
