"""The picture of one study: its four phases with the contour, its enhancement curve, its class."""

from __future__ import annotations

import textwrap

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ..domain.classes import CLASSES, LABELS, NO_LESION, UNKNOWN_CLASS, UNKNOWN_LABEL, tumour_class_of
from ..domain.enhancement import mean_curve
from ..domain.phases import PHASES
from ..domain.result import Result
from ..domain.study import Study
from .components import Box, bounding_box, grown, slice_areas
from .lesions import rule_of_study

CLASS_COLOURS = {"hemangioma": "#56B4E9", "hcc": "#E69F00", UNKNOWN_CLASS: "#CC79A7"}
"""Told apart by colour-blind readers (Okabe and Ito), and bright enough on a dark image."""

CLASS_NAMES = {"hemangioma": "hemangioma", "hcc": "HCC", UNKNOWN_CLASS: "unknown", NO_LESION: "no lesion"}

PHASE_NAMES = {"pre": "pre-contrast", "arterial": "arterial", "portal_venous": "portal-venous", "delayed": "delayed"}

_LABEL_CLASSES = {LABELS[name]: name for name in CLASSES} | {UNKNOWN_LABEL: UNKNOWN_CLASS}
INK, MUTED = "#1B2733", "#5B6773"
_DPI = 100


def draw_study(study: Study, mask: np.ndarray, result: Result) -> Figure:
    """Draw one analysed study.

    The slice is the one with the largest lesion area: predicted, else true, else the middle one. It is shown
    as radiologists see it, the patient's right on the left, in its physical aspect, all phases in one window.

    Args:
        study: the study; its label is drawn where it has one.
        mask: ``(X, Y, Z)`` from ``analyse``.
        result: from ``analyse``.

    Returns:
        A figure of 1200 by 640 pixels with its own canvas, outside pyplot's state.
    """
    figure = Figure(figsize=(12.0, 6.4), dpi=_DPI, facecolor="white")
    FigureCanvasAgg(figure)
    figure.text(0.012, 0.963, study.case, fontsize=13, fontweight="bold", color=INK, va="center")
    figure.text(0.988, 0.963, _truth(study), fontsize=11, color=MUTED, ha="right", va="center")
    _draw_phases(figure, study, mask)
    _draw_curves(figure.add_axes((0.062, 0.095, 0.5, 0.36)), study, result)
    _draw_class(figure.add_axes((0.635, 0.365, 0.353, 0.075)), result)
    facts = "\n".join(_facts(result))
    figure.text(0.635, 0.325, facts, fontsize=10, color=INK, va="top", linespacing=1.5)
    return figure


def _truth(study: Study) -> str:
    if study.label is None:
        return ""
    name = tumour_class_of(study.label)
    return f"ground truth: {CLASS_NAMES[name]}" + ("" if name == NO_LESION else " (dashed contour)")


def _draw_phases(figure: Figure, study: Study, mask: np.ndarray) -> None:
    index = _slice_to_show(study, mask)
    shown = np.take(study.image, index, axis=study.slice_axis + 1)[list(study.available)]
    low, high = np.percentile(shown, (1.0, 99.7))
    box = _around_body(shown.mean(axis=0), low + 0.12 * (high - low))
    pixel_mm = np.delete(study.spacing_mm, study.slice_axis)
    predicted = as_seen(np.take(mask, index, axis=study.slice_axis)[box])
    truth = None if study.label is None else as_seen(np.take(study.label, index, axis=study.slice_axis)[box] > 0)
    left_side = "A" if study.slice_axis == 0 else "R"
    for phase, name in enumerate(PHASES):
        axes = figure.add_axes((0.012 + 0.2455 * phase, 0.52, 0.24, 0.375))
        axes.set_axis_off()
        about = "~" if name in study.nominal_times else ""
        time = f" · {about}{study.times_s[phase]:g} s" if study.available[phase] else ""
        # A given y, here and below, spares Matplotlib the search for one: a fifth of the drawing time.
        axes.set_title(PHASE_NAMES[name] + time, fontsize=10, color=INK, y=1.0, pad=4)
        if not study.available[phase]:
            axes.text(0.5, 0.5, "not acquired", ha="center", va="center", color=MUTED, transform=axes.transAxes)
            continue
        image = as_seen(np.take(study.image[phase], index, axis=study.slice_axis)[box])
        axes.imshow(image, cmap="gray", vmin=low, vmax=high, aspect=pixel_mm[1] / pixel_mm[0], interpolation="bilinear")
        axes.text(0.015, 0.5, left_side, color="white", fontsize=8, va="center", transform=axes.transAxes)
        for value, tumour_class in _LABEL_CLASSES.items():
            if (predicted == value).any():
                axes.contour(predicted == value, levels=[0.5], colors=CLASS_COLOURS[tumour_class], linewidths=1.6)
        if truth is not None and truth.any():
            axes.contour(truth, levels=[0.5], colors="white", linewidths=0.9, linestyles="dashed")


def _slice_to_show(study: Study, mask: np.ndarray) -> int:
    for volume in (mask, study.label):
        if volume is not None and (areas := slice_areas(volume > 0, study.slice_axis)).any():
            return int(areas.argmax())
    return mask.shape[study.slice_axis] // 2


def _around_body(mean: np.ndarray, threshold: float) -> Box:
    """The part of a slice to show: without most of the air, from the mean over phases, which has little noise."""
    body = mean > threshold
    return grown(bounding_box(body), (6, 6), body.shape) if body.any() else (slice(None), slice(None))


def as_seen(pixels: np.ndarray) -> np.ndarray:
    """Turn a slice of a RAS+ volume ``(a, b)`` to rows from the top and columns from the right (or front)."""
    return pixels[::-1, ::-1].T


def _draw_curves(axes: Axes, study: Study, result: Result) -> None:
    times_s = np.asarray(study.times_s)
    if result.lesions:
        lesion = result.lesions[0]
        colour = CLASS_COLOURS[lesion.predicted_class]
        enhancement = lesion.enhancement
        for curve, label, style in (
            (enhancement.from_mask, "lesion, under the mask", {"color": colour, "marker": "o", "linewidth": 2.2}),
            (enhancement.regressed, "lesion, regression head", {"color": INK, "marker": "s", "linestyle": "--"}),
            (enhancement.ring, "ring 3-10 mm around", {"color": "#8A949E", "marker": "^", "linewidth": 1.2}),
        ):
            _plot(axes, times_s, np.array(curve, dtype=np.float64), label, style)
    if study.label is not None and study.label.any():
        truth = np.where(study.available, mean_curve(study.image, study.label > 0), np.nan)
        _plot(axes, times_s, truth, "all lesions, true mask", {"color": "#009E73", "marker": ".", "linestyle": ":"})
    if not axes.lines:
        axes.set_axis_off()
        axes.text(0.5, 0.5, "no lesion, so no curve", ha="center", color=MUTED, transform=axes.transAxes)
        return
    title = "Signal of the largest lesion" if result.lesions else "Signal of the lesions that were missed"
    axes.set_title(title, fontsize=10, color=INK, loc="left", y=1.0)
    axes.set_xlabel("seconds after the injection", fontsize=9, color=MUTED)
    axes.set_ylabel("signal, raw units", fontsize=9, color=MUTED)
    axes.tick_params(labelsize=8, colors=MUTED)
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=8, frameon=False, loc="best")


def _plot(axes: Axes, times_s: np.ndarray, curve: np.ndarray, label: str, style: dict) -> None:
    known = np.isfinite(curve)
    if known.any():
        axes.plot(times_s[known], curve[known], label=label, markersize=5, **style)


def _draw_class(axes: Axes, result: Result) -> None:
    axes.set_axis_off()
    axes.set_xlim(0.0, 1.0)
    axes.set_ylim(-0.5, 0.5)
    axes.set_title(f"Class: {CLASS_NAMES[result.predicted_class]}", fontsize=12, color=INK, loc="left", y=1.0, pad=6)
    left = 0.0
    for name, probability in (result.probabilities or {}).items():
        axes.barh(0.0, probability, left=left, height=1.0, color=CLASS_COLOURS[name])
        if probability > 0.3:
            text = f"{CLASS_NAMES[name]} {probability:.0%}"
            axes.text(left + probability / 2, 0.0, text, ha="center", va="center", fontsize=9.5, color=INK)
        left += probability
    if result.probabilities is None:
        axes.barh(0.0, 1.0, height=1.0, color="#E5E8EB")
        axes.text(0.5, 0.0, "no probabilities", ha="center", va="center", fontsize=9.5, color=MUTED)


def _facts(result: Result) -> list[str]:
    if not result.lesions:
        return ["Nothing reaches a lesion's probability and volume."]
    lesion = result.lesions[0]
    rule = rule_of_study(result.lesions)
    verdict = "cannot be asked" if rule is None else CLASS_NAMES[rule]
    if rule is not None and result.predicted_class in CLASSES:
        verdict += ", agrees" if rule == result.predicted_class else ", DISAGREES"
    others = f", {len(result.lesions) - 1} more" if len(result.lesions) > 1 else ""
    enhancement = lesion.enhancement
    return [
        f"Kinetic rule: {verdict}",
        f"Arterial hyper-enhancement: {_yes_no(enhancement.arterial_hyperenhancement)}"
        f" · washout: {_yes_no(enhancement.washout)}",
        f"Largest lesion: {lesion.volume_ml:.1f} ml, {lesion.max_diameter_mm:.0f} mm{others}",
        f"Head against mask: {_number(enhancement.disagreement)} (normalised)",
        *(textwrap.fill(note, 52) for note in result.notes[:2]),
    ]


def _yes_no(sign: bool | None) -> str:
    return {True: "yes", False: "no", None: "unknown"}[sign]


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.2f}"
