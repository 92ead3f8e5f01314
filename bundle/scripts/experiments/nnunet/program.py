"""nnU-Net's own commands, in the environment that ``make setup-nnunet`` makes."""

from __future__ import annotations

import codecs
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from threading import Thread

from ...domain.entry import entry_point
from ...domain.errors import ConfigurationError, RunError

PLAN = "nnUNetv2_plan_and_preprocess"
TRAIN = "nnUNetv2_train"
PREDICT = "nnUNetv2_predict_from_modelfolder"
PYTHON = "python"

MOST_WORKERS = 8
"""nnU-Net's own number where there are cores enough."""

FEW_CORES = 2
"""Up to so many, augmentation in processes of its own would only take turns with the training."""

_GUARD = "scripts.experiments.nnunet.guard"
_BUNDLE = Path(__file__).resolve().parents[3]
_TRAINERS = Path(__file__).resolve().parent / "trainers"

_OF_THIS_ENVIRONMENT = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")

_LAST_WORDS = 4000
"""Characters of a command's output that are kept."""

_LAST_LINES = 10
"""Of these, that the error of a failed command repeats."""


def cores_of_a_run() -> int:
    """The grid's share of a run, which it gives as the number of threads, or this machine's cores; at most 8."""
    share = os.environ.get("OMP_NUM_THREADS", "")
    cores = int(share) if share.isdecimal() and int(share) else len(os.sched_getaffinity(0))
    return min(MOST_WORKERS, cores)


class Program:
    """Runs nnU-Net's commands on the folders of one run.

    Args:
        commands: folder of its commands, and of the Python that they run in.
        work: its raw data, preprocessed data and results go into folders of this one.
        workers: processes that preprocess, augment and export.
    """

    def __init__(self, commands: str | Path, work: str | Path, *, workers: int) -> None:
        self.commands = Path(commands).absolute()
        self.work = Path(work).resolve()
        self.raw, self.preprocessed, self.results = (self.work / name for name in ("raw", "preprocessed", "results"))
        self.workers = workers

    def require(self) -> None:
        """Refuse to start without it.

        Raises:
            ConfigurationError: a command is not there.
        """
        absent = [name for name in (PLAN, TRAIN, PREDICT, PYTHON) if not (self.commands / name).is_file()]
        if absent:
            msg = f"nnU-Net is not installed: make setup-nnunet (no {absent[0]} in {self.commands})"
            raise ConfigurationError(msg)

    def run(self, command: str, *arguments: object) -> None:
        """Run a command to its end; what it prints is printed.

        Raises:
            RunError: it failed; the message repeats the last that it said.
        """
        # A killed runner must not leave it training in a folder that the next one begins anew.
        guard = (sys.executable, "-P", "-S", "-m", _GUARD, str(os.getpid()))
        process = subprocess.Popen(
            [*guard, str(self.commands / command), *map(str, arguments)],
            env=self._environment(planning=command == PLAN) | {"PYTHONPATH": str(_BUNDLE)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        said = bytearray()
        # Its own workers may outlive it for a moment and hold the pipe open, so its end is not the pipe's.
        echo = Thread(target=_echo, args=(process, said), daemon=True)
        echo.start()
        try:
            code = process.wait()
        finally:
            process.terminate()
        echo.join(timeout=5.0)
        if code:
            how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
            lines = said.decode(errors="replace").replace("\r", "\n").strip().splitlines()
            msg = "\n".join([f"{command} {how}. The last it said:", *(lines[-_LAST_LINES:] or ["nothing"])])
            raise RunError(msg)

    def _environment(self, *, planning: bool) -> Mapping[str, str]:
        inherited = {name: value for name, value in os.environ.items() if name not in _OF_THIS_ENVIRONMENT}
        asked = inherited.get("nnUNet_n_proc_DA", "0" if self.workers <= FEW_CORES else str(self.workers))
        return inherited | {
            "nnUNet_raw": str(self.raw),
            "nnUNet_preprocessed": str(self.preprocessed),
            "nnUNet_results": str(self.results),
            # While it plans, nnU-Net takes the same number for one of threads, of which there must be one.
            "nnUNet_n_proc_DA": "1" if planning and asked == "0" else asked,
            "nnUNet_extTrainer": os.pathsep.join(filter(None, (str(_TRAINERS), inherited.get("nnUNet_extTrainer")))),
            "nnUNet_def_n_proc": inherited.get("nnUNet_def_n_proc", str(self.workers)),
            "PYTHONUNBUFFERED": "1",
        }


@entry_point
def require_installed(program: Program) -> None:
    """Stop with one line, before anything is built, where nnU-Net is not installed."""
    program.require()


def _echo(process: subprocess.Popen, said: bytearray) -> None:
    """Pass a command's output on as it comes, progress bars too, and keep the end of it."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    while part := process.stdout.read1():
        sys.stdout.write(decoder.decode(part))
        sys.stdout.flush()
        said += part
        del said[:-_LAST_WORDS]
