"""A run's folder: how far the run is, who may write, and what killed processes leave."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from scripts.domain.errors import ConfigurationError
from scripts.experiments.grid.run_folder import CUT, DONE, FAILED, NEW, RunFolder


@pytest.fixture
def folder(tmp_path) -> RunFolder:
    return RunFolder(tmp_path / "runs" / "unet" / "fold0" / "seed1")


def test_only_one_may_write(folder):
    with (
        folder.locked(1.0),
        pytest.raises(ConfigurationError, match=r"another run of the grid is writing to .*seed1"),
        folder.locked(0.0),
    ):
        pytest.fail("two hold the lock")
    with folder.locked(0.0):
        pass
    assert list(folder.path.iterdir()) == []


def test_a_process_that_inherited_the_lock_keeps_others_out_until_it_ends(folder):
    with folder.locked(0.0) as lock:
        command = [sys.executable, "-c", "import time; time.sleep(60)"]
        child = subprocess.Popen(command, pass_fds=[lock.descriptor])
        os.close(os.dup(lock.descriptor))
        descriptor, lock._descriptor = lock._descriptor, None  # as if this process had died without a release
        os.close(descriptor)
    with pytest.raises(ConfigurationError), folder.locked(0.3):
        pytest.fail("the child still holds it")
    child.kill()
    child.wait()
    with folder.locked(0.0):
        pass


def test_how_far_a_run_is(folder):
    assert folder.state == NEW
    folder.write_text(folder.config, "a: 1\n")
    assert folder.state == CUT
    folder.fail("out of memory")
    assert folder.state == FAILED
    folder.start_attempt()
    assert folder.state == CUT
    folder.finish(keep_checkpoints=True)
    assert folder.state == DONE
    assert sorted(path.name for path in folder.path.iterdir()) == ["config.yaml", "done.json"]


def test_an_attempt_clears_away_what_killed_processes_left(folder):
    folder.checkpoints.mkdir(parents=True)
    left = [folder.path / ".123.model.pt", folder.path / ".123-456.metrics.json", folder.checkpoints / ".9.x.pt"]
    left.append(folder.path / "pretraining" / ".123-456.training_log.csv")
    left[-1].parent.mkdir()
    stays = [folder.path / ".lock", folder.path / "model.pt", folder.checkpoints / "checkpoint_epoch=1.pt"]
    for file in (*left, *stays):
        file.touch()
    half = folder.path / ".writing-abc" / "new"
    half.mkdir(parents=True)
    (half / "mask.nii.gz").touch()
    folder.start_attempt()
    assert not any(path.exists() for path in (*left, half.parent))
    assert all(path.exists() for path in stays)


def test_the_time_of_earlier_attempts_counts_up_to_their_last_checkpoint(folder):
    folder.checkpoints.mkdir(parents=True)
    folder.start_attempt()
    assert folder.seconds_before() == 0.0
    checkpoint = folder.checkpoints / "checkpoint_epoch=1.pt"
    checkpoint.touch()
    os.utime(checkpoint, (time.time() + 40, time.time() + 40))
    folder.start_attempt()
    assert folder.seconds_before() == pytest.approx(40 + 40, abs=3)


def test_checkpoints_go_when_the_run_is_done(folder):
    folder.checkpoints.mkdir(parents=True)
    (folder.checkpoints / "checkpoint_epoch=1.pt").touch()
    folder.finish(keep_checkpoints=False)
    assert sorted(path.name for path in folder.path.iterdir()) == ["done.json"]


def test_what_a_link_among_the_checkpoints_points_to_stays(folder, tmp_path):
    dataset = tmp_path / "dataset"
    dataset.mkdir()
    (dataset / "image.nii.gz").touch()
    folder.checkpoints.mkdir(parents=True)
    (folder.checkpoints / "raw").symlink_to(dataset)
    folder.finish(keep_checkpoints=False)
    assert not folder.checkpoints.exists()
    assert (dataset / "image.nii.gz").exists()
