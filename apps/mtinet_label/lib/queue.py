"""One analysis, refinement or result page at a time; a bounded number wait in the order in which they came."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from lib.errors import BusyError


@dataclass(frozen=True)
class QueueState:
    """What the queue looks like.

    Args:
        running: at work, 0 or 1.
        waiting: that wait.
        limit: of those that may wait.
        finished: since the server started.
        refused: since the server started, as too many were waiting.
    """

    running: int
    waiting: int
    limit: int
    finished: int
    refused: int


class AnalysisQueue:
    """First come, first served.

    Args:
        waiting: how many may wait before the next one is refused.
    """

    def __init__(self, waiting: int) -> None:
        self.limit = waiting
        self._changed = threading.Condition()
        self._line: deque[object] = deque()
        self._running = False
        self._finished = 0
        self._refused = 0

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for one's turn, and hold it for the block.

        Raises:
            BusyError: as many as may are waiting already.
        """
        ticket = object()
        with self._changed:
            if (self._running or self._line) and len(self._line) >= self.limit:
                self._refused += 1
                msg = f"the server is busy: {len(self._line)} requests are waiting already. Try again in a moment"
                raise BusyError(msg)
            self._line.append(ticket)
            try:
                self._changed.wait_for(lambda: not self._running and self._line[0] is ticket)
            finally:
                self._line.remove(ticket)
                self._changed.notify_all()
            self._running = True
        try:
            yield
        finally:
            with self._changed:
                self._running = False
                self._finished += 1
                self._changed.notify_all()

    def state(self) -> QueueState:
        """Now."""
        with self._changed:
            return QueueState(int(self._running), len(self._line), self.limit, self._finished, self._refused)
