"""What the analysis of one study says, and its JSON form (``result.schema.json``)."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

SCHEMA_PATH = Path(__file__).with_name("result.schema.json")


@dataclass(frozen=True)
class Enhancement:
    """Dynamic enhancement of one lesion; curves hold one value per phase, raw scanner units.

    Args:
        regressed: the regression head's curve, area-weighted over the lesion's slices.
        from_mask: mean under the lesion's own predicted mask.
        ring: median of the liver ring 3-10 mm around it.
        relative: ``(S - S_pre) / S_pre`` of ``from_mask``.
        disagreement: mean absolute difference of ``regressed`` and ``from_mask``, normalised intensity.
        psr_portal_venous: ``100 * S_ring / S_lesion``, portal-venous phase.
        psr_delayed: likewise, delayed phase.
        arterial_hyperenhancement: brighter than the ring in the arterial phase.
        washout: ``psr_delayed`` above 101.5.
        shared_slices: another lesion lies in the same slices, so the head saw both.
    """

    regressed: tuple[float | None, ...]
    from_mask: tuple[float | None, ...]
    ring: tuple[float | None, ...]
    relative: tuple[float | None, ...]
    disagreement: float | None
    psr_portal_venous: float | None
    psr_delayed: float | None
    arterial_hyperenhancement: bool | None
    washout: bool | None
    shared_slices: bool


@dataclass(frozen=True)
class Lesion:
    """One 26-connected lesion.

    Args:
        id: 1-based, in order of falling volume; the value in no mask, only a name.
        volume_ml: volume.
        max_diameter_mm: longest in-plane diameter over the lesion's slices.
        centroid_mm: RAS world coordinates.
        predicted_class: one of ``CLASSES``, or ``UNKNOWN_CLASS`` from a network without a classification head.
        probabilities: by class name; None from such a network.
        enhancement: dynamic enhancement.
        rule_class: the kinetic rule's opinion, or None where a phase that it needs is missing.
    """

    id: int
    volume_ml: float
    max_diameter_mm: float
    centroid_mm: tuple[float, float, float]
    predicted_class: str
    probabilities: dict[str, float] | None
    enhancement: Enhancement
    rule_class: str | None


@dataclass(frozen=True)
class Result:
    """The analysis of one study.

    Args:
        subject: the study's identifier.
        phases: per phase its ``name``, ``time_s`` after the injection and whether it was ``available``.
        normalisation: ``offset`` and ``scale``, raw units: normalised = (raw - offset) / scale.
        lesions: in order of falling volume; empty where nothing was found.
        predicted_class: one of ``CLASSES``, ``UNKNOWN_CLASS``, or ``NO_LESION`` without a lesion.
        probabilities: mean of the lesions' probabilities by volume; None without a lesion or a classification head.
        notes: the reason for everything that could not be computed.
        model: ``version`` and ``weights_sha256``.
    """

    subject: str
    phases: tuple[dict[str, Any], ...]
    normalisation: dict[str, float]
    lesions: tuple[Lesion, ...]
    predicted_class: str
    probabilities: dict[str, float] | None
    notes: tuple[str, ...]
    model: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready dictionary: ``class`` for ``predicted_class``, null for what is not a number."""
        return _jsonable(asdict(self))

    def write_json(self, path: Path) -> None:
        """Write ``to_dict`` as indented JSON."""
        path.write_text(json.dumps(self.to_dict(), indent=2, allow_nan=False) + "\n")


def _jsonable(value: Any) -> Any:
    if isinstance(value, dict):
        return {("class" if k == "predicted_class" else k): _jsonable(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_jsonable(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
