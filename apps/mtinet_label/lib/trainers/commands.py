"""The bundle's own training and evaluation as processes of their own, at low priority."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from lib.settings import BUNDLE_ROOT
from lib.trainers.record import Process
from scripts.domain.errors import MTINetError

logger = logging.getLogger(__name__)

_NICE = 10
_POLL_S = 0.5
_PATIENCE_S = 10.0


class CommandError(MTINetError):
    """A command of the bundle failed."""


def bundle_command(run_id: str, config: str, overrides: Mapping[str, Any]) -> list[str]:
    """``python -m monai.bundle run <run_id> --config_file <config> --key value …``."""
    given = [part for key, value in overrides.items() for part in (f"--{key}", str(value))]
    file = str(BUNDLE_ROOT / "configs" / config)
    return [sys.executable, "-m", "monai.bundle", "run", run_id, "--config_file", file, *given]


def run(
    command: Sequence[str], log: Path, *, started: Callable[[Process], None], look: Callable[[], None] | None = None
) -> None:
    """Run a command to its end; whatever stops this process's wait ends the command, and all that it started.

    Args:
        command: what to run.
        log: file for its output, added to.
        started: told the process, which leads a process group of its own.
        look: called twice a second; what it raises stops the command.

    Raises:
        CommandError: the command failed; its output is in the log.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    # One core is left to the readers who wait for an answer, however many there are.
    threads = str(max(1, (os.cpu_count() or 1) - 1))
    environment = os.environ | {"OMP_NUM_THREADS": threads, "PYTHONUNBUFFERED": "1"}
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,
        )
    worker = Process.of(process.pid)
    try:
        give_way(process.pid)
        started(worker)
        while process.poll() is None:
            if look is not None:
                look()
            time.sleep(_POLL_S)
    finally:
        worker.kill_group()
        process.wait(_PATIENCE_S)
    if process.returncode != 0:
        msg = f"the {command[4]} process ended with code {process.returncode}; its output is in {log.name} of the run"
        raise CommandError(msg)


def give_way(pid: int = 0) -> None:
    """Lower the priority of a process, by default this one, and of what it starts."""
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, pid, _NICE)


def trained_image_size(weights: Path) -> int:
    """The pixels of the network grid that weights were trained on."""
    return int(torch.load(weights, map_location="cpu", weights_only=True)["image_size"])
