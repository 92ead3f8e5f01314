"""One run: what it leaves, what a failure says, and what a full disk does not damage."""

from __future__ import annotations

import errno
import json
import shutil
import signal
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from scripts.experiments.grid import task as module
from scripts.experiments.grid.launcher import Ended
from scripts.experiments.grid.run_folder import CUT, DONE, NEW, RunFolder
from scripts.experiments.grid.task import DISK_FULL, FAILED, REFUSED, Outcome, Task, carry_out


class FakeLauncher:
    """Runs commands that leave what the real ones leave; ``faults`` take their place by log name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.commands: list[tuple[str, ...]] = []
        self.faults: dict[str, Callable[[Path], int]] = {}
        self.scored = ["a", "b"]

    def run(self, name: str, arguments: Sequence[str], log: Path, *, lock: int | None = None) -> Ended:
        assert lock is not None
        self.commands.append((log.stem, name, *arguments))
        if log.stem in self.faults:
            return Ended(self.faults[log.stem](log), 1.0, 100.0)
        if log.stem == "train":
            (self.folder / "model.pt").touch()
            (self.folder / "checkpoints").mkdir(exist_ok=True)
        if log.stem == "evaluate":
            (self.folder / "metrics.json").write_text("{}")
            (self.folder / "per_subject.csv").write_text("\n".join(["case,dice", *(f"{c},1" for c in self.scored)]))
            (self.folder / "summary.json").write_text('{"seconds_per_study": 1.5}')
        if log.stem == "cost":
            (self.folder / "cost.json").write_text('{"parameters": 3, "gflops": 0.5, "image_size": 32}')
        return Ended(0, 2.0, {"train": 300.0}.get(log.stem, 200.0))


@pytest.fixture
def task(tmp_path) -> Task:
    return Task(
        arm="unet",
        fold=0,
        seed=1,
        folder=str(tmp_path / "run"),
        root=str(tmp_path),
        commit="abc",
        training=("run", "training", "--config_file", "['a', 'b']", "--dataset_dir", f"{tmp_path}/data"),
        evaluating=("run", "evaluating"),
        config="a: 1\n",
        evaluate_config="b: 2\n",
        split="test",
        scored=("a", "b"),
        threads=1,
        fork=True,
        keep_checkpoints=False,
        min_free_mb=0.0,
        patience_s=0.1,
    )


@pytest.fixture
def launcher(task, monkeypatch) -> FakeLauncher:
    fake = FakeLauncher(Path(task.folder))
    monkeypatch.setattr(module, "launcher_for", lambda *_: fake)
    return fake


def says(text: str, code: int) -> Callable[[Path], int]:
    def fault(log: Path) -> int:
        log.write_text(text)
        return code

    return fault


# Wrong input first.


def test_a_crash_says_its_last_lines(task, launcher):
    launcher.faults["train"] = says("one\nbar 1%\rbar 2%\nTraceback\nValueError: planted\n", 1)
    outcome = carry_out(task)
    assert outcome.status == FAILED
    assert outcome.reason.startswith("train ended with code 1; the last of ")
    assert outcome.reason.endswith("bar 2%\nTraceback\nValueError: planted")
    assert RunFolder(task.folder).state == CUT


def test_a_kill_for_memory_says_so(task, launcher):
    launcher.faults["evaluate"] = says("", -signal.SIGKILL)
    reason = carry_out(task).reason
    assert "evaluate was killed by SIGKILL, as the system does when memory runs out (it held 100 MB)" in reason


def test_a_refusal_is_told_from_a_crash(task, launcher):
    launcher.faults["train"] = says("INFO\nerror: the dataset is empty\n", 1)
    outcome = carry_out(task)
    assert outcome.status == REFUSED
    assert outcome.reason.endswith("\nerror: the dataset is empty")


def test_results_on_other_subjects_are_no_results(task, launcher):
    launcher.scored = ["a", "c"]
    outcome = carry_out(task)
    assert outcome.status == FAILED
    assert "is not about the 2 subjects of this part; differs in b, c" in outcome.reason
    assert not RunFolder(task.folder).done.exists()


@pytest.mark.parametrize("file", ["metrics.json", "per_subject.csv"])
def test_a_command_that_leaves_nothing_failed(task, launcher, file):
    launcher.faults["evaluate"] = says("", 0)
    if file == "per_subject.csv":
        Path(task.folder).mkdir()
        (Path(task.folder) / "metrics.json").touch()
    assert f"but left no {file}" in carry_out(task).reason


@pytest.mark.parametrize(
    "line",
    [
        "OSError: [Errno 28] No space left on device",
        "OSError: [Errno 122] Disk quota exceeded: 'x'",
        # Told by the command itself: no refusal of what it was asked.
        "error: out/metrics.json: No space left on device. Make room or give rights, or name another folder",
        # As seen from torch.save on a full tmpfs; the log itself found no room for its end.
        "15:41 ERROR Engine run is terminating due to exception: [enforce fail at inline_container.cc:672] . un",
    ],
)
def test_a_full_disk_is_told_from_other_failures_and_the_run_can_go_on(task, launcher, line):
    launcher.faults["train"] = says(f"Traceback\n{line}\n", 1)
    assert carry_out(task).status == DISK_FULL
    assert not RunFolder(task.folder).failed.exists()
    launcher.faults.clear()
    assert carry_out(task) == Outcome(DONE)


def test_a_run_that_failed_on_a_disk_without_the_wanted_room_did_so_for_it(task, launcher, monkeypatch):
    launcher.faults["train"] = says("", 1)
    usage = shutil.disk_usage(task.root)
    free = iter([900_000_000, 50_000_000])
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=next(free)))
    assert carry_out(replace(task, min_free_mb=100.0)).status == DISK_FULL


def test_no_run_starts_on_a_disk_that_is_nearly_full(task, launcher, monkeypatch):
    usage = shutil.disk_usage(task.root)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=5_000_000))
    outcome = carry_out(replace(task, min_free_mb=100.0))
    assert outcome.status == DISK_FULL
    assert "its disk has 5 MB left, a run wants min_free_mb = 100" in outcome.reason
    assert RunFolder(task.folder).state == NEW


def test_a_disk_that_fills_while_the_worker_writes_damages_nothing(task, launcher, monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "finish", full)
        assert carry_out(task).status == DISK_FULL
    assert RunFolder(task.folder).state == CUT
    assert carry_out(task) == Outcome(DONE)


def test_a_folder_in_use_is_left_alone(task, launcher):
    with RunFolder(task.folder).locked(0.0):
        outcome = carry_out(task)
    assert outcome.status == FAILED
    assert "another run of the grid is writing to" in outcome.reason
    assert launcher.commands == []


# Behaviour.


def test_a_run_leaves_all_that_the_tables_need(task, launcher):
    assert carry_out(task) == Outcome(DONE)
    folder = RunFolder(task.folder)
    assert folder.state == DONE
    assert folder.config.read_text() == "a: 1\n"
    assert [command[:3] for command in launcher.commands] == [
        ("train", "monai.bundle", "run"),
        ("evaluate", "monai.bundle", "run"),
        ("cost", "scripts.experiments.grid.cost", str(folder.config)),
    ]
    assert json.loads(folder.cost.read_text()) == {
        "parameters": 3,
        "gflops": 0.5,
        "image_size": 32,
        "seconds_per_study": 1.5,
    }
    provenance = json.loads(folder.provenance.read_text())
    assert {"arm": "unet", "fold": 0, "seed": 1, "split": "test", "peak_rss_mb": 300.0}.items() <= provenance.items()
    assert provenance["seconds_training"] == provenance["seconds_evaluating"] == 2.0
    assert provenance["train_command"] == (
        "python -m monai.bundle run training --config_file \"['a', 'b']\" --dataset_dir data"
    )
    assert {"torch", "monai", "numpy"} <= provenance["packages"].keys()
    assert provenance["commit"] == "abc"
    assert provenance["started"] <= provenance["finished"]
    assert not folder.checkpoints.exists()


def test_an_evaluation_that_does_not_say_its_pace_is_timed_whole(task, launcher):
    Path(task.folder).mkdir()
    (Path(task.folder) / "metrics.json").write_text("{}")
    (Path(task.folder) / "per_subject.csv").write_text("case\na\nb\n")
    launcher.faults["evaluate"] = says("", 0)
    assert carry_out(task) == Outcome(DONE)
    assert json.loads(RunFolder(task.folder).cost.read_text())["seconds_per_study"] == 0.5  # one second for two


def test_a_done_run_is_not_run_again(task, launcher):
    carry_out(task)
    launcher.commands.clear()
    assert carry_out(task) == Outcome(DONE)
    assert launcher.commands == []


def test_checkpoints_may_stay(task, launcher):
    assert carry_out(replace(task, keep_checkpoints=True)) == Outcome(DONE)
    assert RunFolder(task.folder).checkpoints.is_dir()
