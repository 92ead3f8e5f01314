"""The picture of one study: its four phases with the contour, its enhancement curve, its class."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ..domain.classes import CLASSES, LABELS, UNKNOWN_CLASS, UNKNOWN_LABEL
from ..domain.phases import PHASES
from ..domain.result import Result
from ..domain.study import Study
from .components import slice_areas
from .lesions import rule_of_study
from .scores import true_class

CLASS_COLOURS = {"hemangioma": "#56B4E9", "hcc": "#E69F00", UNKNOWN_CLASS: "#CC79A7"}
"""Told apart by colour-blind readers (Okabe and Ito), and bright enough on a dark image."""

CLASS_NAMES = {"hemangioma": "hemangioma", "hcc": "HCC", UNKNOWN_CLASS: "class unknown", "none": "no lesion"}

PHASE_NAMES = {"pre": "pre-contrast", "arterial": "arterial", "portal_venous": "portal-venous", "delayed": "delayed"}

TRUTH_COLOUR = "#FFFFFF"
DPI = 100


def draw_study(study: Study, mask: np.ndarray, result: Result) -> Figure:
    """Draw one analysed study.

    The slice is the one with the largest lesion area: predicted, else true, else the middle one. It is shown
    as radiologists see it, the patient's right on the left, in its physical aspect, all phases in one window.

    Args:
        study: the study; its label is drawn where it has one.
        mask: ``(X, Y, Z)`` from ``analyse``.
        result: from ``analyse``.

    Returns:
        A figure of 1200 by 640 pixels, with a canvas of its own and outside pyplot's state.
    """
    figure = Figure(figsize=(12.0, 6.4), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    figure.text(0.02, 0.965, study.case, fontsize=13, fontweight="bold", va="center")
    figure.text(0.98, 0.965, _headline(study, result), fontsize=11, ha="right", va="center")
    _draw_phases(figure, study, mask)
    _draw_curve(figure.add_axes((0.065, 0.09, 0.52, 0.36)), study, result)
    _draw_class(figure.add_axes((0.66, 0.27, 0.32, 0.1)), result)
    _write_facts(figure, result)
    return figure
