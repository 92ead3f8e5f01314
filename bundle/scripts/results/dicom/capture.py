"""Secondary Capture: one page with the picture and the numbers, for viewers that list an SR and do not show it."""

from __future__ import annotations

from collections.abc import Iterator

import highdicom as hd
import numpy as np
from highdicom.sc import SCImage
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ...domain.result import Lesion, Result
from ...domain.study import Study
from ..figures import CLASS_NAMES, INK, MUTED, draw_study
from .equipment import Equipment
from .source import DicomSource, plane

SERIES_NUMBER = 9003
SERIES_DESCRIPTION = "MTI-Net results page (research use only)"
WARNING = "RESEARCH USE ONLY - NOT FOR DIAGNOSIS"
MAX_LESIONS = 8
"""Rows of the table; the SR holds the others."""

_WIDTH_PX = 1200
_DPI = 100
_WARNING_COLOUR = "#B00020"
_COLUMNS = (
    # Heading, left edge as a part of the width.
    ("lesion", 0.012),
    ("class (probability)", 0.062),
    ("volume", 0.205),
    ("longest", 0.275),
    ("mean signal, raw: pre / art. / p.-v. / del.", 0.345),
    ("enhancement: art. / p.-v. / del.", 0.600),
    ("signal ratio, delayed", 0.78),
    ("kinetic rule", 0.9),
)


def page(study: Study, mask: np.ndarray, result: Result, equipment: Equipment) -> np.ndarray:
    """Draw the page: the warning, the study's picture, a table of its lesions, the notes and what made it.

    Args:
        study: the study.
        mask: ``(X, Y, Z)`` from ``analyse``.
        result: from ``analyse``.
        equipment: what made the result.

    Returns:
        ``(rows, 1200, 3)`` uint8 RGB.
    """
    return np.concatenate(
        [_pixels(_warning()), _pixels(draw_study(study, mask, result)), _pixels(_table(result, equipment))]
    )


def capture(study: Study, mask: np.ndarray, result: Result, source: DicomSource, equipment: Equipment) -> SCImage:
    """Write the page as a Secondary Capture image.

    Args:
        study: the study.
        mask: ``(X, Y, Z)`` from ``analyse``.
        result: from ``analyse``.
        source: the images that the study came from.
        equipment: what made the result.

    Returns:
        The image, not yet saved.
    """
    reference = plane(source.reference.frames[0], source.reference)
    image = SCImage(
        pixel_array=page(study, mask, result, equipment),
        photometric_interpretation=hd.PhotometricInterpretationValues.RGB,
        bits_allocated=8,
        coordinate_system=hd.CoordinateSystemNames.PATIENT,
        patient_orientation=("L", "P"),
        study_instance_uid=reference.StudyInstanceUID,
        series_instance_uid=hd.UID(),
        series_number=SERIES_NUMBER,
        sop_instance_uid=hd.UID(),
        instance_number=1,
        series_description=SERIES_DESCRIPTION,
        **equipment.attributes(),
    )
    # A page with a curve on it has no direction in the patient; highdicom insists on one, DICOM does not (type 2C).
    image.PatientOrientation = None
    image.BodyPartExamined = "LIVER"
    # The page names the study, which may identify the patient.
    image.BurnedInAnnotation = "YES"
    image.ImageComments = WARNING
    return image


def _warning() -> Figure:
    figure = _figure(36, _WARNING_COLOUR)
    figure.text(0.5, 0.48, WARNING, ha="center", va="center", fontsize=13, fontweight="bold", color="white")
    return figure


def _table(result: Result, equipment: Equipment) -> Figure:
    shown, left_out = result.lesions[:MAX_LESIONS], len(result.lesions[MAX_LESIONS:])
    lines = [
        *(["No lesion was found."] if not result.lesions else []),
        *([f"{left_out} more lesions: see the structured report."] if left_out else []),
        *result.notes,
        f"{equipment.model_name} {equipment.version}, weights {equipment.weights_sha256[:12]}. {WARNING.capitalize()}.",
    ]
    height_px = 26 * (bool(shown) + len(shown)) + 20 * len(lines) + 24
    figure = _figure(height_px, "white")

    def write(top_px: float, left: float, text: str, **style) -> None:
        figure.text(left, 1.0 - top_px / height_px, text, va="top", **style)

    top_px = 6
    if shown:
        for heading, left in _COLUMNS:
            write(top_px, left, heading, fontsize=8.5, color=MUTED)
        top_px += 22
    for lesion in shown:
        for (_, left), text in zip(_COLUMNS, _row(lesion), strict=True):
            write(top_px, left, text, fontsize=10, color=INK)
        top_px += 26
    for line in lines:
        write(top_px, _COLUMNS[0][1], line, fontsize=8.5, color=MUTED)
        top_px += 20
    return figure


def _row(lesion: Lesion) -> Iterator[str]:
    enhancement = lesion.enhancement
    yield str(lesion.id)
    probability = (lesion.probabilities or {}).get(lesion.predicted_class)
    yield CLASS_NAMES[lesion.predicted_class] + ("" if probability is None else f" ({probability:.0%})")
    yield f"{lesion.volume_ml:.2f} mL"
    yield f"{lesion.max_diameter_mm:.1f} mm"
    yield " / ".join(_number(value, ".1f") for value in enhancement.from_mask)
    yield " / ".join(_number(value, "+.0%") for value in enhancement.relative[1:])
    yield _number(enhancement.psr_delayed, ".1f", unit=" %")
    yield "unknown" if lesion.rule_class is None else CLASS_NAMES[lesion.rule_class]


def _number(value: float | None, spec: str, *, unit: str = "") -> str:
    return "-" if value is None else f"{value:{spec}}{unit}"


def _figure(height_px: int, colour: str) -> Figure:
    figure = Figure(figsize=(_WIDTH_PX / _DPI, height_px / _DPI), dpi=_DPI, facecolor=colour)
    FigureCanvasAgg(figure)
    return figure


def _pixels(figure: Figure) -> np.ndarray:
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[..., :3].copy()
