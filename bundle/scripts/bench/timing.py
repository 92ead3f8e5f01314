"""Clocks: several things in turn, and the two halves of a training iteration."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from statistics import median

from ignite.engine import Engine, Events
from tqdm import tqdm


def interleaved(things: Mapping[str, Callable[[], object]], *, runs: int, warm_up: int = 1) -> dict[str, list[float]]:
    """Time several things in turn, so that whatever else the machine does hits all of them alike.

    Args:
        things: by name, what to call.
        runs: rounds that count.
        warm_up: rounds before them that do not.

    Returns:
        By name, the seconds of every round that counts.
    """
    seconds: dict[str, list[float]] = {name: [] for name in things}
    for _ in tqdm(range(warm_up + runs), desc=", ".join(things), unit="round", leave=False):
        for name, thing in things.items():
            start = time.perf_counter()
            thing()
            seconds[name].append(time.perf_counter() - start)
    return {name: values[warm_up:] for name, values in seconds.items()}


def median_ratio(numerator: list[float], denominator: list[float]) -> float:
    """The median over rounds of one thing's time over another's."""
    return median(a / b for a, b in zip(numerator, denominator, strict=True))


class EpochClock:
    """How long each epoch waited for batches and how long it worked on them, handlers of the iterations included.

    Attach it last.
    """

    def __init__(self) -> None:
        self.waited_s: list[float] = []
        self.worked_s: list[float] = []

    def attach(self, engine: Engine) -> None:
        """Start a new entry with every epoch."""
        engine.add_event_handler(Events.EPOCH_STARTED, self._new_epoch)
        for event in (Events.GET_BATCH_STARTED, Events.ITERATION_STARTED):
            engine.add_event_handler(event, self._start)
        engine.add_event_handler(Events.GET_BATCH_COMPLETED, self._stop, self.waited_s)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._stop, self.worked_s)

    def _new_epoch(self) -> None:
        self.waited_s.append(0.0)
        self.worked_s.append(0.0)

    def _start(self) -> None:
        self._started = time.perf_counter()

    def _stop(self, seconds: list[float]) -> None:
        seconds[-1] += time.perf_counter() - self._started
