"""A training that was killed and resumed ends in the same bits as one that never stopped."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
from typing import Any

import pytest
import torch

EPOCHS = 4
PROGRESS = re.compile(r"Epoch \[(\d+)/\d+\]: \[(\d+)/(\d+)\]")


@pytest.fixture(scope="module")
def settings(short, cohort):
    """Everything random is on, and the discriminator plays from the first epoch."""
    return short | {"dataset_dir": cohort, "max_epochs": EPOCHS, "adversarial_warmup_epochs": 0}


@pytest.fixture(scope="module")
def uninterrupted(bundle, settings, tmp_path_factory):
    """The output folder of a run that nobody disturbed."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    finished = bundle.run("training", "train.yaml", settings | {"output_dir": folder})
    assert finished.code == 0, finished.stderr
    return folder


@pytest.fixture
def killed(bundle, settings, tmp_path):
    """The output folder of a run that was killed somewhere in its second epoch."""
    process = bundle.start(*bundle.run_arguments("training", "train.yaml", settings | {"output_dir": tmp_path}))
    kill_in_epoch(process, 2)
    assert process.wait() == -signal.SIGKILL
    assert (tmp_path / "checkpoints" / "checkpoint_epoch=1.pt").is_file()
    assert not (tmp_path / "checkpoints" / f"checkpoint_epoch={EPOCHS}.pt").exists()
    return tmp_path


def kill_in_epoch(process: subprocess.Popen, epoch: int) -> None:
    """Send SIGKILL once the progress bar has passed a random iteration of ``epoch``."""
    share = random.random()
    for line in process.stdout:
        found = PROGRESS.search(line)
        if found:
            now, iteration, length = map(int, found.groups())
            if (now, iteration) >= (epoch, share * length):
                os.kill(process.pid, signal.SIGKILL)
                return
    pytest.fail("the training ended before it could be killed")


def same(one: Any, other: Any) -> bool:
    """Whether two nests of containers hold the same tensors, bit for bit, and the same values."""
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def assert_same_training(folder, reference):
    names = [f"checkpoints/checkpoint_epoch={epoch}.pt" for epoch in (EPOCHS - 1, EPOCHS)]
    for name in ["model.pt", *names]:
        one, other = (torch.load(each / name, weights_only=True) for each in (folder, reference))
        assert same(one, other), name
    assert (folder / "training_log.csv").read_text() == (reference / "training_log.csv").read_text()
    assert sorted(os.listdir(folder / "checkpoints")) == sorted(os.listdir(reference / "checkpoints"))


@pytest.mark.slow
def test_a_killed_run_ends_as_an_uninterrupted_one(bundle, settings, uninterrupted, killed):
    finished = bundle.run("training", "train.yaml", settings | {"output_dir": killed, "resume": "true"})
    assert finished.code == 0, finished.stderr
    assert re.search(f"resuming after epoch [1-{EPOCHS - 1}] of {EPOCHS}", finished.stdout)
    assert_same_training(killed, uninterrupted)


def test_the_comparison_would_notice_another_seed(bundle, settings, uninterrupted, tmp_path):
    finished = bundle.run("training", "train.yaml", settings | {"output_dir": tmp_path, "seed": 1})
    assert finished.code == 0, finished.stderr
    name = f"checkpoints/checkpoint_epoch={EPOCHS}.pt"
    assert not same(*(torch.load(folder / name, weights_only=True) for folder in (tmp_path, uninterrupted)))


def test_a_finished_run_has_nothing_left_to_do_and_a_damaged_checkpoint_is_passed_over(
    bundle, settings, uninterrupted, tmp_path
):
    overrides = settings | {"output_dir": tmp_path}
    assert bundle.run("training", "train.yaml", overrides).code == 0

    before = {path: path.read_bytes() for path in [*tmp_path.glob("*.*"), *tmp_path.glob("checkpoints/*")]}
    finished = bundle.run("training", "train.yaml", overrides | {"resume": "true"})
    assert finished.code == 0, finished.stderr
    assert "nothing left to do" in finished.stdout
    assert {path: path.read_bytes() for path in before} == before

    newest = tmp_path / "checkpoints" / f"checkpoint_epoch={EPOCHS}.pt"
    newest.write_bytes(newest.read_bytes()[:5000])
    finished = bundle.run("training", "train.yaml", overrides | {"resume": "true"})
    assert finished.code == 0, finished.stderr
    assert "is damaged" in finished.stdout
    assert_same_training(tmp_path, uninterrupted)


def test_another_networks_checkpoints_are_refused(bundle, settings, uninterrupted):
    overrides = settings | {"output_dir": uninterrupted, "resume": "true", "network_def#d_model": 32}
    finished = bundle.run("training", "train.yaml", overrides)
    assert finished.code != 0
    assert "Traceback" not in finished.stdout + finished.stderr
    assert finished.error.startswith("error: ")
    assert "does not fit" in finished.error
