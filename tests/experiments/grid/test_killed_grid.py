"""The whole grid, typed as a user types it: killed twice with SIGKILL, it ends as an undisturbed one."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
RESULTS = ("metrics.json", "per_subject.csv", "training_log.csv", "mask.nii.gz", "cost.json")
OVERRIDES = {
    "max_epochs": 3,
    "val_interval": 1,
    "image_size": 32,
    "batch_size": 2,
    "network_def#widths": [4, 4, 8, 8],
    "adversarial_warmup_epochs": 1,
}


@pytest.fixture
def start(cohort) -> Iterator[Callable[[Path], subprocess.Popen]]:
    """Starts the grid of two arms, one run after the other; none outlives the test."""
    processes = []

    def started(output_dir: Path) -> subprocess.Popen:
        given = {
            "config_file": ROOT / "bundle" / "configs" / "grid.yaml",
            "arms": "seg_only,no_tim",
            "folds": 1,
            "seeds": 0,
            "dataset_dir": cohort,
            "output_dir": output_dir,
            "overrides": OVERRIDES,
            "min_free_mb": 0,
            "gpus_per_task": 0,
            "cpus": 1,
        }
        flags = [part for key, value in given.items() for part in (f"--{key}", str(value))]
        process = subprocess.Popen(
            [sys.executable, "-m", "monai.bundle", "run", "grid", *flags],
            cwd=ROOT,
            env=os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
            stdout=(output_dir.with_suffix(".log")).open("a"),
            stderr=subprocess.STDOUT,
        )
        processes.append(process)
        return process

    yield started
    for process in processes:
        process.kill()
        process.wait()


def results(output_dir: Path) -> dict[str, bytes]:
    """What the runs found, without what depends on the clock."""
    found = {
        str(path.relative_to(output_dir)): path.read_bytes()
        for name in RESULTS
        for path in (output_dir / "runs").rglob(name)
    }
    return {name: content.split(b'"seconds_per_study"')[0] for name, content in found.items()}


def said_of(output_dir: Path) -> str:
    return output_dir.with_suffix(".log").read_text()


def kill_when(process: subprocess.Popen, happened: Callable[[], bool]) -> None:
    while not happened():
        assert process.poll() is None, "the grid ended before it could be killed"
        time.sleep(0.05)
    process.kill()
    process.wait()


@pytest.mark.slow
def test_a_grid_that_was_killed_twice_ends_as_an_undisturbed_one(start, tmp_path):
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    assert start(undisturbed).wait() == 0, said_of(undisturbed)

    def found(name: str) -> Callable[[], bool]:
        # Not rglob: a folder may be gone again before it is looked into.
        return lambda: any(name in files for _, _, files in os.walk(killed))

    kill_when(start(killed), found("checkpoint_epoch=2.pt"))
    assert not found("done.json")()
    kill_when(start(killed), found("done.json"))
    assert len(list(killed.rglob("done.json"))) == 1
    assert start(killed).wait() == 0, said_of(killed)
    assert "resuming after epoch" in "".join(path.read_text() for path in killed.rglob("train.log"))

    expected = results(undisturbed)
    assert len([name for name in expected if name.endswith("metrics.json")]) == 2
    assert results(killed) == expected
    # Nothing half-written is left: no lock of a run, no file aside.
    assert list((killed / "runs").rglob(".*")) == []
