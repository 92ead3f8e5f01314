"""The whole grid, typed as a user types it: killed twice with SIGKILL, it ends as an undisturbed one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
RESULTS = ("metrics.json", "per_subject.csv", "training_log.csv", "mask.nii.gz", "cost.json")
OVERRIDES = {
    "max_epochs": 4,
    "val_interval": 1,
    "image_size": 32,
    "batch_size": 2,
    "network_def#widths": [4, 4, 8, 8],
    "adversarial_warmup_epochs": 1,
}


@pytest.fixture
def start(cohort) -> Callable[[Path], subprocess.Popen]:
    """Starts the grid of two arms and two seeds."""

    def started(output_dir: Path) -> subprocess.Popen:
        given = {
            "config_file": ROOT / "bundle" / "configs" / "grid.yaml",
            "arms": "seg_only,no_tim",
            "folds": 1,
            "seeds": "0,1",
            "dataset_dir": cohort,
            "output_dir": output_dir,
            "overrides": OVERRIDES,
            "min_free_mb": 0,
            "gpus_per_task": 0,
            "cpus": 2,
        }
        flags = [part for key, value in given.items() for part in (f"--{key}", str(value))]
        return subprocess.Popen(
            [sys.executable, "-m", "monai.bundle", "run", "grid", *flags],
            cwd=ROOT,
            env=os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    return started


def results(output_dir: Path) -> dict[str, bytes]:
    """What the runs found, without what depends on the clock."""
    found = {
        str(path.relative_to(output_dir)): path.read_bytes()
        for name in RESULTS
        for path in (output_dir / "runs").rglob(name)
    }
    return {name: content.split(b'"seconds_per_study"')[0] for name, content in found.items()}


def kill_when(process: subprocess.Popen, condition: Callable[[], bool]) -> None:
    give_up = time.monotonic() + 600
    while not condition():
        if process.poll() is not None or time.monotonic() > give_up:
            pytest.fail(f"the grid ended before it could be killed:\n{process.communicate()[0]}")
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


@pytest.mark.slow
def test_a_grid_that_was_killed_twice_ends_as_an_undisturbed_one(start, tmp_path):
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    process = start(undisturbed)
    output, _ = process.communicate()
    assert process.returncode == 0, output

    def found(pattern: str, count: int) -> Callable[[], bool]:
        return lambda: len(list(killed.rglob(pattern))) >= count

    kill_when(start(killed), found("checkpoint_epoch=2.pt", 1))
    assert not list(killed.rglob("done.json"))
    kill_when(start(killed), found("done.json", 2))
    assert len(list(killed.rglob("done.json"))) < 4
    process = start(killed)
    output, _ = process.communicate()
    assert process.returncode == 0, output
    assert "resuming after epoch" in "".join(path.read_text() for path in killed.rglob("train.log"))

    expected = results(undisturbed)
    assert len([name for name in expected if name.endswith("metrics.json")]) == 4
    assert results(killed) == expected
    # Nothing half-written is left: no lock of a run, no file aside.
    assert list((killed / "runs").rglob(".*")) == []
