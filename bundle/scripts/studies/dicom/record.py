"""``import.json``: what is written down about an imported study, so that a reader can judge its phases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from nibabel.orientations import aff2axcodes

from ...domain.phases import REFERENCE_PHASE
from ..registration import Registered
from .coverage import Coverage
from .selection import Chosen, Left
from .stack import Stack

_VENDORS = ("Siemens", "GE", "Philips", "Canon", "Toshiba", "Hitachi", "Fujifilm", "United Imaging", "UIH", "Bruker")
"""The manufacturer's field is free text, so only what is in this list is ever written down."""


def phase_record(
    name: str, chosen: Chosen, covered: Coverage | None, moved: Registered | None, *, method: str
) -> dict[str, Any]:
    """One phase: which stack, why, where it lies and how it was moved.

    Args:
        name: of the phase.
        chosen: its stack, time, confidence and evidence.
        covered: of the reference; None for the reference itself.
        moved: None where nothing was registered.
        method: of the registration, as the user asked for it.
    """
    return {
        **stack_record(chosen.stack),
        "spacing_mm": _rounded(np.linalg.norm(chosen.stack.affine[:3, :3], axis=0)),
        "orientation": "".join(aff2axcodes(chosen.stack.affine)),
        "reference": name == REFERENCE_PHASE,
        "time_s": None if chosen.time_s is None else round(float(chosen.time_s), 1),
        "confidence": round(float(chosen.confidence), 3),
        "evidence": list(chosen.evidence),
        "coverage": None if covered is None else {"share": covered.share, "missing_mm": covered.missing_mm},
        "registration": None if moved is None else _registration_record(moved, asked=method),
    }


def displacement_file_name(phase: str) -> str:
    """The file with the displacement of a phase (``studies.displacement``), beside the study's ``import.json``."""
    return f"displacement_{phase}.nii.gz"


def stack_record(stack: Stack) -> dict[str, Any]:
    """Which stack, by what a viewer shows of it."""
    columns, rows, slices = stack.shape
    return {
        "series_number": stack.series_number,
        "part": stack.part,
        "slices": slices,
        "rows": rows,
        "columns": columns,
    }


def left_records(left: Sequence[Left]) -> list[dict[str, Any]]:
    """The stacks that were not taken, with the reason."""
    return [
        {
            "series_number": each.stack.series_number,
            "part": each.stack.part,
            "slices": len(each.stack.frames),
            "reason": each.reason,
        }
        for each in left
    ]


def grid_record(stack: Stack) -> dict[str, Any]:
    """The grid of the study's images and of every mask made from them."""
    return {
        "shape": list(stack.shape),
        "spacing_mm": _rounded(np.linalg.norm(stack.affine[:3, :3], axis=0)),
        "affine": [[round(float(value), 6) for value in row] for row in stack.affine],
    }


def scanner(sources: Mapping[str, Stack]) -> str:
    """Maker and field strength, such as ``Siemens 3T``; empty where unknown."""
    header = sources[REFERENCE_PHASE].header
    maker = str(header.get("Manufacturer", "") or "").casefold()
    name = next((vendor for vendor in _VENDORS if maker.startswith(vendor.casefold())), "")
    try:
        field_t = float(header.get("MagneticFieldStrength") or 0)
    except (TypeError, ValueError):
        field_t = 0
    return " ".join(filter(None, (name, f"{field_t:.2g}T" if 0 < field_t < 12 else "")))


def _registration_record(moved: Registered, *, asked: str) -> dict[str, Any]:
    median_mm, p95_mm = moved.displacement_mm
    return {
        "asked": asked,
        "method": moved.method,
        "similarity_before": round(float(moved.similarity_before), 4),
        "similarity_after": round(float(moved.similarity_after), 4),
        "displacement_mm": {"median": round(float(median_mm), 2), "p95": round(float(p95_mm), 2)},
        "kept": bool(moved.kept),
        "reason": moved.reason,
    }


def _rounded(values: np.ndarray) -> list[float]:
    return [round(float(value), 4) for value in values]
