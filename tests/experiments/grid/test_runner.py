"""The runner: what is finished is skipped, what fails does not stop the others, and nothing is mixed up."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from monai.bundle import ConfigParser

from scripts.domain.errors import RunError
from scripts.domain.folder_lock import FolderLock
from scripts.experiments.grid import arms as arms_module
from scripts.experiments.grid import runner as module
from scripts.experiments.grid.arms import require_known
from scripts.experiments.grid.run_folder import DONE, FAILED, RunFolder
from scripts.experiments.grid.runner import run_grid
from scripts.experiments.grid.task import DISK_FULL, REFUSED, Outcome, Task

CONFIG = arms_module.CONFIGS / "grid.yaml"


class RayError(Exception):
    pass


class Reference:
    """To the outcome of a task."""

    def __init__(self, task: Task) -> None:
        self.task = task


class FakeRay:
    """Carries out one task after the other in this process, as ``behaviour`` says."""

    def __init__(self, behaviour: Callable[[Task, int], Outcome]) -> None:
        self.behaviour = behaviour
        self.begun: list[str] = []
        self.exceptions = SimpleNamespace(RayError=RayError)

    def nodes(self) -> list[dict[str, Any]]:
        small, large = {"CPU": 4.0}, {"CPU": 4.0, "GPU": 1.0}
        return [
            {"Alive": alive, "Resources": has} for alive, has in ((True, small), (True, large), (False, {"CPU": 64.0}))
        ]

    def remote(self, **resources: Any) -> Callable:
        self.resources = resources
        return lambda function: SimpleNamespace(remote=Reference)

    def wait(self, refs: list, num_returns: int) -> tuple[list, list]:
        return refs[:1], refs[1:]

    def get(self, ref: Reference) -> Outcome:
        task = ref.task
        name = f"{task.arm}/fold{task.fold}/seed{task.seed}"
        self.begun.append(name)
        outcome = self.behaviour(task, self.begun.count(name))
        if outcome.status == DONE:
            finish(RunFolder(task.folder), task.config)
        return outcome


def finish(folder: RunFolder, config: str) -> None:
    folder.path.mkdir(parents=True, exist_ok=True)
    folder.write_text(folder.config, config)
    folder.finish(keep_checkpoints=False)


@pytest.fixture
def ray(monkeypatch) -> FakeRay:
    from contextlib import contextmanager

    fake = FakeRay(lambda task, attempt: Outcome(DONE))

    @contextmanager
    def session(address: str | None, *, cpus: int | None = None):
        yield fake

    monkeypatch.setattr(module, "ray_session", session)
    return fake


@pytest.fixture
def grid(cohort, tmp_path, ray) -> Callable[..., None]:
    """Runs a grid of four: two arms, one fold, two seeds."""

    def run(**changes: Any) -> None:
        given = {
            "arms": ["mti_net", "seg_only"],
            "folds": 1,
            "seeds": (0, 1),
            "dataset_dir": str(cohort),
            "output_dir": str(tmp_path / "out"),
            "overrides": {"max_epochs": 1},
            "min_free_mb": 0.0,
        }
        run_grid(**(given | changes))

    return run


def run_folder(tmp_path: Path, name: str) -> RunFolder:
    return RunFolder(tmp_path / "out" / "runs" / name)


# Wrong input first.


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"arms": "nobody"}, r"unknown arm 'nobody'\. Known are .*mti_net.*unet"),
        ({"folds": 6}, "no subject is in fold 5; its table has only 0, 1, 2, 3, 4"),
        ({"folds": [0, 7]}, "no subject is in fold 7"),
        ({"folds": 0}, "folds is .*; it must be one or more whole numbers"),
        ({"seeds": "a,1"}, "seeds is 'a,1'; it must be one or more whole numbers"),
        ({"overrides": "max_epochs"}, "overrides is 'max_epochs'; it must be a mapping"),
        ({"overrides": {"max_epoch": 1}}, "overrides: no arm's config has the key 'max_epoch'"),
        ({"overrides": {"max_epochs#x#y": 1}}, "an override, does not fit behind train.yaml"),
        ({"overrides": {"seed": 7}}, "overrides: the grid itself sets 'seed' of every run"),
        ({"arm_overrides": {"mti_net": {"keep": "best"}}}, "overrides: the grid itself sets 'keep' of every run"),
        (
            {"arm_overrides": {"mtinet": {"max_epochs": 1}}},
            r"arm_overrides: unknown arm 'mtinet'\. Known are .*mti_net",
        ),
        ({"dataset_dir": "/nowhere"}, r"subjects\.csv: no such file"),
        ({"arms": "chest_vgg13_cr"}, "needs a chest dataset: give --chest_dataset_dir"),
    ],
)
def test_wrong_input_is_one_line_and_nothing_is_written(grid, tmp_path, ray, changes, message):
    with pytest.raises(SystemExit, match=f"^error: .*{message}") as ended:
        grid(**changes)
    assert len(str(ended.value).splitlines()) == 1
    assert not (tmp_path / "out").exists()
    assert ray.begun == []


def test_a_dataset_with_faults_is_refused(grid, cohort, tmp_path, ray):
    spoilt = shutil.copytree(cohort, tmp_path / "spoilt")
    next((spoilt / "imagesTr").glob("*_0002.nii.gz")).write_bytes(b"no image")
    with pytest.raises(SystemExit, match=r"spoilt: 1 fault\(s\) to correct before training"):
        grid(dataset_dir=str(spoilt))
    assert ray.begun == []
    assert not (tmp_path / "out").exists()


def test_a_folder_of_other_things_is_refused(grid, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").touch()
    with pytest.raises(SystemExit, match=r"holds other things than a grid \(thesis\.tex\)"):
        grid()


def test_another_dataset_in_the_same_folder_is_refused(grid, tmp_path, cohort, ray):
    grid()
    other = shutil.copytree(cohort, tmp_path / "other")
    table = (other / "subjects.csv").read_text()
    (other / "subjects.csv").write_text(table.replace(",train,1,", ",train,0,", 1))
    before = ray.begun.copy()
    with pytest.raises(
        SystemExit, match=r"was made with another dataset than .*other: 1 entries differ, such as phantom"
    ):
        grid(dataset_dir=str(other))
    assert ray.begun == before
    grid(dataset_dir=str(shutil.copytree(cohort, tmp_path / "copy")))  # a copy elsewhere is the same dataset


def test_other_settings_in_the_same_folder_are_refused(grid, tmp_path, ray):
    grid()
    done = sorted(path for path in (tmp_path / "out").rglob("*"))
    with pytest.raises(SystemExit, match="was made with other settings: max_epochs: was 1, is 2"):
        grid(overrides={"max_epochs": 2})
    assert sorted(path for path in (tmp_path / "out").rglob("*")) == done


def test_two_runners_on_one_folder_are_refused(grid, tmp_path, ray):
    (tmp_path / "out").mkdir()
    lock = FolderLock(tmp_path / "out")
    with pytest.raises(SystemExit, match=r"another runner is writing to output_dir .*out\. Wait until it ends"):
        grid()
    assert ray.begun == []
    lock.release()
    grid()


@pytest.mark.parametrize(("share", "kind"), [({"cpus_per_task": 5}, "4 CPU"), ({"gpus_per_task": 2}, "1 GPU")])
def test_a_share_that_nobody_has_is_refused(grid, ray, share, kind):
    (key,) = share
    with pytest.raises(SystemExit, match=f"{key} is {share[key]}, and no machine of Ray has more than {kind}. "):
        grid(**share)
    assert ray.begun == []


def test_a_full_disk_stops_the_grid_which_can_go_on(grid, tmp_path, ray):
    ray.behaviour = lambda task, attempt: (
        Outcome(DISK_FULL, "no space left") if (task.arm, task.seed) == ("seg_only", 0) else Outcome(DONE)
    )
    with pytest.raises(
        SystemExit, match=r"the disk is full, so the grid was stopped: no space left\. Nothing .* damaged"
    ):
        grid()
    assert run_folder(tmp_path, "mti_net/fold0/seed0").state == DONE
    assert not list((tmp_path / "out").rglob("failed.json"))
    ray.behaviour = lambda task, attempt: Outcome(DONE)
    ray.begun.clear()
    grid()
    assert "mti_net/fold0/seed0" not in ray.begun


# Behaviour.


def test_a_failed_run_does_not_stop_the_others_and_is_named(grid, tmp_path, ray):
    ray.behaviour = lambda task, attempt: (
        Outcome(FAILED, "ValueError: planted") if (task.arm, task.seed) == ("mti_net", 1) else Outcome(DONE)
    )
    with pytest.raises(SystemExit, match=r"1 of 4 runs failed, the others are done.*\nmti_net/fold0/seed1: ValueError"):
        grid(retries=2)
    assert ray.begun.count("mti_net/fold0/seed1") == 3
    failed = json.loads(run_folder(tmp_path, "mti_net/fold0/seed1").failed.read_text())
    assert failed["reason"] == "ValueError: planted"
    assert sum(file.name == "done.json" for file in (tmp_path / "out").rglob("*")) == 3

    ray.behaviour, ray.begun = lambda task, attempt: Outcome(DONE), []
    grid()
    assert ray.begun == ["mti_net/fold0/seed1"]


def test_a_worker_that_died_is_replaced(grid, ray):
    def dies_once(task: Task, attempt: int) -> Outcome:
        if attempt == 1 and task.arm == "seg_only":
            raise RayError("the worker died unexpectedly")
        return Outcome(DONE)

    ray.behaviour = dies_once
    grid()
    assert ray.begun.count("seg_only/fold0/seed0") == 2
    assert ray.begun.count("mti_net/fold0/seed0") == 1


def test_what_a_worker_could_not_foresee_is_told_from_its_death(grid, ray, tmp_path):
    def surprises(task: Task, attempt: int) -> Outcome:
        error = RayError("ray::carry_out() pages of a traceback")
        error.cause = KeyError("planted") if task.seed else None
        raise error

    ray.behaviour = surprises
    with pytest.raises(SystemExit) as ended:
        grid(arms="mti_net", retries=0)
    _, died, failed = str(ended.value).splitlines()
    assert died == "mti_net/fold0/seed0: its worker died: ray::carry_out() pages of a traceback"
    assert failed == "mti_net/fold0/seed1: the runner failed on it with KeyError: 'planted'"


def test_a_refusal_is_not_tried_again(grid, ray):
    ray.behaviour = lambda task, attempt: Outcome(REFUSED, "error: planted") if task.seed else Outcome(DONE)
    with pytest.raises(SystemExit, match="2 of 4 runs failed"):
        grid(retries=5)
    assert sorted(ray.begun) == sorted(set(ray.begun))


def test_half_written_slices_of_killed_runs_are_cleared_away(grid, tmp_path):
    cache = tmp_path / "out" / "cache"
    cache.mkdir(parents=True)
    for name in (".123-456.liver-64-ab.npy", "liver-64-ab.npy"):
        (cache / name).touch()
    grid(seeds=0)
    assert [path.name for path in cache.iterdir()] == ["liver-64-ab.npy"]


def test_what_is_done_is_skipped_and_the_grid_can_grow(grid, ray):
    grid(seeds=0)
    assert sorted(ray.begun) == ["mti_net/fold0/seed0", "seg_only/fold0/seed0"]
    ray.begun.clear()
    grid(seeds=(0, 1), folds=2, arms="mti_net")
    assert sorted(ray.begun) == ["mti_net/fold0/seed1", "mti_net/fold1/seed0", "mti_net/fold1/seed1"]
    ray.begun.clear()
    grid(seeds=0)
    assert ray.begun == []


def test_an_arm_waits_for_the_one_whose_weights_it_starts_from(grid, ray, tmp_path, monkeypatch):
    folder = tmp_path / "overlays"
    folder.mkdir()
    (folder / "a_second.yaml").write_text("# Overlay.\narm: {name: Second, after: first}\n")
    (folder / "a_third.yaml").write_text("# Overlay.\narm: {name: Third, after: a_second}\n")
    (folder / "first.yaml").write_text("# Overlay.\narm: {name: First}\n")
    choose = arms_module.choose_arms
    monkeypatch.setattr(module, "choose_arms", lambda names, without: choose(names, without=without, folder=folder))
    grid(arms="a_second", seeds=0)
    assert ray.begun == ["first/fold0/seed0", "a_second/fold0/seed0"]

    ray.begun.clear()
    ray.behaviour = lambda task, attempt: Outcome(REFUSED, "planted")
    with pytest.raises(
        SystemExit, match="a_second/fold0/seed5: it starts from the weights of first/fold0/seed5, which"
    ):
        grid(arms="a_second", seeds=5)
    assert ray.begun == ["first/fold0/seed5"]


def test_all_are_those_whose_dataset_is_there(grid, ray, capsys, monkeypatch, tmp_path):
    folder = tmp_path / "overlays"
    folder.mkdir()
    (folder / "liver.yaml").write_text("# Overlay.\narm: {name: Liver}\n")
    (folder / "lung.yaml").write_text("# Overlay.\narm: {name: Lung, dataset: chest}\n")
    choose = arms_module.choose_arms
    monkeypatch.setattr(module, "choose_arms", lambda names, without: choose(names, without=without, folder=folder))
    grid(arms="all", seeds=0)
    assert ray.begun == ["liver/fold0/seed0"]
    assert "left out for want of --chest_dataset_dir: lung" in capsys.readouterr().out


def test_ray_gives_each_run_its_share(grid, ray):
    grid(cpus_per_task=2, gpus_per_task=0.5)
    assert ray.resources == {"num_cpus": 2, "num_gpus": 0.5, "max_retries": 0}


def test_runs_are_of_the_commit_that_the_grid_was_started_from(grid, ray, monkeypatch):
    monkeypatch.setattr(module, "commit_of", lambda root: f"commit of {root.name}")
    told = []
    ray.behaviour = lambda task, attempt: told.append(task.commit) or Outcome(DONE)
    grid()
    assert told == [f"commit of {arms_module.CONFIGS.parents[1].name}"] * 4


def test_an_error_of_our_own_ends_with_a_lock_released(grid, ray, tmp_path):
    def breaks(task: Task, attempt: int) -> Outcome:
        raise RunError("planted")

    ray.behaviour = breaks
    with pytest.raises(SystemExit, match="planted"):
        grid()
    FolderLock(tmp_path / "out").release()


@pytest.mark.parametrize("name", ["grid_quick.yaml", "grid_small.yaml"])
def test_the_smaller_grids_lie_over_the_grid(name):
    parser = ConfigParser()
    parser.read_config([str(CONFIG), str(CONFIG.with_name(name))])
    known = yaml.safe_load(CONFIG.read_text()).keys()
    own = yaml.safe_load(CONFIG.with_name(name).read_text()).keys()
    assert own - known <= {"+imports", "quick_dir", "initialize"}
    assert parser["without"] == ["nnunet"]
    require_known(parser["arm_overrides"])
