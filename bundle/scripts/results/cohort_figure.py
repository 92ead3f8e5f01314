"""The picture of a cohort: how the lesions of each class enhance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ..domain.classes import CLASSES
from .figures import CLASS_COLOURS, CLASS_NAMES, INK, MUTED

Curves = Sequence[tuple[Sequence[float], Sequence[float | None]]]


def draw_curves_by_class(curves: Mapping[str, Curves]) -> Figure:
    """Draw relative enhancement against time, one panel per class: each study thin, the median bold.

    Args:
        curves: by class, ``(times_s, relative enhancement)`` of each study, four values each; None where
            a phase is missing.

    Returns:
        A figure of 1000 by 360 pixels.
    """
    figure = Figure(figsize=(10.0, 3.6), dpi=100, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(CLASSES), sharex=True, sharey=True)
    for axes, name in zip(panels, CLASSES, strict=True):
        studies = [(np.array(t, dtype=float), 100.0 * np.array(e, dtype=float)) for t, e in curves.get(name, ())]
        for times_s, percent in studies:
            axes.plot(times_s, percent, color=CLASS_COLOURS[name], linewidth=0.8, alpha=0.45)
        complete = [study for study in studies if np.isfinite(study[1]).all()]
        if complete:
            times_s, percent = np.median(complete, axis=0)
            axes.plot(times_s, percent, color=INK, linewidth=2.4, marker="o", label="median")
            axes.legend(fontsize=8, frameon=False, loc="lower right")
        axes.set_title(f"{CLASS_NAMES[name]} (n = {len(studies)})", fontsize=11, color=INK, loc="left")
        axes.set_xlabel("seconds after the injection", fontsize=9, color=MUTED)
        axes.tick_params(labelsize=8, colors=MUTED)
        axes.grid(alpha=0.25, linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("relative enhancement, %", fontsize=9, color=MUTED)
    return figure
