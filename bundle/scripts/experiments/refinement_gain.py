"""Measures what a reader's clicks gain: Dice of unseen subjects after each click of a simulated reader."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import nn
from tqdm import tqdm

from ..domain.classes import NO_LESION
from ..domain.entry import entry_point
from ..domain.errors import ConfigurationError
from ..domain.study import Study
from ..domain.writing import replace_when_written
from ..engines.inferer import StudyInferer
from ..engines.refinement import Refiner
from ..engines.refinement_clicks import Click, next_click
from ..engines.refinement_faults import roughly_drawn
from ..engines.weights import load_network, model_identity
from ..results.components import find_components
from ..results.lesions import MIN_VOLUME_ML
from ..results.statistics import bootstrap_interval
from ..studies.case import Case
from ..studies.reading import read_study

REPORT_FILE, FIGURE_FILE = "refinement.json", "refinement.png"

REPORTED = (0, 1, 3, 5)
"""Numbers of clicks that the report gives."""

LIMITS = {"gain_by_3": (0.05, 1.0), "seconds": (0.0, 2.0)}
"""What the refinement promises: mean Dice gained by the third click, and the median time of an answer."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Clicked:
    """One subject, clicked.

    Args:
        case: its identifier.
        dice: after 0, 1, 2, … clicks, on the study's own grid; the last one stands for clicks that found nothing.
        clicks: that were made: voxel and whether it said lesion.
        seconds: of each answer.
        rough_dice: of a roughly drawn mask.
        rough_refined_dice: of the same, refined without a click.
    """

    case: str
    dice: list[float]
    clicks: list[tuple[tuple[int, int, int], bool]]
    seconds: list[float]
    rough_dice: float
    rough_refined_dice: float


@entry_point
def measure_clicks(
    network: nn.Module,
    inferer: StudyInferer,
    refinement_net: nn.Module,
    cases: Sequence[Case],
    ckpt_path: str,
    refiner_path: str,
    output_dir: str,
    *,
    subjects: int = 40,
    seed: int = 0,
) -> None:
    """Write ``refinement.json`` and its figure; the run id ``clicking`` of ``configs/refinement.yaml``.

    Args:
        network: MTI-Net, whose probability is refined.
        inferer: of the config.
        refinement_net: ``RefinementNet``.
        cases: of the test split.
        ckpt_path: weights of ``network``.
        refiner_path: weights of ``refinement_net``.
        output_dir: folder of the report.
        subjects: so many with a lesion, spread evenly over the split.
        seed: of the roughly drawn masks and of the bootstrap.

    Raises:
        SystemExit: an argument is wrong, or weights or a study cannot be read.
    """
    with_lesion = [case for case in cases if case.tumour_class != NO_LESION]
    if min(len(with_lesion), subjects) < 2:
        msg = f"{len(with_lesion)} subject(s) with a lesion to measure on: give at least 2, in the test split."
        raise ConfigurationError(msg)
    spread = np.unique(np.linspace(0, len(with_lesion) - 1, min(subjects, len(with_lesion))).round().astype(int))
    with_lesion = [with_lesion[index] for index in spread]
    load_network(network, ckpt_path)
    refiner = Refiner(load_network(refinement_net, refiner_path), size=inferer.size, device=inferer.device)
    clicked = []
    for number, case in enumerate(tqdm(with_lesion, desc="clicking", unit="study")):
        study = read_study(case)
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(number,)))
        clicked.append(click_through(refiner, study, inferer(study, network).tumour, rng))
    report = {
        "note": "Measured on simulated studies with a simulated reader: no clinical evidence.",
        "model": model_identity("", ckpt_path)["weights_sha256"],
        "refiner": model_identity("", refiner_path)["weights_sha256"],
        "subjects": len(clicked),
        "seed": seed,
        "measures": measures(clicked, seed=seed),
        "by_subject": [vars(each) for each in clicked],
    }
    output = Path(output_dir)
    with replace_when_written(output / REPORT_FILE) as aside:
        aside.write_text(json.dumps(report, indent=1) + "\n")
    with replace_when_written(output / FIGURE_FILE) as aside:
        draw_gain(clicked, seed=seed).savefig(aside)
    for name, measure in report["measures"].items():
        logger.info("%s: %.3f (95 %% interval %.3f to %.3f)", name, measure["value"], *measure["ci95"])


def click_through(refiner: Refiner, study: Study, tumour: np.ndarray, rng: np.random.Generator) -> Clicked:
    """Let the simulated reader click a study through.

    Args:
        refiner: the refiner.
        study: with label.
        tumour: ``(X, Y, Z)`` probability of tumour, the network's own.
        rng: source of the roughly drawn mask.
    """
    truth = study.label > 0
    shown = shown_mask(tumour, study)
    dice, seconds = [_dice(truth, shown)], []
    made: list[Click] = []
    for _ in range(max(REPORTED)):
        click = next_click(truth, shown, study.spacing_mm, made)
        if click is not None:
            made.append(click)
            start = time.perf_counter()
            shown = shown_mask(refiner(study, tumour, made), study)
            seconds.append(round(time.perf_counter() - start, 3))
        dice.append(_dice(truth, shown))
    rough = _rough(truth, study, rng)
    refined = refiner(study, tumour, rough=rough) if rough.any() else np.zeros(truth.shape)
    return Clicked(
        case=study.case,
        dice=dice,
        clicks=[(click.index, click.lesion) for click in made],
        seconds=seconds,
        rough_dice=_dice(truth, rough),
        rough_refined_dice=_dice(truth, shown_mask(refined, study)),
    )


def shown_mask(tumour: np.ndarray, study: Study) -> np.ndarray:
    """What a reader is shown of a probability: lesions from 0.1 ml on, ``(X, Y, Z)`` bool."""
    mask = np.zeros(tumour.shape, dtype=bool)
    for component in find_components(tumour >= 0.5, min_voxels=MIN_VOLUME_ML / study.voxel_ml)[0]:
        mask[component.box] |= component.mask
    return mask


def measures(clicked: Sequence[Clicked], *, seed: int = 0) -> dict[str, dict[str, Any]]:
    """Means over subjects with their bootstrap intervals, and whether each keeps its limit.

    Args:
        clicked: one a subject.
        seed: of the bootstrap.
    """
    dice = np.array([each.dice for each in clicked])
    values = {f"dice_after_{n}": dice[:, n] for n in REPORTED}
    values |= {f"gain_by_{n}": dice[:, n] - dice[:, 0] for n in REPORTED[1:]}
    values["rough_dice"] = np.array([each.rough_dice for each in clicked])
    values["rough_refined_dice"] = np.array([each.rough_refined_dice for each in clicked])
    result = {name: _measure(v, np.mean, name, seed) for name, v in values.items()}
    seconds = np.array([np.median(each.seconds) for each in clicked if each.seconds])
    if len(seconds):
        result["seconds"] = _measure(seconds, np.median, "seconds", seed)
    return result


def draw_gain(clicked: Sequence[Clicked], *, seed: int = 0) -> Figure:
    """Dice by number of clicks: every subject, and the mean with its interval.

    Args:
        clicked: one a subject.
        seed: of the bootstrap.

    Returns:
        A figure with its own canvas, outside pyplot's state.
    """
    dice = np.array([each.dice for each in clicked])
    clicks = np.arange(dice.shape[1])
    intervals = np.array([bootstrap_interval(dice[:, n], seed=seed) for n in clicks])
    figure = Figure(figsize=(6.0, 4.0), dpi=100, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.plot(clicks, dice.T, color="#5B6773", alpha=0.25, linewidth=0.8)
    axes.fill_between(clicks, *intervals.T, color="#0B6FA4", alpha=0.25, linewidth=0)
    axes.plot(clicks, dice.mean(axis=0), color="#0B6FA4", linewidth=2.5, marker="o", label="mean, 95 % interval")
    axes.set(
        xlabel="simulated clicks",
        ylabel="Dice",
        ylim=(0.0, 1.0),
        xticks=clicks,
        title=f"Refinement by clicks, {len(clicked)} unseen phantom subjects",
    )
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower right")
    return figure


def _rough(truth: np.ndarray, study: Study, rng: np.random.Generator) -> np.ndarray:
    """A roughly drawn mask on the study's grid, ``(X, Y, Z)`` bool."""
    order = (study.slice_axis, *(axis for axis in range(3) if axis != study.slice_axis))
    spacing_mm = tuple(study.spacing_mm[axis] for axis in order)
    drawn = roughly_drawn(truth.transpose(order), spacing_mm, rng)
    return drawn.transpose(np.argsort(order))


def _measure(values: np.ndarray, statistic: Any, name: str, seed: int) -> dict[str, Any]:
    value = float(statistic(values))
    measure = {
        "value": value,
        "ci95": list(bootstrap_interval(values, statistic=statistic, seed=seed)),
        "n": len(values),
    }
    if name in LIMITS:
        low, high = LIMITS[name]
        measure |= {"limit": [low, high], "holds": low <= measure["value"] <= high}
    return measure


def _dice(truth: np.ndarray, predicted: np.ndarray) -> float:
    return float(2 * np.count_nonzero(truth & predicted) / (np.count_nonzero(truth) + np.count_nonzero(predicted)))
