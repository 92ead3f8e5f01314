"""What the grid has to do: every arm on every fold with every seed, and the commands of each such run."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from ...domain.classes import NO_LESION
from ...domain.errors import ConfigurationError
from ...studies.subjects_table import SUBJECTS_FILE
from .arms import CONFIGS, Arm
from .configs import as_text, compose, differences, from_text
from .parts import (
    Parts,
    Subject,
    kind_of,
    parts_of,
    require_classes,
    require_folds,
    spread,
)
from .run_folder import RunFolder
from .task import Task

ROOT = CONFIGS.parents[1]
"""Of the repository."""

COMMON = (CONFIGS / "train.yaml", CONFIGS / "evaluate.yaml")
"""The configs of every arm that names no others."""

OWN_KEYS = ("dataset_dir", "output_dir", "ckpt_path", "fold", "split", "seed", "keep")
"""What a run is, and how its parts are kept apart: overridden, its folder would tell of another run than it holds."""


@dataclass(frozen=True)
class Dataset:
    """A dataset of the grid: where it lies, who is in it, and how each fold is dealt."""

    path: Path
    subjects: tuple[Subject, ...]
    parts: Mapping[int, Parts]

    def fingerprint(self) -> dict[str, str]:
        """What makes it another dataset when it changes: each subject's split, fold and class, and the files' sizes."""
        listing = (f"{file.relative_to(self.path)} {file.stat().st_size}" for file in sorted(self.path.glob("*/*")))
        files = hashlib.sha256("\n".join(listing).encode()).hexdigest()[:16]
        return {s.case: f"{s.split} {s.fold} {s.tumour_class}" for s in self.subjects} | {"(files)": files}


@dataclass(frozen=True)
class Settings:
    """What is the same for all runs.

    Args:
        output_dir: of the grid.
        overrides: keys of the configs, for every arm.
        arm_overrides: likewise, by arm, on top of them.
        cpus_per_task: threads of a run.
        gpus_per_task: GPUs of a run, a share of one where several runs fit on it.
        keep_checkpoints: whether finished runs keep them.
        keep_masks: of how many scored studies a run keeps the masks, for pictures; the same of every arm.
        min_free_mb: no run starts with less room on the disk.
        commit: of the repository now; None where there is no Git.
    """

    output_dir: Path
    overrides: Mapping[str, Any] = field(default_factory=dict)
    arm_overrides: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    cpus_per_task: int = 1
    gpus_per_task: float = 0.0
    keep_checkpoints: bool = False
    keep_masks: int = 6
    min_free_mb: float = 1024.0
    commit: str | None = None


@dataclass(frozen=True)
class Run:
    """One arm on one fold with one seed."""

    arm: Arm
    fold: int
    seed: int
    dataset: Dataset
    settings: Settings

    @property
    def name(self) -> str:
        """``unet/fold0/seed1``."""
        return f"{self.arm.key}/fold{self.fold}/seed{self.seed}"

    @property
    def after(self) -> str | None:
        """Name of the run whose weights this one starts from."""
        return f"{self.arm.after}/fold{self.fold}/seed{self.seed}" if self.arm.after else None

    @property
    def parts(self) -> Parts:
        """Its subjects."""
        return self.dataset.parts[self.fold]

    @cached_property
    def folder(self) -> RunFolder:
        """Where its files go."""
        return RunFolder(self.settings.output_dir / "runs" / self.name)

    @property
    def training(self) -> dict[str, Any]:
        """What the command line of ``training`` says."""
        said = {
            "dataset_dir": str(self.dataset.path),
            "output_dir": str(self.folder.path),
            "cache_dir": str(self.settings.output_dir / "cache"),
            "fold": self.fold,
            "seed": self.seed,
            "keep": self.parts.keep,
            "resume": True,
            # The runner has checked it, once for all runs.
            "check_dataset": False,
            "tensorboard": False,
            **self._overrides_of(self.arm.train),
        }
        if self.after is not None:
            said["init_ckpt"] = str(RunFolder(self.settings.output_dir / "runs" / self.after).model)
        return said

    @property
    def evaluating(self) -> dict[str, Any]:
        """What the command line of ``evaluating`` says."""
        said = {
            "dataset_dir": str(self.dataset.path),
            "output_dir": str(self.folder.path),
            "ckpt_path": str(self.folder.model),
            "seed": self.seed,
            # The same arithmetic for every arm, whether or not another engine could run it.
            "backend": "torch",
            "figures": False,
            "keep_masks": list(self._pictured),
        }
        said |= {"split": "test"} if self.parts.split == "test" else {"fold": self.fold}
        return said | self._overrides_of(self.arm.evaluate)

    def task(self) -> Task:
        """What a worker needs to know."""
        settings = self.settings
        shorten = str(ROOT) + "/"
        train = compose(self.arm, self.arm.train, self.training)
        evaluate = compose(self.arm, self.arm.evaluate, self.evaluating)
        return Task(
            arm=self.arm.key,
            fold=self.fold,
            seed=self.seed,
            folder=str(self.folder.path),
            root=str(ROOT),
            commit=settings.commit,
            training=_arguments("training", self.arm.train, self.arm.overlay, self.training),
            evaluating=_arguments("evaluating", self.arm.evaluate, self.arm.overlay, self.evaluating),
            # Relative to the repository, where the commands run, so that the files name no machine's folders.
            config=as_text(train).replace(shorten, ""),
            evaluate_config=as_text(evaluate).replace(shorten, ""),
            split=self.parts.split,
            scored=self.parts.scored,
            threads=settings.cpus_per_task,
            fork=not settings.gpus_per_task,
            keep_checkpoints=settings.keep_checkpoints,
            min_free_mb=settings.min_free_mb,
        )

    @property
    def _pictured(self) -> list[str]:
        """The first scored subjects with a lesion, of the classes in turn."""
        scored = set(self.parts.scored)
        with_lesion = [s for s in self.dataset.subjects if s.case in scored and s.tumour_class not in ("", NO_LESION)]
        return [subject.case for subject in spread(with_lesion, self.settings.keep_masks)]

    def _overrides_of(self, base: Path) -> dict[str, Any]:
        """The overrides that mean something to a config: one of the training alone is none of the evaluation's."""
        overrides = {**self.settings.overrides, **self.settings.arm_overrides.get(self.arm.key, {})}
        known = compose(self.arm, base, {})
        return {key: value for key, value in overrides.items() if _top(key) in known}


def open_dataset(path: Path, folds: Sequence[int], *, name: str | None) -> Dataset:
    """Read a dataset's table and deal its folds.

    Args:
        path: the folder.
        folds: the numbers of the held-out folds.
        name: of the kind of dataset, as in an arm's ``dataset``; None are four-phase liver studies.

    Raises:
        DatasetError: the table, a fold or a class is at fault.
        ConfigurationError: a fold that it does not have.
    """
    kind = kind_of(name)
    subjects = kind.read(path)
    require_folds(subjects, folds, path / SUBJECTS_FILE)
    parts = {fold: parts_of(subjects, fold) for fold in folds}
    for each in parts.values():
        require_classes(subjects, each, path, kind.classes)
    return Dataset(path, tuple(subjects), parts)


def plan_runs(
    arms: Sequence[Arm],
    folds: Sequence[int],
    seeds: Sequence[int],
    datasets: Mapping[str | None, Dataset],
    settings: Settings,
) -> list[Run]:
    """All runs; every arm's first fold and seed come first, so that whatever is stopped early has compared them all.

    Raises:
        ConfigurationError: a dataset that an arm needs was not given, an overlay does not fit, or a key is
            overridden that no arm has or that the grid sets itself.
    """
    # Those of the common configs too: the same overrides serve a few arms and all.
    known = {key for base in COMMON for key in from_text(base.read_text(encoding="utf-8"))}
    known |= {key for arm in arms for base in (arm.train, arm.evaluate) for key in compose(arm, base, {})}
    asked = [*settings.overrides, *(key for arm in arms for key in settings.arm_overrides.get(arm.key, {}))]
    if unknown := [key for key in asked if _top(key) not in known]:
        msg = f"overrides: no arm's config has the key {', '.join(map(repr, unknown))}. Correct it"
        raise ConfigurationError(msg)
    if own := [key for key in asked if _top(key) in OWN_KEYS]:
        msg = f"overrides: the grid itself sets {', '.join(map(repr, own))} of every run. Take it out of them"
        raise ConfigurationError(msg)
    for arm in arms:
        if arm.dataset not in datasets:
            msg = f"arm {arm.key} needs a {arm.dataset} dataset: give --{arm.dataset}_dataset_dir, or leave the arm out"
            raise ConfigurationError(msg)
    runs = [Run(arm, fold, seed, datasets[arm.dataset], settings) for seed in seeds for fold in folds for arm in arms]
    for run in runs[: len(arms)]:
        run.task()  # a config that cannot be put together is known before anything runs
    return runs


def require_same_settings(runs: Sequence[Run]) -> None:
    """Refuse to go on with runs that were begun with another config.

    Raises:
        ConfigurationError: naming the first such run and what differs.
    """
    for run in runs:
        task = None
        for name in ("config", "evaluate_config"):
            file = getattr(run.folder, name)
            if not file.is_file():
                continue
            task = task or run.task()
            if changed := differences(from_text(file.read_text(encoding="utf-8")), from_text(getattr(task, name))):
                more = f" and {len(changed) - 4} more" if len(changed) > 4 else ""
                msg = (
                    f"{run.folder.path} was made with other settings: {'; '.join(changed[:4])}{more}. "
                    "Give another --output_dir, the settings of then, or remove that folder to run it anew"
                )
                raise ConfigurationError(msg)


def _top(key: str) -> str:
    """The top-level key of a config id such as ``network_def#widths`` or ``network_def::widths``."""
    return key.replace("::", "#").split("#")[0].lstrip("+")


def _arguments(run_id: str, base: Path, overlay: Path, said: Mapping[str, Any]) -> tuple[str, ...]:
    flags = (part for key, value in said.items() for part in (f"--{key}", str(value)))
    return ("run", run_id, "--config_file", str([str(base), str(overlay)]), *flags)
