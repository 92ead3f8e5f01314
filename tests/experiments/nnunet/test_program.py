"""nnU-Net's commands: found, run in their own environment, their failures told in words."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from scripts.domain.errors import ConfigurationError, RunError
from scripts.experiments.nnunet.program import PLAN, PREDICT, PYTHON, TRAIN, Program, cores_of_a_run, require_installed


def test_without_it_one_line_says_how_to_install_it(tmp_path):
    missing = Program(tmp_path / "bin", tmp_path / "out", workers=1)
    with pytest.raises(SystemExit, match=r"^error: nnU-Net is not installed: make setup-nnunet \(no .*\)$"):
        require_installed(missing)


@pytest.mark.parametrize("name", [PLAN, TRAIN, PREDICT, PYTHON])
def test_every_command_has_to_be_there(program, stand_in, name):
    program().require()
    (stand_in.folder / name).unlink()
    with pytest.raises(ConfigurationError, match=f"no {name} in"):
        program().require()


def test_a_failed_command_says_its_last_words(program, stand_in, tmp_path):
    said = [*(f"line {k}" for k in range(40)), "RuntimeError: no memory"]
    stand_in.behave({PYTHON: {"say": "\n".join(said), "code": 3}})
    with pytest.raises(RunError, match=r"python ended with code 3\. The last it said:") as failed:
        program().run(PYTHON, tmp_path / "facts.json")
    # The grid takes a last line that starts with "error: " for a refusal, which it would not try again.
    assert str(failed.value).splitlines()[1:] == said[-10:]


def test_a_command_that_was_killed_is_said_to(tmp_path):
    command = tmp_path / "suicidal"
    command.write_text("#!/bin/sh\nkill -9 $$\n")
    command.chmod(0o755)
    with pytest.raises(RunError, match=r"suicidal was killed by SIGKILL\. The last it said:\nnothing"):
        Program(tmp_path, tmp_path / "out", workers=1).run("suicidal")


def test_its_output_is_ours(program, capsys, tmp_path):
    program().run(PYTHON, tmp_path / "facts.json")
    assert capsys.readouterr().out == "python says hello\n"


def test_it_sees_its_own_folders_and_nothing_of_this_environment(program, stand_in, monkeypatch, tmp_path):
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    monkeypatch.setenv("nnUNet_raw", "/of/the/user")
    program().run(PYTHON, tmp_path / "facts.json")
    told = stand_in.calls[0]["environment"]
    assert "PYTHONPATH" not in told
    for name in ("raw", "preprocessed", "results"):
        assert told[f"nnUNet_{name}"] == str(tmp_path / "out" / "nnunet" / name)


def test_it_finds_our_trainer_and_the_users(program, stand_in, monkeypatch, tmp_path):
    monkeypatch.setenv("nnUNet_extTrainer", "/of/the/user")
    program().run(PYTHON, tmp_path / "facts.json")
    ours, theirs = stand_in.calls[0]["environment"]["nnUNet_extTrainer"].split(os.pathsep)
    assert (Path(ours) / "nnUNetTrainer_smallGrid.py").is_file()
    assert theirs == "/of/the/user"


@pytest.mark.parametrize(("workers", "augmenting"), [(1, "0"), (2, "0"), (6, "6")])
def test_few_cores_augment_in_the_training_itself(program, stand_in, tmp_path, workers, augmenting):
    program(workers=workers).run(PYTHON, tmp_path / "facts.json")
    told = stand_in.calls[0]["environment"]
    assert told["nnUNet_n_proc_DA"] == augmenting
    assert told["nnUNet_def_n_proc"] == str(workers)


def test_planning_needs_a_thread_and_the_users_numbers_win(program, stand_in, monkeypatch, tmp_path):
    made = program(workers=1)
    (made.raw / "Dataset001_Liver" / "labelsTr").mkdir(parents=True)
    (made.raw / "Dataset001_Liver" / "dataset.json").write_text("{}")
    made.run(PLAN)
    assert stand_in.calls[-1]["environment"]["nnUNet_n_proc_DA"] == "1"
    monkeypatch.setenv("nnUNet_n_proc_DA", "5")
    made.run(PYTHON, tmp_path / "facts.json")
    assert stand_in.calls[-1]["environment"]["nnUNet_n_proc_DA"] == "5"


def test_the_grids_share_is_the_number_of_workers(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert cores_of_a_run() == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "64")
    assert cores_of_a_run() == 8
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert cores_of_a_run() == min(8, len(os.sched_getaffinity(0)))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent has died")
def test_it_dies_with_the_command_that_started_it_and_so_do_its_workers(is_alive, tmp_path):
    command, noted = tmp_path / "endless", tmp_path / "pids"
    # With a worker, which would not notice.
    command.write_text(f"#!/bin/sh\nsleep 300 &\necho $$ $! > {noted}.new\nmv {noted}.new {noted}\nwait\n")
    command.chmod(0o755)
    run = f"Program({str(tmp_path)!r}, 'work', workers=1).run('endless')"
    code = f"from scripts.experiments.nnunet.program import Program; {run}"
    starter = subprocess.Popen([sys.executable, "-c", code])
    try:
        wait_until(noted.exists)
    finally:
        starter.kill()
        starter.wait()
    pids = [int(pid) for pid in noted.read_text().split()]
    assert len(pids) == 2
    wait_until(lambda: not any(map(is_alive, pids)))


def wait_until(happened, seconds: float = 60.0) -> None:
    give_up = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < give_up, "it did not happen"
        time.sleep(0.05)
