"""The learning curves of a simulation, with intervals, as JSON and as a figure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

matplotlib.use("Agg")
from matplotlib import pyplot as plt

from lib.activelearning.simulation.arms import START, STRATEGIES, Arms, Round
from scripts.domain.writing import replace_when_written
from scripts.results.statistics import LEVEL

METRICS = {"dice": "Dice", "accuracy": "Accuracy of the class"}
_KEYS = {"dice": "dice", "accuracy": "correct"}
_COLOURS = {"random": "0.45", "uncertainty": "#0072b2", "consistency": "#d55e00", "diverse": "#009e73"}
_DRAWS = 2000


def summarise(arms: Arms) -> dict[str, Any]:
    """Means and intervals of every strategy and round that was played on at least one seed.

    Intervals are percentile bootstraps that draw seeds and test subjects; the difference to ``random`` is paired: the
    same seeds and subjects on both sides.
    """
    sizes = arms.sizes
    curves: dict[str, list[dict[str, Any]]] = {strategy: [] for strategy in STRATEGIES}
    for strategy in STRATEGIES:
        for number in range(sizes.rounds + 1):
            played = [_played(arms, seed, strategy, number) for seed in range(sizes.seeds)]
            chance = [_played(arms, seed, "random", number) for seed in range(sizes.seeds)]
            seeds = [i for i, (a, b) in enumerate(zip(played, chance, strict=True)) if a and b]
            if seeds:
                row: dict[str, Any] = {"labelled": len(played[seeds[0]].labelled), "seeds": len(seeds)}
                for metric, key in _KEYS.items():
                    ours, random = (_values([rounds[i] for i in seeds], key) for rounds in (played, chance))
                    row[metric] = _estimate(ours) | {"by_seed": ours.mean(axis=1).round(4).tolist()}
                    if strategy != "random" and number > 0:
                        row[f"{metric}_minus_random"] = _estimate(ours - random)
                curves[strategy].append(row)
    rounds = [(seed, s, n) for seed in range(sizes.seeds) for s in STRATEGIES for n in range(1, sizes.rounds + 1)]
    done = sum(arms.finished(*each) is not None for each in rounds)
    return {"sizes": asdict(sizes), "rounds_played": done, "rounds_planned": len(rounds), "curves": curves}


def write(summary: dict[str, Any], file: Path) -> None:
    """Write the summary as JSON."""
    with replace_when_written(file) as aside:
        aside.write_text(json.dumps(summary, indent=1) + "\n")


def draw(summary: dict[str, Any], file: Path) -> None:
    """Draw Dice and accuracy over the number of labelled studies, one line a strategy, with its interval."""
    figure, axes = plt.subplots(1, len(METRICS), figsize=(10, 4), constrained_layout=True)
    for axis, (metric, title) in zip(axes, METRICS.items(), strict=True):
        for strategy, rows in summary["curves"].items():
            if not rows:
                continue
            labelled = [row["labelled"] for row in rows]
            low, high = zip(*(row[metric]["ci95"] for row in rows), strict=True)
            colour = _COLOURS[strategy]
            axis.plot(labelled, [row[metric]["value"] for row in rows], "o-", color=colour, label=strategy, ms=3)
            axis.fill_between(labelled, low, high, color=colour, alpha=0.10, linewidth=0)
        axis.set_xlabel("labelled studies")
        axis.set_title(title)
        axis.grid(alpha=0.3)
    axes[0].legend(frameon=False)
    with replace_when_written(file) as aside:
        figure.savefig(aside, dpi=110)
    plt.close(figure)


def _played(arms: Arms, seed: int, strategy: str, number: int) -> Round | None:
    return arms.finished(seed, START if number == 0 else strategy, number)


def _values(rounds: Sequence[Round], key: str) -> np.ndarray:
    """``(seeds, subjects)``, subjects in one order."""
    names = sorted(rounds[0].dice)
    return np.array([[float(getattr(each, key)[name]) for name in names] for each in rounds])


def _estimate(values: np.ndarray) -> dict[str, Any]:
    """Mean of ``(seeds, subjects)`` and its 95 % interval."""
    rng = np.random.default_rng(0)
    seeds, subjects = (rng.integers(n, size=(_DRAWS, n)) for n in values.shape)
    means = values[seeds[:, :, None], subjects[:, None, :]].mean(axis=(1, 2))
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return {"value": round(float(values.mean()), 4), "ci95": [round(float(low), 4), round(float(high), 4)]}
