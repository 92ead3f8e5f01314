"""What a reader said about one study."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

DIAGNOSES = ("hemangioma", "hcc", "none")


@dataclass(frozen=True)
class LesionLabel:
    """One lesion of a reader's mask: a 26-connected component.

    Args:
        id: 1-based, in order of falling volume.
        tumour_class: one of ``CLASSES``.
        volume_ml: of the component.
    """

    id: int
    tumour_class: str
    volume_ml: float


@dataclass(frozen=True)
class Label:
    """One version of a study's label.

    Args:
        case_id: the study.
        version: from 1; 0 is the mask that came with the dataset.
        mask_file: values of ``LABELS`` on the study's reference grid; None where only the diagnosis was set.
        lesions: of the mask.
        diagnosis: one of ``DIAGNOSES``, or ``""`` while nobody has set it.
        reader: who; ``""`` where authentication is off and the client said nothing.
        saved_at: UTC, ISO 8601.
        note: e.g. ``"first seen by the model"``; free of anything about the patient.
    """

    case_id: str
    version: int
    mask_file: Path | None
    lesions: tuple[LesionLabel, ...]
    diagnosis: str
    reader: str
    saved_at: str
    note: str = ""
