"""What an arm costs: parameters, work, time and memory."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from .runs import Run


@dataclass(frozen=True)
class Cost:
    """Of one arm; NaN where it was not measured.

    Args:
        parameters: of the network.
        gflops: of one slice forward, two operations a multiply-add.
        image_size: pixels of that slice's side.
        seconds_per_study: mean over runs.
        hours_training: of one run, mean over runs.
        peak_rss_mb: largest over runs, MiB.
        hardware: where the runs ran.
    """

    parameters: float
    gflops: float
    image_size: float
    seconds_per_study: float
    hours_training: float
    peak_rss_mb: float
    hardware: tuple[str, ...]


def cost_of(runs: Sequence[Run]) -> Cost:
    """The cost of an arm from its runs."""
    return Cost(
        parameters=_mean(run.cost.get("parameters") for run in runs),
        gflops=_mean(run.cost.get("gflops") for run in runs),
        image_size=_mean(run.cost.get("image_size") for run in runs),
        seconds_per_study=_mean(run.cost.get("seconds_per_study") for run in runs),
        hours_training=_mean(run.provenance.get("seconds_training") for run in runs) / 3600.0,
        peak_rss_mb=max(_numbers(run.provenance.get("peak_rss_mb") for run in runs), default=math.nan),
        hardware=tuple(dict.fromkeys(run.hardware for run in runs)),
    )


def _numbers(values: Iterable) -> list[float]:
    return [float(value) for value in values if value is not None]


def _mean(values: Iterable) -> float:
    known = _numbers(values)
    return float(np.mean(known)) if known else math.nan
