"""The bundle as its users meet it: a tiny cohort on disk, and commands typed from any folder."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from scripts.phantom.cohort import write_cohort

REPOSITORY = Path(__file__).resolve().parents[2]

ENVIRONMENT = {
    # One thread a process: many short processes on few cores, and sums in an order that is always the same.
    "OMP_NUM_THREADS": "1",
    "CUDA_VISIBLE_DEVICES": "",
    "PYTHONUNBUFFERED": "1",
}

NARROW = {
    "network_def#widths": [4, 4, 8, 8],
    "network_def#d_model": 16,
    "network_def#ffn": 16,
    "image_size": 32,
}
"""Overrides that make the shipped network take milliseconds."""

# What `python -m monai.bundle` does, in a child of the fork server, which has the libraries imported already.
_TYPED = """
import os, runpy, sys, torch
# The server may have been started by other tests, before the environment said so.
torch.set_num_threads(1)
sys.argv[:] = ["monai.bundle", *arguments]
os.chdir(folder)
for stream, path in ((1, stdout), (2, stderr)):
    os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), stream)
try:
    runpy.run_module("monai.bundle", run_name="__main__", alter_sys=True)
except Exception:
    # A process of multiprocessing prints a traceback of its own where the interpreter would ask the hook.
    sys.excepthook(*sys.exc_info())
    sys.exit(1)
"""


@dataclass(frozen=True)
class Finished:
    """A command that has ended; ``stderr`` is in ``stdout`` where they share a pipe."""

    code: int
    stdout: str
    stderr: str = ""

    @property
    def error(self) -> str:
        """The last line of the error stream."""
        return self.stderr.strip().splitlines()[-1]


class Bundle:
    """Types ``python -m monai.bundle`` commands.

    Args:
        server: of processes with the libraries imported, so that most commands start in an instant.
        logs: folder for their output.
    """

    def __init__(self, server: multiprocessing.context.ForkServerContext, logs: Path) -> None:
        self.repository = REPOSITORY
        self.root = REPOSITORY / "bundle"
        self.configs = self.root / "configs"
        self._server = server
        self._logs = logs
        self._count = 0

    def run_arguments(self, run_id: str, config: str | Sequence[str], overrides: dict[str, Any]) -> list[str]:
        """``run RUN_ID --config_file ... --key value ...`` with configs by name."""
        paths = [str(self.configs / name) for name in ([config] if isinstance(config, str) else config)]
        pairs = {"config_file": paths[0] if isinstance(config, str) else paths} | overrides
        return ["run", run_id, *(part for key, value in pairs.items() for part in (f"--{key}", str(value)))]

    def run(self, run_id: str, config: str | Sequence[str], overrides: dict[str, Any]) -> Finished:
        """A run id of a config in a process of its own."""
        return self.type(*self.run_arguments(run_id, config, overrides))

    def type(self, *arguments: str, folder: Path = REPOSITORY) -> Finished:
        """Any command of ``monai.bundle`` in a process of its own, typed in ``folder``."""
        self._count += 1
        stdout, stderr = (self._logs / f"{self._count}.{name}" for name in ("stdout", "stderr"))
        names = {"arguments": arguments, "folder": str(folder), "stdout": str(stdout), "stderr": str(stderr)}
        process = self._server.Process(target=exec, args=(_TYPED, names))
        process.start()
        process.join()
        return Finished(process.exitcode, stdout.read_text(), stderr.read_text())

    def start(
        self, *arguments: str, folder: Path = REPOSITORY, launcher: Sequence[str] = (sys.executable,)
    ) -> subprocess.Popen:
        """The same exactly as a shell would start it, to be waited for with ``wait``; both streams in one."""
        return subprocess.Popen(
            [*launcher, "-m", "monai.bundle", *arguments],
            cwd=folder,
            env=os.environ | ENVIRONMENT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def wait(self, process: subprocess.Popen) -> Finished:
        """Wait for a process of ``start``."""
        output, _ = process.communicate()
        return Finished(process.returncode, output)


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bundle]:
    """Types commands."""
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["monai.bundle", "monai.engines", "monai.handlers", "scripts.engines.workflows"])
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        yield Bundle(server, tmp_path_factory.mktemp("logs"))


@pytest.fixture(scope="session")
def narrow() -> dict[str, Any]:
    """Overrides for a network of milliseconds."""
    return dict(NARROW)


@pytest.fixture(scope="session")
def quick(narrow: dict[str, Any]) -> dict[str, Any]:
    """Overrides for analyses without what takes most of the time of a tiny study."""
    return narrow | {"backend": "torch", "figures": "false"}


@pytest.fixture(scope="session")
def short(narrow: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Overrides for a training of a second."""
    cache_dir = str(tmp_path_factory.mktemp("cache"))
    return narrow | {"max_epochs": 1, "val_interval": 1, "batch_size": 2, "cache_dir": cache_dir}


@pytest.fixture(scope="session")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fourteen coarse phantom studies: 10 to train on, 2 to validate, 2 to test."""
    folder = tmp_path_factory.mktemp("bundle") / "cohort"
    write_cohort(14, 5, folder, split_sizes=[10, 2, 2], shape=(48, 40, 16), workers=1)
    return folder


@pytest.fixture(scope="session")
def trained(bundle: Bundle, cohort: Path, short: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output folder of one epoch of training."""
    folder = tmp_path_factory.mktemp("trained") / "train"
    finished = bundle.run("training", "train.yaml", short | {"dataset_dir": cohort, "output_dir": folder})
    assert finished.code == 0, finished.stderr
    return folder
