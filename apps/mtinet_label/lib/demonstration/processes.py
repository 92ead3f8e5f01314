"""Processes that are started together, answer on loopback, and end together."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from lib.errors import AppError

_ENDS_WITHIN_S = 20.0
_LOOK_EVERY_S = 0.2
_SHOWN = 1500


class DemonstrationError(AppError):
    """Something that the demonstration needs does not start; the text says what to do."""


def free_port() -> int:
    """A port of loopback that nobody listens on now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def require_free(port: int) -> None:
    """Check a port of loopback.

    Raises:
        DemonstrationError: somebody listens there.
    """
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind(("127.0.0.1", port))
        except OSError as error:
            msg = f"port {port} is taken; name another one with --port"
            raise DemonstrationError(msg) from error


class Background:
    """A process in a group of its own, so that Ctrl-C reaches it only through ``stop``; a context manager.

    Args:
        name: for messages.
        command: program and arguments.
        log: file of what it prints.
        env: its environment.
    """

    def __init__(self, name: str, command: Sequence[str], *, log: Path, env: Mapping[str, str] | None = None) -> None:
        self.name = name
        self._log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("w") as output:
            self._process = subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(os.environ if env is None else env),
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Of the process, and of its group."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    @property
    def printed(self) -> str:
        """The end of what it printed."""
        return self._log.read_text(errors="replace")[-_SHOWN:]

    def wait_for(self, url: str, *, seconds: float) -> None:
        """Wait until an address answers.

        Raises:
            DemonstrationError: the process ended, or the time is over.
        """
        # Loopback is asked directly, whatever proxy the environment names.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        give_up = time.monotonic() + seconds
        while self.running and time.monotonic() < give_up:
            try:
                opener.open(url, timeout=5).close()
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                time.sleep(_LOOK_EVERY_S)
            else:
                return
        what = f"did not answer within {seconds:.0f} s" if self.running else "ended"
        msg = f"{self.name} {what}. The end of what it printed:\n{self.printed}"
        raise DemonstrationError(msg)

    def stop(self) -> None:
        """Ask it to end, then end it, with everything that it started."""
        if self.running:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=_ENDS_WITHIN_S)
        give_up = time.monotonic() + _ENDS_WITHIN_S / 4
        with contextlib.suppress(ProcessLookupError):
            # A killed process holds its port for a moment yet; the group is gone when nobody is left in it.
            while time.monotonic() < give_up:
                os.killpg(self.pid, signal.SIGKILL)
                self._process.poll()
                time.sleep(_LOOK_EVERY_S / 4)
        self._process.wait()

    def __enter__(self) -> Background:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
