"""Whether new weights may replace those that are served: only if they are not worse on the held-out studies."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

DICE_MARGIN = 0.01
ACCURACY_MARGIN = 0.0
"""How much the new weights may lose: a hundredth of mean Dice, below what training noise moves it, and no class.
Nor may they find a lesion in more studies without one."""


@dataclass(frozen=True)
class Measured:
    """What weights reach on the held-out studies with a lesion, as ``evaluating`` says.

    Args:
        dice: mean; None where no held-out study has a lesion.
        dice_ci95: its interval.
        accuracy: of the class.
        accuracy_ci95: likewise.
        subjects: with a lesion.
        false_positives: studies without a lesion in which one was found.
    """

    dice: float | None
    dice_ci95: tuple[float, float] | None
    accuracy: float | None
    accuracy_ci95: tuple[float, float] | None
    subjects: int
    false_positives: int

    @classmethod
    def of(cls, folder: Path) -> Measured:
        """From the ``metrics.json`` and ``per_subject.csv`` of an evaluation."""
        metrics = json.loads((folder / "metrics.json").read_text())
        with (folder / "per_subject.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        healthy = [row for row in rows if row["true_class"] == "none"]
        return cls(
            dice=metrics["dsc_mean"]["value"],
            dice_ci95=_interval(metrics["dsc_mean"]),
            accuracy=metrics["accuracy"]["value"],
            accuracy_ci95=_interval(metrics["accuracy"]),
            subjects=len(rows) - len(healthy),
            false_positives=sum(int(row["predicted_lesions"]) > 0 for row in healthy),
        )

    def shown(self) -> dict[str, Any]:
        """As plain numbers."""
        return asdict(self)


@dataclass(frozen=True)
class Verdict:
    """What follows from a comparison.

    Args:
        promote: whether the new weights are served from now on.
        reason: in words.
    """

    promote: bool
    reason: str


def judge(before: Measured, after: Measured) -> Verdict:
    """Compare the served weights with new ones on the same studies."""
    if before.dice is None or after.dice is None:
        return Verdict(False, "no held-out study has a lesion, so nothing can be compared: the old weights stay")
    numbers = f"Dice {before.dice:.3f} before, {after.dice:.3f} after"
    worse = after.dice < before.dice - DICE_MARGIN
    if before.accuracy is not None and after.accuracy is not None:
        numbers += f"; accuracy {before.accuracy:.3f} before, {after.accuracy:.3f} after"
        worse |= after.accuracy < before.accuracy - ACCURACY_MARGIN
    if before.false_positives or after.false_positives:
        numbers += f"; false lesions in {before.false_positives} healthy studies before, {after.false_positives} after"
        worse |= after.false_positives > before.false_positives
    studies = f"on {after.subjects} held-out studies with a lesion"
    if worse:
        return Verdict(False, f"the new weights are worse, so the old ones stay: {numbers}, {studies}")
    return Verdict(True, f"the new weights are not worse and are served from now on: {numbers}, {studies}")


def _interval(metric: Mapping[str, Any]) -> tuple[float, float] | None:
    return tuple(metric["ci95"]) if metric["ci95"] else None
