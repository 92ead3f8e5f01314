"""The bundle as its users meet it: a tiny cohort on disk, and commands typed from the repository or from ``bundle/``."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from scripts.phantom.cohort import write_cohort

REPOSITORY = Path(__file__).resolve().parents[2]
BUNDLE = REPOSITORY / "bundle"
CONFIGS = BUNDLE / "configs"

# One thread a process: many short processes, and sums whose order is always the same.
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONWARNINGS": "ignore"}

NARROW = {
    "network_def#widths": [4, 4, 8, 8],
    "network_def#d_model": 16,
    "network_def#ffn": 16,
    "image_size": 32,
}
"""A network that takes milliseconds, told apart from the shipped one by nothing else."""

# Runs in a child of the fork server, which has imported the libraries already: what `python -m monai.bundle` runs.
_TYPED = """
import os, runpy, sys
sys.argv[:] = ["monai.bundle", *arguments]
os.chdir(cwd)
for stream, file in ((1, "stdout"), (2, "stderr")):
    os.dup2(os.open(os.path.join(folder, file), os.O_WRONLY | os.O_CREAT), stream)
runpy.run_module("monai.bundle", run_name="__main__", alter_sys=True)
"""


@dataclass(frozen=True)
class Finished:
    """A command that has ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def output(self) -> str:
        """Both streams."""
        return self.stdout + self.stderr


def overrides(**values: object) -> list[str]:
    """Command-line arguments of a run: the tiny network, then ``values``; ``__`` in a name stands for ``#``."""
    named = NARROW | {name.replace("__", "#"): value for name, value in values.items()}
    return [part for name, value in named.items() for part in (f"--{name}", str(value))]


def bundle_process(*arguments: str, cwd: Path = REPOSITORY, launcher: Sequence[str] = ()) -> subprocess.Popen:
    """Start ``python -m monai.bundle`` as a user's shell would; both streams go to ``stdout``."""
    command = [*(launcher or (sys.executable,)), "-m", "monai.bundle", *arguments]
    return subprocess.Popen(
        command,
        cwd=cwd,
        env=os.environ | ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def finish(process: subprocess.Popen, *, timeout_s: float = 300.0) -> Finished:
    """Wait for a process of ``bundle_process``."""
    output, _ = process.communicate(timeout=timeout_s)
    return Finished(process.returncode, output, "")


@pytest.fixture(scope="session")
def typed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Finished]]:
    """``typed(*arguments, cwd=...)``: a command in a process of its own that need not import the libraries again."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["monai.bundle", "monai.engines", "monai.handlers", "scripts.engines.workflows"])
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)

        def run(*arguments: str, cwd: Path = REPOSITORY) -> Finished:
            folder = tmp_path_factory.mktemp("typed")
            names = {"arguments": arguments, "cwd": str(cwd), "folder": str(folder)}
            process = context.Process(target=exec, args=(_TYPED, names))
            process.start()
            process.join(timeout=300)
            assert process.exitcode is not None, f"still running: {arguments}"
            return Finished(process.exitcode, *((folder / file).read_text() for file in ("stdout", "stderr")))

        yield run


@pytest.fixture(scope="session")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fourteen coarse phantom studies: 10 to train on, 2 to validate, 2 to test."""
    folder = tmp_path_factory.mktemp("bundle") / "cohort"
    write_cohort(14, 5, folder, split_sizes=[10, 2, 2], shape=(48, 40, 16), workers=1)
    return folder
