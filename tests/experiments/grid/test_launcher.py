"""Commands are forked or started afresh, apart from each other, and end with whoever started them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from scripts.domain.errors import ConfigurationError
from scripts.experiments.grid import launcher as module
from scripts.experiments.grid.launcher import Launcher
from scripts.experiments.grid.run_folder import RunFolder

BUNDLE = Path(module.__file__).resolve().parents[3]

PROGRAM = """
import os, sys, time
what, *rest = sys.argv[1:]
print(what, *rest, "by", os.environ["OMP_NUM_THREADS"], "in", os.getcwd(), flush=True)
if what == "raise":
    raise RuntimeError("planted")
if what == "refuse":
    sys.exit("error: planted")
if what == "die":
    os.kill(os.getpid(), 9)
if what == "grow":
    held = bytearray(200 * 2**20)
if what == "tick":
    for _ in range(600):
        with open(rest[0], "w") as file:
            file.write(str(os.getpid()))
        time.sleep(0.05)
"""

# Starts a command that ticks, and waits for it; run as a program, to be killed.
STARTER = """
import sys
from pathlib import Path
from scripts.experiments.grid.launcher import Launcher
from scripts.experiments.grid.run_folder import RunFolder
root, fork = Path(sys.argv[1]), sys.argv[2] == "True"
with RunFolder(root / "run").locked(0.0) as lock:
    launcher = Launcher(root, threads=1, fork=fork, preload=[])
    launcher.run("program", ["tick", str(root / "tick")], root / "log", lock=lock.descriptor)
"""


@pytest.fixture(params=[True, False], ids=["forked", "afresh"])
def fork(request) -> bool:
    return request.param


@pytest.fixture
def root(tmp_path, monkeypatch) -> Path:
    (tmp_path / "program.py").write_text(PROGRAM)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path


@pytest.fixture
def started(root, fork) -> Iterator[Launcher]:
    # Importing PyTorch is not what is tested here.
    made = Launcher(root, threads=3, fork=fork, preload=["json"])
    yield made
    made.close()


def test_a_command_says_how_it_ended(started, root):
    log = root / "log"
    assert started.run("program", ["go", "on"], log).code == 0
    assert started.run("program", ["raise"], log).code == 1
    assert started.run("program", ["refuse"], log).code == 1
    assert started.run("program", ["die"], log).code == -signal.SIGKILL
    assert started.run("program", ["still", "there"], log).code == 0
    lines = log.read_text().splitlines()
    assert lines[0] == f"go on by 3 in {root}"
    assert "RuntimeError: planted" in lines
    assert "error: planted" in lines
    assert lines[-1] == f"still there by 3 in {root}"


def test_memory_is_that_of_the_command(started, root):
    small, large = (started.run("program", [what], root / "log").peak_rss_mb for what in ("go", "grow"))
    assert 190 < large - small < 260


def test_a_launcher_that_died_is_a_killed_command_and_is_started_again(started, root):
    assert started.run("program", ["go"], root / "log").code == 0
    started._process.kill()
    started._process.wait()
    assert started.run("program", ["go"], root / "log").code == 0


def test_no_command_outlives_the_one_who_asked_for_it(root, fork, is_alive):
    command = [sys.executable, "-c", STARTER, str(root), str(fork)]
    path = os.pathsep.join((str(BUNDLE), os.environ["PYTHONPATH"]))
    starter = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"})
    ticking = root / "tick"
    wait_until(lambda: ticking.exists() and ticking.read_text())
    command_pid = int(ticking.read_text())
    with pytest.raises(ConfigurationError), RunFolder(root / "run").locked(0.0):
        pytest.fail("the command works in a folder that is not locked")

    starter.kill()
    starter.wait()
    wait_until(lambda: not is_alive(command_pid))
    # Nobody holds the folder any more, and nobody writes.
    with RunFolder(root / "run").locked(5.0):
        ticking.unlink()
        time.sleep(0.3)
        assert not ticking.exists()


def wait_until(condition: Callable[[], object], *, seconds: float = 120.0) -> None:
    give_up = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > give_up:
            pytest.fail("waited in vain")
        time.sleep(0.05)


def test_the_message_of_a_command_fits_into_one(started, root):
    long = json.dumps(list(range(4000)))
    assert started.run("program", ["go", long], root / "log").code == 0
