"""The run id ``grid``: every arm on every fold with every seed, on Ray, going on where it was stopped."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from tqdm import tqdm

from ...domain.entry import entry_point
from ...domain.errors import ConfigurationError, RunError
from ...domain.folder_lock import FolderLock
from ...domain.switches import is_on
from ...domain.writing import replace_when_written
from ...studies.integrity import require_valid
from .arms import ALL, Arm, choose_arms, require_known
from .plan import ROOT, Dataset, Run, Settings, open_dataset, plan_runs, require_same_settings
from .provenance import commit_of
from .ray_session import ray_session
from .run_folder import DONE, clear_leftovers
from .task import DISK_FULL, FAILED, REFUSED, Outcome, carry_out

logger = logging.getLogger(__name__)

GRID_FILE = "grid.json"


@entry_point
def run_grid(
    arms: str | Sequence[str],
    folds: int | Sequence[int],
    seeds: int | Sequence[int],
    dataset_dir: str,
    output_dir: str,
    *,
    without: str | Sequence[str] = (),
    other_datasets: Mapping[str, str | None] | None = None,
    overrides: Mapping[str, Any] | None = None,
    arm_overrides: Mapping[str, Mapping[str, Any]] | None = None,
    ray_address: str | None = None,
    cpus: int | None = None,
    cpus_per_task: int = 1,
    gpus_per_task: float = 0.0,
    retries: int = 1,
    keep_checkpoints: bool | str = False,
    keep_masks: int = 6,
    min_free_mb: float = 1024.0,
    dry_run: bool | str = False,
) -> None:
    """Run the grid; the run id ``grid`` of ``configs/grid.yaml``.

    Args:
        arms: names of overlays in ``configs/experiments``, or ``all``.
        folds: how many of the dataset's folds are held out one after the other, or their numbers.
        seeds: numbers.
        dataset_dir: four-phase liver studies, with folds in ``subjects.csv``.
        output_dir: of the grid; what is finished in it is skipped, what was cut short goes on.
        without: arms left out of ``arms``.
        other_datasets: folders of other datasets by the name that an arm gives as ``arm.dataset``.
        overrides: keys of the arms' configs, such as ``{"max_epochs": 3}``.
        arm_overrides: likewise by arm, on top of them.
        ray_address: of a cluster; None runs on this machine.
        cpus: cores to use on this machine.
        cpus_per_task: cores, and threads, of a run.
        gpus_per_task: GPUs of a run, or a share of one.
        retries: how often a run is begun again that crashed.
        keep_checkpoints: whether finished runs keep them.
        keep_masks: of how many scored studies a run keeps the masks, for pictures.
        min_free_mb: no run starts with less room on the disk.
        dry_run: print what would be run, with an estimate of its time and memory, and run nothing.

    Raises:
        SystemExit: the input is wrong, and nothing was run; or some runs failed, and the others were finished.
    """
    chosen = choose_arms(_listed(arms), without=_listed(without))
    if ALL in _listed(arms):
        chosen = _with_a_dataset(chosen, other_datasets or {})
    by_arm = _mapping("arm_overrides", arm_overrides)
    require_known(by_arm, where="arm_overrides")
    numbers = _whole_numbers("folds", list(range(folds)) if isinstance(folds, int) else folds)
    settings = Settings(
        output_dir=Path(output_dir).resolve(),
        overrides=_mapping("overrides", overrides),
        arm_overrides=by_arm,
        cpus_per_task=cpus_per_task,
        gpus_per_task=gpus_per_task,
        keep_checkpoints=is_on(keep_checkpoints),
        keep_masks=keep_masks,
        min_free_mb=min_free_mb,
        commit=commit_of(ROOT),
    )
    datasets = _open_datasets(chosen, numbers, dataset_dir, other_datasets or {})
    runs = plan_runs(chosen, numbers, _whole_numbers("seeds", seeds), datasets, settings)
    _require_same_grid(settings.output_dir, datasets)
    require_same_settings(runs)
    if is_on(dry_run):
        from .estimate import print_plan

        print_plan(runs, cpus=cpus)
        return
    settings.output_dir.mkdir(parents=True, exist_ok=True)
    lock = FolderLock(settings.output_dir, holder="runner")
    try:
        # The slices that all runs share; a run clears its own folder.
        clear_leftovers(settings.output_dir / "cache")
        _write_grid_file(settings.output_dir, datasets)
        _run_all(runs, ray_address=ray_address, cpus=cpus, retries=retries)
    finally:
        lock.release()


def _run_all(runs: Sequence[Run], *, ray_address: str | None, cpus: int | None, retries: int) -> None:
    """Do what is left, and say what failed.

    Raises:
        RunError: a run failed, or the disk is full.
    """
    left = [run for run in runs if run.folder.state != DONE]
    finished = len(runs) - len(left)
    if not left:
        print(f"grid: all {len(runs)} runs are done already")
        return
    with (
        ray_session(ray_address, cpus=cpus) as ray,
        tqdm(total=len(runs), initial=finished, desc="grid", unit="run") as bar,
    ):
        failed = _Scheduler(ray, left, bar, retries).run()
    if failed:
        others = "the others are done; " if len(failed) < len(runs) else ""
        lines = [f"{len(failed)} of {len(runs)} runs failed, {others}the same command tries them again"]
        raise RunError("\n".join([*lines, *(f"{name}: {reason}" for name, reason in failed.items())]))
    print(f"grid: all {len(runs)} runs are done: {runs[0].settings.output_dir}")


@dataclass
class _Scheduler:
    """Gives runs to Ray as soon as those that they start from are done.

    Args:
        ray: the module, connected.
        waiting: runs that are not done.
        bar: moves on with every run that ends.
        retries: how often a run is begun again that crashed.
    """

    ray: ModuleType
    waiting: list[Run]
    bar: tqdm
    retries: int

    def run(self) -> dict[str, str]:
        """Do all runs.

        Returns:
            The reasons of those that failed, by name.

        Raises:
            RunError: the disk is full; everything stops, and can go on later.
            ConfigurationError: a run wants more cores or GPUs than there are.
        """
        settings = self.waiting[0].settings
        self._require_resources(settings)
        self._remote = self.ray.remote(num_cpus=settings.cpus_per_task, num_gpus=settings.gpus_per_task, max_retries=0)(
            carry_out
        )
        self._failed: dict[str, str] = {}
        self._attempts: dict[str, int] = {}
        self._going: dict[Any, Run] = {}
        self._submit_ready()
        while self._going:
            self.bar.set_postfix(failed=len(self._failed))
            (ended,), _ = self.ray.wait(list(self._going), num_returns=1)
            self._settle(self._going.pop(ended), self._outcome(ended))
            self._submit_ready()
        return self._failed

    def _require_resources(self, settings: Settings) -> None:
        """Refuse a share that no machine has, for which Ray would wait for ever.

        Raises:
            ConfigurationError: it is more than any has.
        """
        machines = [node["Resources"] for node in self.ray.nodes() if node["Alive"]]
        for kind, key in (("CPU", "cpus_per_task"), ("GPU", "gpus_per_task")):
            wanted, has = getattr(settings, key), max(machine.get(kind, 0) for machine in machines)
            if wanted > has:
                msg = f"{key} is {wanted:g}, and no machine of Ray has more than {has:g} {kind}. Give a smaller --{key}"
                raise ConfigurationError(msg)

    def _submit_ready(self) -> None:
        while ready := self._ready():
            for run in ready:
                self.waiting.remove(run)
                if run.after in self._failed:
                    reason = f"it starts from the weights of {run.after}, which failed"
                    self._settle(run, Outcome(REFUSED, reason))
                else:
                    self._submit(run)

    def _ready(self) -> list[Run]:
        unfinished = {run.name for run in (*self.waiting, *self._going.values())}
        return [run for run in self.waiting if run.after not in unfinished]

    def _submit(self, run: Run) -> None:
        self._attempts[run.name] = self._attempts.get(run.name, 0) + 1
        self._going[self._remote.remote(run.task())] = run

    def _outcome(self, ended: Any) -> Outcome:
        try:
            return self.ray.get(ended)
        except self.ray.exceptions.RayError as error:
            # Ray wraps what a task raised; without a cause the process itself is gone.
            cause = getattr(error, "cause", None)
            what = "its worker died" if cause is None else f"the runner failed on it with {type(cause).__name__}"
            return Outcome(FAILED, f"{what}: {' '.join(str(cause or error).split())[:300]}")

    def _settle(self, run: Run, outcome: Outcome) -> None:
        if outcome.status == DISK_FULL:
            msg = (
                f"the disk is full, so the grid was stopped: {outcome.reason}. Nothing that was finished is damaged. "
                "Make room and give the same command again"
            )
            raise RunError(msg)
        if outcome.status == FAILED and self._attempts[run.name] <= self.retries:
            self.bar.write(f"{run.name}: failed, and is tried again: {outcome.reason}")
            self._submit(run)
            return
        if outcome.status != DONE:
            self._failed[run.name] = outcome.reason
            self.bar.write(f"{run.name}: failed: {outcome.reason}")
            run.folder.fail(outcome.reason)
        self.bar.update()


def _with_a_dataset(arms: Sequence[Arm], others: Mapping[str, str | None]) -> list[Arm]:
    """Those of all arms whose dataset is there; says which are not run for want of one."""
    absent = [arm for arm in arms if arm.dataset is not None and not others.get(arm.dataset)]
    for name in dict.fromkeys(arm.dataset for arm in absent):
        keys = ", ".join(arm.key for arm in absent if arm.dataset == name)
        print(f"grid: left out for want of --{name}_dataset_dir: {keys}")
    return [arm for arm in arms if arm not in absent]


def _open_datasets(
    arms: Sequence[Arm], folds: Sequence[int], dataset_dir: str, others: Mapping[str, str | None]
) -> dict[str | None, Dataset]:
    """The datasets that the arms need, by name, the liver studies under None."""
    datasets: dict[str | None, Dataset] = {}
    for name in dict.fromkeys(arm.dataset for arm in arms):
        if name is None:
            path = Path(dataset_dir).resolve()
            datasets[name] = open_dataset(path, folds, name=None)
            require_valid(path)
        elif others.get(name):
            datasets[name] = open_dataset(Path(others[name]).resolve(), folds, name=name)
    return datasets


def _require_same_grid(output_dir: Path, datasets: Mapping[str | None, Dataset]) -> None:
    """Refuse a folder that holds something else, or runs on another dataset.

    Raises:
        ConfigurationError: it does.
    """
    file = output_dir / GRID_FILE
    if not file.is_file():
        strange = [path.name for path in output_dir.glob("*") if path.name not in ("runs", "cache", ".lock")]
        if strange or output_dir.is_file():
            msg = f"output_dir {output_dir} holds other things than a grid ({', '.join(strange[:3])}). Give another"
            raise ConfigurationError(msg)
        return
    before = json.loads(file.read_text())["datasets"]
    for name, dataset in datasets.items():
        was, now = before.get(name or "liver"), dataset.fingerprint()
        if was is None or was == now:
            continue
        changed = [case for case in dict.fromkeys((*was, *now)) if was.get(case) != now.get(case)]
        first = changed[0]
        msg = (
            f"{output_dir} was made with another dataset than {dataset.path}: {len(changed)} entries differ, such as "
            f"{first}: was {was.get(first, 'absent')}, is {now.get(first, 'absent')}. Give another --output_dir"
        )
        raise ConfigurationError(msg)


def _write_grid_file(output_dir: Path, datasets: Mapping[str | None, Dataset]) -> None:
    file = output_dir / GRID_FILE
    known = json.loads(file.read_text())["datasets"] if file.is_file() else {}
    known |= {name or "liver": dataset.fingerprint() for name, dataset in datasets.items()}
    with replace_when_written(file) as aside:
        aside.write_text(json.dumps({"datasets": known}, indent=1) + "\n")


def _listed(value: Any) -> list[Any]:
    """One or several, as the command line gives them."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return list(value) if isinstance(value, list | tuple) else [value]


def _whole_numbers(name: str, value: Any) -> list[int]:
    numbers = [int(each) if str(each).isdecimal() else None for each in _listed(value)]
    if not numbers or None in numbers:
        msg = f"{name} is {value!r}; it must be one or more whole numbers, such as 0,1,2"
        raise ConfigurationError(msg)
    return list(dict.fromkeys(numbers))


def _mapping(name: str, value: Any) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        msg = f"{name} is {value!r}; it must be a mapping such as \"{{'max_epochs': 3}}\""
        raise ConfigurationError(msg)
    return value
