"""Starts the commands of runs: a process that imports the libraries once and forks a child for each command.

Importing PyTorch and MONAI takes ten seconds and more; a fork of a process that has them starts at once. Each command
still is a process of its own, which may crash or be killed for its memory without harm to others. A CUDA context does
not survive a fork, so for runs on a GPU the child starts Python afresh.

On Linux every process here dies with its parent, however that ends: no command outlives the runner.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import logging
import os
import runpy
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PRELOADED = (
    "monai.bundle",
    "monai.engines",
    "monai.handlers",
    "scripts.engines.workflows",
    "scripts.networks.mtinet",
    "torchvision",
    "timm",
    "segmentation_models_pytorch",
)
"""What the commands import; those that are not installed are left out."""

_PR_SET_PDEATHSIG = 1
_LARGEST_MESSAGE = 1 << 17


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code, negative for a signal; wall time; its largest resident memory, MiB."""

    code: int
    seconds: float
    peak_rss_mb: float


class Launcher:
    """The starting side.

    Args:
        root: working directory of the commands, from which ``scripts`` is imported too.
        threads: each command's.
        fork: whether commands are forks of a process with the libraries imported; else each starts afresh.
        preload: modules of that process.
    """

    def __init__(self, root: str | Path, *, threads: int, fork: bool, preload: Sequence[str] = PRELOADED) -> None:
        self.root = Path(root)
        self.threads = threads
        self.fork = fork
        self.preload = preload
        self._process: subprocess.Popen | None = None

    def run(self, module: str, arguments: Sequence[str], log: Path, *, lock: int | None = None) -> Ended:
        """Run ``python -m module arguments`` and wait for its end.

        Args:
            module: to be run as a program.
            arguments: of the program.
            log: both of its streams are appended to this file.
            lock: a descriptor that stays open as long as the command lives.

        Returns:
            How it ended; killed by SIGKILL where the whole launcher died.
        """
        self._start_if_dead()
        request = {"module": module, "arguments": list(arguments), "log": str(log), "cuda": _visible_gpus()}
        started = time.monotonic()
        try:
            socket.send_fds(self._connection, [json.dumps(request).encode()], [] if lock is None else [lock])
            answer = self._connection.recv(_LARGEST_MESSAGE)
        except OSError:
            answer = b""
        seconds = time.monotonic() - started
        if not answer:
            self.close()
            return Ended(-signal.SIGKILL, seconds, 0.0)
        return Ended(seconds=seconds, **json.loads(answer))

    def close(self) -> None:
        """End the launcher, and with it a command that still runs."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._connection.close()
            self._process = None

    def _start_if_dead(self) -> None:
        if self._process is not None and self._process.poll() is None:
            return
        self.close()
        self._connection, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        bundle = str(Path(__file__).resolve().parents[3])
        threads = str(self.threads)
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(filter(None, (bundle, os.environ.get("PYTHONPATH")))),
            "OMP_NUM_THREADS": threads,
            "MKL_NUM_THREADS": threads,
            "OPENBLAS_NUM_THREADS": threads,
        }
        options = {
            "descriptor": theirs.fileno(),
            "parent": os.getpid(),
            "fork": self.fork,
            "preload": list(self.preload),
        }
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, json.dumps(options)],
                cwd=self.root,
                env=environment,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
            )


def _visible_gpus() -> str | None:
    # Ray gives each task its GPUs by this variable, anew for every task of a worker.
    return os.environ.get("CUDA_VISIBLE_DEVICES")


def _serve(descriptor: int, parent: int, fork: bool, preload: Sequence[str]) -> dict[str, Any] | None:
    """Start a child for every request; returns only in a child, with its request."""
    die_with(parent)
    if fork:
        for name in preload:
            with contextlib.suppress(ImportError):
                importlib.import_module(name)
        # What the children share must not be copied because their garbage collectors look at it.
        gc.freeze()
    with socket.socket(fileno=descriptor) as connection:
        while True:
            message, locks, _, _ = socket.recv_fds(connection, _LARGEST_MESSAGE, 1)
            if not message:
                return None
            request = json.loads(message)
            this = os.getpid()
            child = os.fork()
            if child == 0:
                die_with(this)
                if not fork:
                    for lock in locks:
                        os.set_inheritable(lock, True)
                return request
            for lock in locks:
                os.close(lock)
            _, status, usage = os.wait4(child, 0)
            ended = {"code": os.waitstatus_to_exitcode(status), "peak_rss_mb": usage.ru_maxrss / 1024.0}
            connection.send(json.dumps(ended).encode())


def _become(request: Mapping[str, Any], *, fork: bool) -> None:
    """Turn this child into the command."""
    os.setsid()  # Ctrl-C reaches the runner, which ends the commands in order
    output = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(output, 1)
    os.dup2(output, 2)
    if request["cuda"] is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = request["cuda"]
    if fork:
        os._exit(_exit_code_of(request["module"], request["arguments"]))
    else:
        os.execv(sys.executable, [sys.executable, "-m", request["module"], *request["arguments"]])


def _exit_code_of(module: str, arguments: Sequence[str]) -> int:
    """Run a module as a program, to its exit code; left is nothing but to end the process.

    A regular end would take seconds to tear down what this process never built.
    """
    sys.argv[:] = [module, *arguments]
    code: Any = 0
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        code = ended.code
    except BaseException:
        sys.excepthook(*sys.exc_info())  # as the interpreter would at its end
        code = 1
    if not isinstance(code, int | None):
        print(code, file=sys.stderr)
        code = 1
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    return code or 0


def die_with(parent: int, by: signal.Signals = signal.SIGKILL) -> None:
    """Have this process sent a signal when its parent ends, however that ends; for the first lines of a new process."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, by)
    if os.getppid() != parent:  # it died before it could be told
        os._exit(1)


if __name__ == "__main__":
    _options = json.loads(sys.argv[1])
    _request = _serve(**_options)
    if _request is not None:
        _become(_request, fork=_options["fork"])
