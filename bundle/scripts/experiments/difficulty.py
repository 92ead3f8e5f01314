"""Measures how hard a phantom cohort is: four simple systems, each with the limit that it must keep."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tqdm import tqdm

from ..domain.classes import NO_LESION
from ..domain.enhancement import kinetic_rule
from ..domain.entry import entry_point
from ..domain.errors import DatasetError
from ..domain.study import Study
from ..domain.writing import replace_when_written
from ..phantom.cohort import TRUTH_FILE
from ..results.statistics import bootstrap_interval
from ..studies.case import Case
from ..studies.layout import read_dataset, select
from ..studies.normalisation import body_mask
from ..studies.reading import read_study
from .readers import subject_curves
from .small_unet import Budget, segment, train_small_unet
from .subtraction import THRESHOLDS, dice, dice_by_threshold, enhancement_score

LIMITS = {
    "subtraction_dice": (0.0, 0.45),
    "kinetic_rule_accuracy": (0.75, 0.90),
    "logistic_regression_accuracy": (0.0, 0.92),
    "basic_unet_dice": (0.60, 0.82),
}
"""The range in which each measure must lie for the phantom to be neither trivial nor hopeless."""

ENOUGH_SUBJECTS = 200

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Reading:
    """What the simple systems see of one subject with a lesion.

    Args:
        tumour_class: the truth.
        curve: ``(4,)`` normalised mean under the true mask.
        to_ring: ``(4,)`` the same curve over the liver ring's median, raw.
        rule_class: the kinetic rule's opinion given the true mask and the liver mask.
        subtraction_dice: ``(T,)`` by threshold, liver mask given.
        subtraction_dice_body: ``(T,)`` by threshold, only the body given.
        unet_dice: BasicUNet's, or NaN where it was not asked.
    """

    tumour_class: str
    curve: np.ndarray
    to_ring: np.ndarray
    rule_class: str
    subtraction_dice: np.ndarray
    subtraction_dice_body: np.ndarray
    unet_dice: float


@entry_point
def measure_difficulty(
    dataset_dir: str, output_dir: str, seed: int = 0, steps: int = Budget.steps, cache_dir: str | None = None
) -> None:
    """Write ``difficulty.json``; the run id ``difficulty`` of ``configs/phantom.yaml``.

    Thresholds, the logistic regression and the BasicUNet learn from the train split; everything is scored on the
    test split's subjects with a lesion.

    Args:
        dataset_dir: a cohort made by ``make_phantom`` with train and test subjects.
        output_dir: folder of the report.
        seed: of the BasicUNet and of the bootstrap.
        steps: optimiser steps of the BasicUNet.
        cache_dir: where training slices are kept; in memory by default.

    Raises:
        SystemExit: the dataset is no phantom cohort, or lacks a split.
    """
    root = Path(dataset_dir)
    description = _description(root)
    cases = read_dataset(root)
    train, test = (_with_lesion(select(cases, split=split)) for split in ("train", "test"))
    subjects = len(select(cases, split="test"))
    if subjects < ENOUGH_SUBJECTS:
        logger.warning("%d test subjects are fewer than %d: the intervals are wide", subjects, ENOUGH_SUBJECTS)
    budget = Budget(steps=steps)
    network = train_small_unet(
        select(cases, split="train"), budget, seed=seed, cache_dir=None if cache_dir is None else Path(cache_dir)
    )
    learnt = [read(read_study(case), case.tumour_class) for case in tqdm(train, desc="train split", unit="study")]
    scored = []
    for case in tqdm(test, desc="test split", unit="study"):
        study = read_study(case)
        scored.append(read(study, case.tumour_class, segment(network, study, budget.image_size)))
    report = {
        "note": "Measured on simulated studies: no clinical evidence.",
        "phantom": {key: description[key] for key in ("version", "seed", "shape", "spacing_mm")},
        "subjects": subjects,
        "subjects_with_lesion": len(test),
        "training_subjects": len(select(cases, split="train")),
        "seed": seed,
        "basic_unet_budget": asdict(budget),
        "measures": measures(learnt, scored, seed=seed),
        "lesions": lesion_statistics([description["subjects"][case.case] for case in test], test),
    }
    with replace_when_written(Path(output_dir) / "difficulty.json") as aside:
        aside.write_text(json.dumps(report, indent=2) + "\n")


def read(study: Study, tumour_class: str, segmentation: np.ndarray | None = None) -> Reading:
    """Let the simple systems read one study with a lesion; a subject's lesions count together.

    Args:
        study: with label and liver mask.
        tumour_class: the truth.
        segmentation: ``(X, Y, Z)`` bool, BasicUNet's, where there is one.
    """
    lesion = study.label > 0
    curve, around = subject_curves(study)
    return Reading(
        tumour_class=tumour_class,
        curve=(curve - study.offset) / study.scale,
        to_ring=curve / around,
        rule_class=kinetic_rule(curve, around),
        subtraction_dice=dice_by_threshold(enhancement_score(study, study.liver), lesion),
        subtraction_dice_body=dice_by_threshold(enhancement_score(study, body_mask(study.image)), lesion),
        unet_dice=float("nan") if segmentation is None else dice(segmentation, lesion),
    )


def measures(learnt: Sequence[Reading], scored: Sequence[Reading], *, seed: int = 0) -> dict[str, dict[str, Any]]:
    """Every system's score with its bootstrap interval, and whether it keeps its limit.

    Args:
        learnt: readings of the train split, from which thresholds and regressions come.
        scored: readings of the test split.
        seed: of the bootstrap.
    """
    per_subject = {
        "subtraction_dice": _at_best_threshold(learnt, scored, "subtraction_dice"),
        "kinetic_rule_accuracy": np.array([r.rule_class == r.tumour_class for r in scored], float),
        "logistic_regression_accuracy": _regression_hits(learnt, scored, lambda r: r.curve),
        "basic_unet_dice": np.array([r.unet_dice for r in scored]),
        "subtraction_without_liver_mask_dice": _at_best_threshold(learnt, scored, "subtraction_dice_body"),
        "logistic_regression_with_ring_accuracy": _regression_hits(
            learnt, scored, lambda r: np.concatenate([r.curve, r.to_ring])
        ),
    }
    return {name: _measure(values, LIMITS.get(name), seed) for name, values in per_subject.items()}


def lesion_statistics(truths: Sequence[dict[str, Any]], cases: Sequence[Case]) -> dict[str, Any]:
    """How many lesions of which size and subtype the subjects have.

    Args:
        truths: the phantom's description of each subject.
        cases: the same subjects.
    """
    kinds = Counter(
        (case.tumour_class, lesion["subtype"])
        for case, truth in zip(cases, truths, strict=True)
        for lesion in truth["lesions"]
    )
    total = Counter()
    for (tumour_class, _), count in kinds.items():
        total[tumour_class] += count
    diameters_mm = [lesion["diameter_mm"] for truth in truths for lesion in truth["lesions"]]
    return {
        "n": sum(kinds.values()),
        "subtypes": {name: {k: n for (c, k), n in sorted(kinds.items()) if c == name} for name in sorted(total)},
        "atypical_share": {name: 1.0 - kinds[name, "typical"] / total[name] for name in sorted(total)},
        "diameter_mm": dict(
            zip(("min", "q25", "median", "q75", "max"), np.quantile(diameters_mm, [0, 0.25, 0.5, 0.75, 1]), strict=True)
        ),
    }


def _measure(values: np.ndarray, limit: tuple[float, float] | None, seed: int) -> dict[str, Any]:
    value = float(values.mean())
    measure = {"value": value, "ci95": list(bootstrap_interval(values, seed=seed)), "n": len(values)}
    if limit is not None:
        measure |= {"limit": list(limit), "holds": limit[0] <= value <= limit[1]}
    return measure


def _at_best_threshold(learnt: Sequence[Reading], scored: Sequence[Reading], field: str) -> np.ndarray:
    best = int(np.argmax(np.mean([getattr(r, field) for r in learnt], axis=0)))
    logger.info("%s: threshold %.2f", field, THRESHOLDS[best])
    return np.array([getattr(r, field)[best] for r in scored])


def _regression_hits(learnt: Sequence[Reading], scored: Sequence[Reading], features: Any) -> np.ndarray:
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    model.fit([features(r) for r in learnt], [r.tumour_class for r in learnt])
    return (model.predict([features(r) for r in scored]) == [r.tumour_class for r in scored]).astype(float)


def _with_lesion(cases: Sequence[Case]) -> list[Case]:
    return [case for case in cases if case.tumour_class != NO_LESION]


def _description(root: Path) -> dict[str, Any]:
    file = root / TRUTH_FILE
    if not file.is_file():
        msg = f"{root}: no {TRUTH_FILE}, so this is no phantom cohort. Make one with the run id make_phantom."
        raise DatasetError(msg)
    return json.loads(file.read_text())
