"""Fig. 3: what the systems drew on a few subjects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ...domain.errors import DatasetError
from ...domain.phases import REFERENCE_INDEX
from ...domain.study import Study
from ...results.components import bounding_box, grown, slice_areas
from ...results.figures import INK, MUTED, as_seen
from ...results.writing import MASK_FILE
from ...studies.layout import read_dataset
from ...studies.reading import read_mask, read_study
from .arms import Arm
from .figures import blank
from .runs import Grid, Run

MAX_SUBJECTS = 4
_MARGIN_MM = 30.0
_PREDICTED, _TRUE = "#E69F00", "white"


@dataclass(frozen=True, eq=False)
class Example:
    """One subject and what was drawn on it.

    Args:
        study: with its label.
        masks: ``(X, Y, Z)`` bool by arm's key, and the subject's Dice.
    """

    study: Study
    masks: Mapping[str, tuple[np.ndarray, float | None]]


def kept_masks(arms: Sequence[Arm], grid: Grid) -> dict[str, dict[str, tuple[Run, Path]]]:
    """Masks that the runs kept, by case and arm's key: of the first fold and seed that has one."""
    found: dict[str, dict[str, tuple[Run, Path]]] = {}
    for arm in arms:
        for run in grid.runs.get(arm.key, ()):
            # A system that is given the true mask drew nothing itself.
            drawn = {row["case"] for row in run.rows if row.get("dice")}
            for path in sorted(run.folder.glob(f"*/{MASK_FILE}")):
                if path.parent.name in drawn:
                    found.setdefault(path.parent.name, {}).setdefault(arm.key, (run, path))
    return found


def read_examples(arms: Sequence[Arm], grid: Grid, dataset_dir: str | Path) -> list[Example]:
    """Read the subjects that most arms kept masks of.

    Raises:
        DatasetError: the dataset has none of them.
        StudyError: a file cannot be read.
    """
    kept = kept_masks(arms, grid)
    cases = {case.case: case for case in read_dataset(dataset_dir) if case.label_file is not None}
    known = sorted((case for case in kept if case in cases), key=lambda case: (-len(kept[case]), case))
    if kept and not known:
        msg = f"{dataset_dir}: has no label of {sorted(kept)[0]}, whose masks the runs kept. Give their dataset_dir"
        raise DatasetError(msg)
    examples = []
    for case in known[:MAX_SUBJECTS]:
        study = read_study(cases[case])
        masks = {key: (read_mask(path, study) > 0, _dice(run, case)) for key, (run, path) in kept[case].items()}
        examples.append(Example(study, masks))
    return examples


def draw_examples(examples: Sequence[Example], arms: Sequence[Arm]) -> Figure | None:
    """Draw subjects by row and systems by column: arterial phase, true outline dashed white, predicted one orange.

    Args:
        examples: the subjects.
        arms: of a table, in order; those without any mask are left out.

    Returns:
        The figure; None where fewer than two systems have masks.
    """
    shown = [arm for arm in arms if any(arm.key in example.masks for example in examples)]
    if len(shown) < 2:
        return None
    figure = blank(1.75 * len(shown), 1.9 * len(examples) + 0.3)
    panels = figure.subplots(len(examples), len(shown), squeeze=False)
    for row, (example, row_of_panels) in enumerate(zip(examples, panels, strict=True)):
        for axes, arm in zip(row_of_panels, shown, strict=True):
            _draw(axes, example, arm.key)
            if row == 0:
                axes.set_title(arm.name, fontsize=9, color=INK)
        row_of_panels[0].set_ylabel(example.study.case, fontsize=8, color=MUTED)
    return figure


def _draw(axes: Axes, example: Example, key: str) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    study = example.study
    index = int(slice_areas(study.label > 0, study.slice_axis).argmax())
    truth = np.take(study.label, index, study.slice_axis) > 0
    pixel_mm = np.delete(study.spacing_mm, study.slice_axis)
    box = grown(bounding_box(truth), tuple(int(_MARGIN_MM / mm) for mm in pixel_mm), truth.shape)
    image = np.take(study.image[REFERENCE_INDEX], index, study.slice_axis)[box]
    low, high = np.percentile(image, (1.0, 99.5))
    aspect = pixel_mm[1] / pixel_mm[0]
    axes.imshow(as_seen(image), cmap="gray", vmin=low, vmax=high, aspect=aspect, interpolation="bilinear")
    axes.contour(as_seen(truth[box]), levels=[0.5], colors=_TRUE, linewidths=1.0, linestyles="dashed")
    if key not in example.masks:
        axes.set_xlabel("no mask kept", fontsize=8, color=MUTED)
        return
    mask, dice = example.masks[key]
    predicted = np.take(mask, index, study.slice_axis)[box]
    if predicted.any():
        axes.contour(as_seen(predicted), levels=[0.5], colors=_PREDICTED, linewidths=1.4)
    axes.set_xlabel("" if dice is None else f"Dice {dice:.2f}", fontsize=8, color=MUTED)


def _dice(run: Run, case: str) -> float | None:
    return next((float(row["dice"]) for row in run.rows if row["case"] == case and row.get("dice")), None)
