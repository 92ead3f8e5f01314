"""Runs a program, and ends it with all processes of its own when the one that asked for it is gone.

``python -m scripts.experiments.nnunet.guard PARENT COMMAND ARGUMENTS``. nnU-Net's augmentation workers outlive a killed
training, wait for ever and keep their memory. Who is killed cannot take them along; the guard is only told, and can.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import partial

from ..grid.launcher import die_with


def watch_over(parent: int, command: Sequence[str]) -> int:
    """Run a command in a process group of its own, to its end or to that of the parent.

    Args:
        parent: process that asked for it.
        command: program and arguments.

    Returns:
        Its exit code, negative for a signal.
    """
    die_with(parent, signal.SIGTERM)
    # Python's path is that of this environment, not the program's.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    process = subprocess.Popen(command, env=environment, process_group=0, preexec_fn=partial(die_with, os.getpid()))
    for told in (signal.SIGTERM, signal.SIGINT):
        signal.signal(told, lambda *_: _end_all(process.pid))
    code = process.wait()
    _end_all(process.pid)
    return code


def _end_all(group: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    _code = watch_over(int(sys.argv[1]), sys.argv[2:])
    if _code < 0:  # end as it ended
        with suppress(OSError):  # of SIGKILL, which has no handler
            signal.signal(-_code, signal.SIG_DFL)
        os.kill(os.getpid(), -_code)
    sys.exit(_code)
