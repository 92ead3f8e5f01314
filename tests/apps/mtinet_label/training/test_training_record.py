"""Trainings that end in every way there is; the processes are real ones that sleep."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from dataclasses import replace

import psutil
import pytest

from lib.errors import BusyError
from lib.trainers.commands import CommandError, run
from lib.trainers.finetune import ServerEndedError, Training
from lib.trainers.record import Process, Record, TrainingRecord

SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]

# What a process of a training does, without the bundle: it holds the lock, and a worker works for it.
SUPERVISOR = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from lib.trainers.commands import run
from lib.trainers.finetune import Training
from lib.trainers.record import Process, TrainingRecord
record = TrainingRecord(Path(sys.argv[2]))
with record.alone():
    training = Training(record, Process.of(int(sys.argv[3])))
    training.change(state="training")
    run([sys.executable, "-c", "import time; time.sleep(600)"], Path(sys.argv[2]) / "log", started=training.started)
"""


@pytest.fixture
def record(tmp_path):
    return TrainingRecord(tmp_path / "training")


@pytest.fixture
def sleeper():
    """A process that does nothing, for as long as the test takes."""
    process = subprocess.Popen(SLEEP, start_new_session=True)
    yield process
    process.kill()
    process.wait()


@pytest.fixture
def gone(is_alive):
    """Whether a process has ended, or does in time."""

    def wait(pid, *, within_s=20.0):
        give_up = time.monotonic() + within_s
        while is_alive(pid) and time.monotonic() < give_up:
            time.sleep(0.05)
        return not is_alive(pid)

    return wait


def supervised(record, server_pid):
    """Start a supervisor and wait until its worker works."""
    app = next(path for path in sys.path if path.endswith("mtinet_label"))
    process = subprocess.Popen([sys.executable, "-c", SUPERVISOR, app, str(record.folder), str(server_pid)])
    give_up = time.monotonic() + 60
    while record.read().worker is None:
        assert process.poll() is None
        assert time.monotonic() < give_up
        time.sleep(0.1)
    return process


def test_before_the_first_training_there_is_none(record):
    assert record.read() == Record()
    assert not record.read().at_work


@pytest.mark.parametrize("content", ["", "{", "[]", '{"unknown": 1}', '{"worker": {"pid": 1}}'])
def test_a_damaged_record_counts_as_none(record, content):
    record.folder.mkdir()
    (record.folder / "record.json").write_text(content)
    assert record.read() == Record()


def test_two_trainings_at_once_are_refused(record):
    with record.alone(), pytest.raises(BusyError, match="running already"), record.alone():
        pass


def test_after_one_training_another_can_begin(record):
    for _ in range(2):
        with record.alone():
            pass


def test_what_is_written_is_read_back(record, sleeper):
    written = Record(
        state="promoted",
        run="r",
        epoch=1,
        epochs=2,
        loss=0.5,
        cases={"held_out": 3},
        left_out={"a": "why"},
        before={"dice": 0.1},
        server=Process.of(sleeper.pid),
    )
    record.write(written)
    assert record.read() == written
    assert "server" not in written.shown()


def test_a_process_is_told_from_a_later_one_with_its_number(sleeper, gone):
    process = Process.of(sleeper.pid)
    assert process.alive
    assert not replace(process, started=process.started - 1).alive
    replace(process, started=process.started - 1).kill_group()
    assert sleeper.poll() is None
    process.kill_group()
    assert gone(sleeper.pid)
    assert not process.alive


def test_a_training_that_was_killed_is_stopped_and_its_worker_ends(record, sleeper, gone):
    supervisor = supervised(record, sleeper.pid)
    running = record.read()
    assert running.state == "training"
    supervisor.kill()
    supervisor.wait()
    ended = record.read()
    assert ended.state == "stopped"
    assert ended.ended_at
    assert gone(running.worker.pid)
    with record.alone():
        pass


def test_when_the_server_died_too_the_next_start_reports_an_interruption(record, sleeper):
    supervisor = supervised(record, sleeper.pid)
    sleeper.kill()
    sleeper.wait()
    supervisor.kill()
    supervisor.wait()
    ended = record.read()
    assert ended.state == "interrupted"
    assert "a new training can be started" in ended.message
    assert TrainingRecord(record.folder).read() == ended


def test_a_training_that_was_killed_at_its_promotion_does_not_say_which_weights_are_served(record):
    record.write(Record(state="comparing", run="r", before={"dice": 0.5}, after={"dice": 0.6}))
    ended = record.read()
    assert ended.state == "interrupted"
    assert "weights are as they were" not in ended.message
    assert "the list of weights says" in ended.message


def test_a_full_disk_hides_no_record(record):
    record.write(Record(state="training", run="r"))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        assert record.read().state == "interrupted"
        with pytest.raises(OSError, match="large"):
            record.write(Record(state="promoted"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert record.read().state == "interrupted"
    assert [file.name for file in record.folder.iterdir() if file.name != ".lock"] == ["record.json"]


def test_a_training_ends_by_itself_when_its_server_does(record, sleeper, gone):
    training = Training(record, Process.of(sleeper.pid))
    workers = []

    def look():
        sleeper.kill()
        sleeper.wait()
        training.require_server()

    with pytest.raises(ServerEndedError, match="the server ended"):
        run(SLEEP, record.folder / "log", started=workers.append, look=look)
    assert gone(workers[0].pid)


def test_a_command_that_fails_says_where_its_output_is(record, tmp_path):
    command = [sys.executable, "-c", "print('a line'); raise SystemExit(3)", "x", "evaluating"]
    with pytest.raises(CommandError, match=r"evaluating process ended with code 3; its output is in some\.log"):
        run(command, tmp_path / "some.log", started=lambda worker: None)
    assert (tmp_path / "some.log").read_text() == "a line\n"


def test_workers_give_way_to_the_server(tmp_path):
    nice = []
    run(
        [sys.executable, "-c", "import time; time.sleep(0.2)"],
        tmp_path / "log",
        started=lambda worker: nice.append(psutil.Process(worker.pid).nice()),
    )
    assert nice[0] >= 10
