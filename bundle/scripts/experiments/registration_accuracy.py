"""Measures what registration gives back on phantom studies with known breathing: millimetres, and Dice."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from torch import nn
from tqdm import tqdm

from ..domain.classes import CLASSES
from ..domain.entry import entry_point
from ..domain.errors import ConfigurationError
from ..domain.phases import PHASES, REFERENCE_INDEX
from ..domain.writing import replace_when_written
from ..engines.evaluation import Scorer
from ..engines.inferer import StudyInferer
from ..engines.study_evaluator import ReadAhead, StudyDataset, StudyEvaluator
from ..engines.workflows import analyse_studies
from ..phantom.cohort import SHAPE
from ..phantom.grid import Grid, abdominal_grid
from ..phantom.subject import VERSION, PhantomStudy, make_study
from ..results.statistics import bootstrap_interval
from ..studies.case import Case, mask_file_name, phase_file_name, phase_files
from ..studies.nifti_writing import write_nifti
from ..studies.registration import register

LIMITS = {"deformable_residual_mm": (0.0, 1.0), "registered_minus_still_dice": (-0.02, 1.0)}
"""What the registration promises: the median residual in the liver, and how much Dice breathing may cost after it."""

VARIANTS = ("still", "breathing", "registered")
"""The same subjects without any breathing, with it, and with it registered."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Residual:
    """How far one registered phase is from the truth.

    Args:
        subject: number of the subject.
        phase: its name.
        asked: the method asked for.
        method: the method that was kept.
        reason: why another one than asked.
        breathing_mm: length of the true displacement, the error of no registration.
        median_mm: of the distance from it, over the liver.
        p95_mm: its 95th percentile.
        seconds: time taken.
    """

    subject: int
    phase: str
    asked: str
    method: str
    reason: str
    breathing_mm: float
    median_mm: float
    p95_mm: float
    seconds: float


@entry_point
def measure_registration(
    network: nn.Module,
    inferer: StudyInferer,
    ckpt_path: str,
    version: str,
    output_dir: str,
    *,
    subjects: int = 20,
    seed: int = 0,
    shape: Sequence[int] = SHAPE,
    shift_mm: float = 5.0,
    workers: int | None = None,
) -> None:
    """Write ``registration.json``; the run id ``registration_accuracy`` of ``configs/registration.yaml``.

    The residual is measured on the breathing that the phantom draws (up to 5 mm), rigid and deformable; the Dice of
    the network on the same subjects with every phase displaced by ``shift_mm``.

    Args:
        network: of the config.
        inferer: of the config.
        ckpt_path: its weights.
        version: of the bundle.
        output_dir: folder of the report.
        subjects: number of subjects, hemangioma and HCC in turn.
        seed: of the phantom; the released cohort and the demo have others.
        shape: voxels of the phantom.
        shift_mm: length of the displacement for the Dice.
        workers: processes; by default one a core.

    Raises:
        SystemExit: an argument is wrong, or the weights cannot be loaded.
    """
    if not isinstance(subjects, int) or subjects < 2:
        msg = f"subjects is {subjects!r}; it must be a whole number of at least 2."
        raise ConfigurationError(msg)
    grid = abdominal_grid(shape)
    output = Path(output_dir)
    with TemporaryDirectory(prefix="registration-") as folder:
        task = partial(measure_subject, seed=seed, grid=grid, shift_mm=shift_mm, folder=Path(folder))
        progress = tqdm(_mapped(task, subjects, workers), total=subjects, desc="registration", unit="study")
        residuals = [residual for of_subject in progress for residual in of_subject]
        cases = [_case(Path(folder), variant, subject) for variant in VARIANTS for subject in range(subjects)]
        scorer = Scorer(folder)
        loader = ReadAhead(StudyDataset(cases))
        evaluator = StudyEvaluator(inferer.device, loader, network, inferer, val_handlers=[scorer])
        analyse_studies(evaluator, ckpt_path, version)
    dice = {
        variant: np.array([scorer.subjects[_name(variant, subject)].dice for subject in range(subjects)])
        for variant in VARIANTS
    }
    report = {
        "note": "Measured on simulated studies: no clinical evidence.",
        "phantom": {"version": VERSION, "seed": seed, "shape": list(grid.shape), "spacing_mm": list(grid.spacing_mm)},
        "model": evaluator.model,
        "subjects": subjects,
        "shift_mm": shift_mm,
        "residual_mm": residual_measures(residuals, seed=seed),
        "dice": dice_measures(dice, seed=seed),
        "dice_by_subject": {variant: values.tolist() for variant, values in dice.items()},
        "residuals": [vars(residual) for residual in residuals],
    }
    with replace_when_written(output / "registration.json") as aside:
        aside.write_text(json.dumps(report, indent=1) + "\n")
    for name, measure in (report["residual_mm"] | report["dice"]).items():
        logger.info("%s: %.3f (95 %% interval %.3f to %.3f)", name, measure["value"], *measure["ci95"])


def measure_subject(subject: int, *, seed: int, grid: Grid, shift_mm: float, folder: Path) -> list[Residual]:
    """Register one subject's phases, and write its three variants for the network.

    Args:
        subject: its number.
        seed: of the phantom.
        grid: of the phantom.
        shift_mm: displacement of the breathing variants.
        folder: gets ``<variant>-<subject>_000k.nii.gz`` and the labels.
    """

    def made(of_length_mm: float | None) -> PhantomStudy:
        # A seed sequence of its own each time: spawning from it changes it.
        plan = np.random.SeedSequence(seed, spawn_key=(1, subject))
        return make_study(plan, CLASSES[subject % len(CLASSES)], grid, shift_mm=of_length_mm)

    drawn, still, breathing = made(None), made(0.0), made(shift_mm)
    residuals = []
    registered = breathing.image.copy()
    for phase in range(len(PHASES)):
        if phase == REFERENCE_INDEX:
            continue
        for method in ("rigid", "deformable"):
            residuals.append(_registered(drawn, phase, method, subject)[0])
        registered[phase] = np.rint(_registered(breathing, phase, "deformable", subject)[1]).clip(0, 32767)
    for variant, image in zip(VARIANTS, (still.image, breathing.image, registered), strict=True):
        name = _name(variant, subject)
        for phase, volume in enumerate(image):
            write_nifti(volume, still.affine, folder / phase_file_name(name, phase))
        write_nifti(still.label, still.affine, folder / mask_file_name(name))
    return residuals


def residual_measures(residuals: Sequence[Residual], *, seed: int = 0) -> dict[str, dict[str, Any]]:
    """The median over phases of their medians over the liver, for each method, with subjects as the bootstrap's unit.

    Args:
        residuals: one a phase and method.
        seed: of the bootstrap.
    """
    measures = {}
    for method in ("rigid", "deformable"):
        of_method = [residual for residual in residuals if residual.asked == method]
        subjects = [residual.subject for residual in of_method]
        values = np.array([residual.median_mm for residual in of_method])
        measures[f"{method}_residual_mm"] = _measure(values, subjects, np.median, seed, f"{method}_residual_mm") | {
            "largest": float(values.max()),
            "median_p95": float(np.median([residual.p95_mm for residual in of_method])),
            "dropped": sum(residual.method != method for residual in of_method),
            "seconds": round(float(np.median([residual.seconds for residual in of_method])), 1),
        }
    values = np.array([residual.breathing_mm for residual in of_method])
    return {"breathing_mm": _measure(values, subjects, np.median, seed, "breathing_mm"), **measures}


def dice_measures(dice: dict[str, np.ndarray], *, seed: int = 0) -> dict[str, dict[str, Any]]:
    """The mean Dice of each variant, and the mean of the paired differences from the still one.

    Args:
        dice: ``(N,)`` by variant, the subjects in the same order.
        seed: of the bootstrap.
    """
    values = {f"{variant}_dice": dice[variant] for variant in VARIANTS}
    for variant in VARIANTS[1:]:
        values[f"{variant}_minus_still_dice"] = dice[variant] - dice["still"]
    return {name: _measure(v, range(len(v)), np.mean, seed, name) for name, v in values.items()}


def _registered(study: PhantomStudy, phase: int, method: str, subject: int) -> tuple[Residual, np.ndarray]:
    start = time.perf_counter()
    result = register(study.image[phase], study.affine, study.image[REFERENCE_INDEX], study.affine, method=method)
    seconds = time.perf_counter() - start
    liver = study.liver[tuple(slice(None, None, step) for step in result.steps)] > 0
    shift_mm = np.array(study.truth["shifts_mm"][phase])
    error_mm = np.linalg.norm(result.field_mm[liver] - shift_mm, axis=-1)
    residual = Residual(
        subject=subject,
        phase=PHASES[phase],
        asked=method,
        method=result.method,
        reason=result.reason,
        breathing_mm=float(np.linalg.norm(shift_mm)),
        median_mm=float(np.median(error_mm)),
        p95_mm=float(np.percentile(error_mm, 95)),
        seconds=round(seconds, 2),
    )
    return residual, result.image


def _measure(values: np.ndarray, groups: Sequence[int], statistic: Any, seed: int, name: str) -> dict[str, Any]:
    value = float(statistic(values))
    interval = bootstrap_interval(values, statistic=statistic, groups=groups, seed=seed)
    measure = {"value": value, "ci95": list(interval), "n": len(values)}
    if name in LIMITS:
        low, high = LIMITS[name]
        measure |= {"limit": [low, high], "holds": low <= value <= high}
    return measure


def _mapped(task: partial, subjects: int, workers: int | None) -> Iterator[list[Residual]]:
    workers = min(workers or len(os.sched_getaffinity(0)), subjects)
    if workers == 1:
        yield from map(task, range(subjects))
        return
    # Spawned, not forked: PyTorch's threads do not survive a fork.
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        yield from pool.imap(task, range(subjects))


def _case(folder: Path, variant: str, subject: int) -> Case:
    name = _name(variant, subject)
    return Case(
        case=name,
        phase_files=phase_files(folder, name),
        label_file=folder / mask_file_name(name),
        tumour_class=CLASSES[subject % len(CLASSES)],
    )


def _name(variant: str, subject: int) -> str:
    return f"{variant}-{subject:03d}"
