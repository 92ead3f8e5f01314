"""Which phases the Transformer looks at, in cases that it classifies right and in those that it does not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import nn
from tqdm import tqdm

from ..domain.classes import CLASSES, NO_LESION
from ..domain.entry import entry_point
from ..domain.errors import ConfigurationError, DatasetError
from ..domain.phases import PHASES
from ..domain.writing import replace_when_written
from ..engines.weights import load_network
from ..engines.workflows import require_image_size
from ..networks.mtinet import MTINet
from ..networks.readouts import tumour_class_probabilities
from ..results.figures import INK, MUTED, PHASE_NAMES
from ..results.statistics import LEVEL
from ..studies.case import Case
from ..studies.slices import SubjectSlices
from .tables.files import write_lines

CASES_FILE, MEANS_FILE, FIGURE_FILE = "attention_per_subject.csv", "attention.csv", "attention.png"

_EVEN = 1.0 / len(PHASES)
"""Attention to each phase of one that tells none apart: every phase has as many tokens. Of a study with all four."""

_DRAWS = 2000


@dataclass(frozen=True, eq=False)
class CaseAttention:
    """One subject.

    Args:
        case: its identifier.
        true_class: one of ``CLASSES``.
        probability_hcc: of the classification head over the slices of the true lesion, by its area.
        attention: ``(blocks, 4, 4)`` of a phase's tokens (row) to each phase's (column), over the same slices by area;
            NaN rows for phases that are absent.
    """

    case: str
    true_class: str
    probability_hcc: float
    attention: np.ndarray

    @property
    def correct(self) -> bool:
        """Whether the class is right."""
        return (self.probability_hcc > 0.5) == (self.true_class == "hcc")


@entry_point
def measure_attention(
    network: nn.Module,
    ckpt_path: str,
    cases: Sequence[Case],
    output_dir: str,
    *,
    image_size: int,
    device: torch.device | str = "cpu",
    seed: int = 0,
) -> None:
    """Write two CSV files and a figure; the run id ``attention`` of ``configs/attention.yaml``.

    Args:
        network: MTI-Net with a classification head.
        ckpt_path: its weights.
        cases: labelled ones; those without a lesion are left out.
        output_dir: where the files go.
        image_size: pixels of the network grid.
        device: where to run.
        seed: of the bootstrap.

    Raises:
        SystemExit: another network, weights that do not fit, no case with a lesion, or a study that cannot be read.
    """
    _require_attention(network)
    load_network(network, ckpt_path)
    require_image_size(network, image_size, ckpt_path)
    with_lesion = [case for case in cases if case.tumour_class != NO_LESION]
    network.to(device).eval()
    subjects = SubjectSlices(with_lesion, size=image_size)
    found = [
        attention
        for index in tqdm(range(len(subjects)), desc="attention", unit="study")
        if (attention := attend(network, subjects[index], device)) is not None
    ]
    if not found:
        msg = f"none of the {len(cases)} cases has a lesion in its label, so none is right or wrong. Give another split"
        raise DatasetError(msg)
    output = Path(output_dir)
    write_lines(_case_lines(found), output / CASES_FILE)
    write_lines(mean_lines(found, seed=seed), output / MEANS_FILE)
    with replace_when_written(output / FIGURE_FILE) as aside:
        draw_attention(found).savefig(aside)
    right = sum(each.correct for each in found)
    print(f"{right} of {len(found)} cases right. Look at {output / FIGURE_FILE}")


def attend(network: MTINet, batch: dict[str, Any], device: torch.device | str = "cpu") -> CaseAttention | None:
    """The network's attention and class over the slices of a subject's true lesion.

    Args:
        network: in eval mode, on ``device``.
        batch: of ``SubjectSlices``.
        device: where the network is.

    Returns:
        None where the label shows no lesion.
    """
    area = batch["label"].sum(dim=(1, 2, 3))
    shown = area > 0
    if not shown.any():
        return None
    inputs = [batch[name][shown].to(device) for name in ("image", "available", "times_s")]
    weights = (area[shown] / area.sum()).numpy()
    with torch.inference_mode():
        probabilities = tumour_class_probabilities(network(*inputs)["classification"]).cpu().numpy()
        attention = network.attention_by_phase(*inputs).cpu().numpy()
    mean = np.einsum("s,bsij->bij", weights, attention, dtype=np.float64)
    mean[:, ~batch["available"][0].numpy()] = np.nan
    return CaseAttention(
        case=batch["case"][0],
        true_class=CLASSES[int(batch["tumour_class"].max())],
        probability_hcc=float(weights @ probabilities[:, CLASSES.index("hcc")]),
        attention=mean,
    )


def mean_lines(found: Sequence[CaseAttention], *, seed: int = 0) -> list[dict[str, Any]]:
    """Mean attention of right and wrong cases by block and pair of phases, over all classes and in each.

    ``wrong_minus_right`` has its 95 % bootstrap interval over subjects; empty where a group has fewer than two.

    Args:
        found: the subjects.
        seed: of the bootstrap.
    """
    lines = []
    for name in ("all", *CLASSES):
        of_class = [each for each in found if name in ("all", each.true_class)]
        right, wrong = (_stacked(each for each in of_class if each.correct is sign) for sign in (True, False))
        blocks = found[0].attention.shape[0]
        difference, low, high = _difference(right, wrong, blocks, np.random.default_rng(seed))
        means = [_mean(group, blocks) for group in (right, wrong)]
        lines += [
            {
                "true_class": name,
                "block": block + 1,
                "from_phase": PHASES[row],
                "to_phase": PHASES[column],
                "right": means[0][block, row, column],
                "wrong": means[1][block, row, column],
                "wrong_minus_right": difference[block, row, column],
                "ci95_low": low[block, row, column],
                "ci95_high": high[block, row, column],
                "n_right": len(right),
                "n_wrong": len(wrong),
            }
            for block in range(blocks)
            for row in range(len(PHASES))
            for column in range(len(PHASES))
        ]
    return lines


def draw_attention(found: Sequence[CaseAttention]) -> Figure:
    """A row a block: mean attention of the right cases, of the wrong ones, and the difference."""
    blocks = found[0].attention.shape[0]
    groups = [_stacked(each for each in found if each.correct is sign) for sign in (True, False)]
    right, wrong = (_mean(group, blocks) for group in groups)
    figure = Figure(figsize=(9.6, 0.7 + 2.7 * blocks), dpi=110, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(blocks, 3, squeeze=False)
    shown = ((right, _EVEN), (wrong, _EVEN), (wrong - right, 0.0))
    widest = [max(0.01, float(np.nan_to_num(np.abs(values - middle)).max())) for values, middle in shown]
    # Right and wrong cases in one range of colours.
    widest[:2] = [max(widest[:2])] * 2
    titles = (f"right (n = {len(groups[0])})", f"wrong (n = {len(groups[1])})", "wrong - right")
    for block, axes_of_block in enumerate(panels):
        for place, (axes, title, (values, middle)) in enumerate(zip(axes_of_block, titles, shown, strict=True)):
            _draw_matrix(axes, values[block], middle=middle, widest=widest[place])
            axes.set_title(f"Block {block + 1}, {title}", fontsize=9.5, color=INK)
        axes_of_block[0].set_ylabel("tokens of", fontsize=8.5, color=MUTED)
    for axes in panels[-1]:
        axes.set_xlabel("attend to", fontsize=8.5, color=MUTED)
    figure.suptitle(f"Attention between phases; {_EVEN:g} tells none apart", fontsize=11, color=INK)
    return figure


def _draw_matrix(axes: Axes, values: np.ndarray, *, middle: float, widest: float) -> None:
    axes.imshow(np.ma.masked_invalid(values), cmap="RdBu_r", vmin=middle - widest, vmax=middle + widest)
    names = [PHASE_NAMES[phase].replace("-", "-\n", 1) for phase in PHASES]
    axes.set_xticks(range(len(PHASES)), names, fontsize=7)
    axes.set_yticks(range(len(PHASES)), names, fontsize=7)
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            dark = abs(value - middle) > 0.7 * widest
            text = f"{value:.2f}" if middle else f"{value:+.3f}"
            axes.text(column, row, text, ha="center", va="center", fontsize=7.5, color="white" if dark else INK)
        else:
            axes.text(column, row, "none", ha="center", va="center", fontsize=7, color=MUTED)


def _require_attention(network: nn.Module) -> None:
    if not isinstance(network, MTINet) or network.head is None or network.head.readout.classify is None:
        msg = "attention by phase needs MTI-Net with its classification task: give an overlay that keeps both"
        raise ConfigurationError(msg)


def _stacked(found: Iterable[CaseAttention]) -> np.ndarray:
    """``(N, blocks, 4, 4)``."""
    return np.array([each.attention for each in found])


def _mean(group: np.ndarray, blocks: int) -> np.ndarray:
    """Over the subjects that have the phase; NaN where none does."""
    if not len(group):
        return np.full((blocks, len(PHASES), len(PHASES)), np.nan)
    count = np.isfinite(group).sum(axis=0)
    return np.divide(np.nansum(group, axis=0), count, out=np.full(group.shape[1:], np.nan), where=count > 0)


def _difference(
    right: np.ndarray, wrong: np.ndarray, blocks: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of the means, with the percentile bootstrap's bounds; subjects are drawn within each group."""
    difference = _mean(wrong, blocks) - _mean(right, blocks)
    if min(len(right), len(wrong)) < 2:
        nothing = np.full_like(difference, np.nan)
        return difference, nothing, nothing
    drawn = [
        _mean(wrong[rng.integers(len(wrong), size=len(wrong))], blocks)
        - _mean(right[rng.integers(len(right), size=len(right))], blocks)
        for _ in range(_DRAWS)
    ]
    low, high = np.nanquantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return difference, low, high


def _case_lines(found: Sequence[CaseAttention]) -> list[dict[str, Any]]:
    return [
        {
            "case": each.case,
            "true_class": each.true_class,
            "probability_hcc": each.probability_hcc,
            "correct": each.correct,
            "block": block + 1,
            "from_phase": PHASES[row],
            "to_phase": PHASES[column],
            "attention": value,
        }
        for each in found
        for (block, row, column), value in np.ndenumerate(each.attention)
    ]
