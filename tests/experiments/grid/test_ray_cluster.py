"""A Ray cluster that is there already, on this machine: joined, used and left standing."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
RAY = Path(sys.executable).with_name("ray")


@pytest.fixture
def environment(tmp_path) -> dict[str, str]:
    """A home without Ray's token, and a node that listens on loopback."""
    own = {"HOME": str(tmp_path), "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_USAGE_STATS_ENABLED": "0"}
    return os.environ | own | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


@pytest.fixture
def port() -> int:
    """A free one."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.fixture
def head(environment, port) -> Iterator[subprocess.Popen]:
    """A cluster of one core, which asks for its token."""
    subprocess.run([RAY, "get-auth-token", "--generate"], env=environment, check=True, capture_output=True)
    options = ["--node-ip-address=127.0.0.1", f"--port={port}", "--num-cpus=1", "--include-dashboard=false"]
    process = subprocess.Popen(
        [RAY, "start", "--head", *options, f"--object-store-memory={80 * 2**20}", "--block"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    said = []
    for line in process.stdout:
        said.append(line)
        if "--block" in line:
            break
    else:
        pytest.fail("".join(said))
    yield process
    process.terminate()
    process.wait(timeout=60)


@pytest.fixture
def grid(environment, cohort, tmp_path) -> Callable[..., subprocess.CompletedProcess]:
    """The command on two readers, which learn nothing."""

    def run(**changes: object) -> subprocess.CompletedProcess:
        given = {
            "config_file": ROOT / "bundle" / "configs" / "grid.yaml",
            "arms": "rule,curve_logistic",
            "folds": 1,
            "seeds": 0,
            "dataset_dir": cohort,
            "output_dir": tmp_path / "out",
            "min_free_mb": 0,
            "gpus_per_task": 0,
        } | changes
        flags = [part for key, value in given.items() for part in (f"--{key}", str(value))]
        command = [sys.executable, "-m", "monai.bundle", "run", "grid", *flags]
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)

    return run


def test_where_nobody_answers_it_says_so_at_once(grid, port, tmp_path):
    ended = grid(ray_address=f"127.0.0.1:{port}")
    assert ended.returncode != 0
    assert f"error: nobody answers at ray_address 127.0.0.1:{port} (" in ended.stderr
    # Ray itself would try for a minute.
    assert "Failed to connect to GCS" not in ended.stderr + ended.stdout
    assert not (tmp_path / "out" / "runs").exists()


def test_it_joins_a_cluster_that_asks_for_its_token_and_leaves_it_standing(head, grid, port, tmp_path):
    address = f"127.0.0.1:{port}"
    refused = grid(ray_address=address, cpus_per_task=2)
    assert refused.returncode != 0
    assert "cpus_per_task is 2, and no machine of Ray has more than 1 CPU" in refused.stderr
    ended = grid(ray_address=address)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "grid: all 2 runs are done" in ended.stdout
    assert len(list((tmp_path / "out" / "runs").glob("*/fold0/seed0/done.json"))) == 2
    assert head.poll() is None
