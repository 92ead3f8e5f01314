"""Interleaving, ratios, and the clock of an epoch."""

from __future__ import annotations

import itertools

import pytest
from ignite.engine import Engine

from scripts.bench import timing


def test_ratio_refuses_unequal_rounds():
    with pytest.raises(ValueError, match="shorter"):
        timing.median_ratio([1.0, 2.0], [1.0])


def test_things_take_turns_and_the_warm_up_does_not_count():
    calls = []
    seconds = timing.interleaved({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, runs=3, warm_up=2)
    assert calls == ["a", "b"] * 5
    assert {name: len(values) for name, values in seconds.items()} == {"a": 3, "b": 3}
    assert all(value >= 0 for values in seconds.values() for value in values)


def test_ratio_is_the_median_of_the_rounds_own_ratios():
    # Ratio of the medians would be 2 / 4; the slow third round hits both alike.
    assert timing.median_ratio([1.0, 2.0, 30.0], [4.0, 4.0, 30.0]) == 0.5
    assert timing.median_ratio([3.0, 2.0, 30.0], [1.0, 4.0, 20.0]) == 1.5


def test_clock_tells_waiting_from_working(monkeypatch):
    # Every reading of the clock is one second later than the last, whoever asks.
    now = itertools.count()
    monkeypatch.setattr(timing.time, "perf_counter", lambda: float(next(now)))

    def batches():
        for batch in range(3):
            timing.time.perf_counter()  # a second of reading
            yield batch

    def work(engine, batch):
        for _ in range(4):
            timing.time.perf_counter()

    engine, clock = Engine(work), timing.EpochClock()
    clock.attach(engine)
    engine.run(batches(), max_epochs=1, epoch_length=3)
    # Between two readings there is one second more than the readings taken in between.
    assert clock.waited_s == [3 * 2.0]
    assert clock.worked_s == [3 * 5.0]
