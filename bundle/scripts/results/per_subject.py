"""The rows behind the metrics as a table: ``per_subject.csv``."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..domain.phases import PHASES
from ..domain.writing import replace_when_written
from .scores import SubjectScore


def write_per_subject(rows: Sequence[SubjectScore], path: Path) -> None:
    """Write one line per row; a curve has one column per phase, what is None or NaN stays empty."""
    lines = [_columns(row) for row in rows]
    with replace_when_written(path) as aside, aside.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(lines[0]) if lines else [], lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)


def _columns(row: SubjectScore) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, value in asdict(row).items():
        if name.endswith("_curve"):
            curve = value or ("",) * len(PHASES)
            values |= {f"{name.removesuffix('_curve')}_{phase}": v for phase, v in zip(PHASES, curve, strict=True)}
        else:
            values[name] = value
    values |= {name: getattr(row, name) for name in ("correct", "correct_on_true_slices", "rule_correct")}
    return {name: _cell(value) for name, value in values.items()}


def _cell(value: Any) -> Any:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return f"{value:.6g}" if isinstance(value, float) else value
