"""Writes a cohort of phantom studies as an nnU-Net-raw dataset."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from ..domain.entry import entry_point
from ..domain.errors import ConfigurationError
from ..domain.writing import folder_when_written, require_empty
from ..studies.case import LIVER_FOLDER, Case, images_folder, labels_folder, mask_file_name, phase_file_name
from ..studies.layout import write_dataset_json, write_subjects
from .assignment import Assignment, assign
from .grid import Grid, abdominal_grid
from .seeded_file import write_seeded
from .subject import VERSION, PhantomStudy, make_study

SHAPE = (256, 256, 32)
TRUTH_FILE = "phantom.json"
"""Per subject: latent noise-free lesion curves, subtypes, shifts, gains; and the generator's version."""


@entry_point
def make_phantom(
    subjects: int,
    seed: int,
    output_dir: str,
    split_sizes: Sequence[int] | None = None,
    shape: Sequence[int] = SHAPE,
    spacing_mm: Sequence[float] | None = None,
    workers: int | None = None,
) -> None:
    """Make a phantom cohort; the run id ``make_phantom`` of ``configs/phantom.yaml``.

    Args:
        subjects: number of subjects.
        seed: same seed, same bytes, whatever the number of workers.
        output_dir: new or empty folder for the dataset.
        split_sizes: subjects in train, val and test; all test by default.
        shape: voxels right-left, posterior-anterior, inferior-superior.
        spacing_mm: voxel size; by default the shape covers 384 x 384 x 160 mm.
        workers: processes; by default one a core.

    Raises:
        SystemExit: an argument is wrong, or ``output_dir`` holds something; nothing is written.
    """
    write_cohort(
        subjects, seed, output_dir, split_sizes=split_sizes, shape=shape, spacing_mm=spacing_mm, workers=workers
    )


def write_cohort(
    subjects: int,
    seed: int,
    output_dir: str | Path,
    *,
    split_sizes: Sequence[int] | None = None,
    shape: Sequence[int] = SHAPE,
    spacing_mm: Sequence[float] | None = None,
    workers: int | None = None,
) -> None:
    """``make_phantom`` as a library function.

    Raises:
        ConfigurationError: an argument is wrong, or ``output_dir`` holds something; nothing is written.
    """
    _require_whole("subjects", subjects, at_least=1)
    _require_whole("seed", seed, at_least=0)
    if workers is None:
        workers = len(os.sched_getaffinity(0))
    _require_whole("workers", workers, at_least=1)
    grid = abdominal_grid(shape, spacing_mm)
    assignments = assign(subjects, seed, split_sizes)
    output = Path(output_dir).resolve()
    require_empty(output)
    with folder_when_written(output) as aside:
        for folder in ("imagesTr", "labelsTr", "imagesTs", "labelsTs", LIVER_FOLDER):
            (aside / folder).mkdir(parents=True)
        make = partial(_make_and_write, seed=seed, grid=grid, dataset_dir=aside)
        progress = tqdm(_mapped(make, assignments, workers), total=subjects, desc="make_phantom", unit="study")
        made = sorted(progress, key=lambda pair: pair[0].case)
        write_subjects(aside, [case for case, _ in made])
        write_dataset_json(aside, "phantom", sum(case.split != "test" for case, _ in made))
        description = {
            "version": VERSION,
            "seed": seed,
            "shape": list(grid.shape),
            "spacing_mm": list(grid.spacing_mm),
            "subjects": {case.case: truth for case, truth in made},
        }
        (aside / TRUTH_FILE).write_text(json.dumps(description, indent=1) + "\n")


def _require_whole(name: str, value: Any, *, at_least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < at_least:
        msg = f"{name} is {value!r}; it must be a whole number of at least {at_least}."
        raise ConfigurationError(msg)


def _mapped(make: partial, assignments: list[Assignment], workers: int) -> Iterator[tuple[Case, dict[str, Any]]]:
    if workers == 1:
        yield from map(make, assignments)
        return
    # Forked workers share the imported libraries; a spawned one would import them all again.
    method = "fork" if "fork" in multiprocessing.get_all_start_methods() else None
    with multiprocessing.get_context(method).Pool(min(workers, len(assignments)), _end_quietly) as pool:
        yield from pool.imap_unordered(make, assignments)


def _end_quietly() -> None:
    """A worker ends when the pool says so, without a traceback, whatever handlers it got from the program around it."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _make_and_write(assignment: Assignment, *, seed: int, grid: Grid, dataset_dir: Path) -> tuple[Case, dict[str, Any]]:
    study = make_study(np.random.SeedSequence(seed, spawn_key=(1, assignment.index)), assignment.tumour_class, grid)
    _write_study(study, assignment, dataset_dir)
    case = Case(
        case=assignment.case,
        tumour_class=assignment.tumour_class,
        split=assignment.split,
        fold=assignment.fold,
        site=study.site,
        times_s=study.times_s,
        nominal_times=(),
    )
    return case, study.truth


def _write_study(study: PhantomStudy, assignment: Assignment, dataset_dir: Path) -> None:
    images, labels = images_folder(assignment.split), labels_folder(assignment.split)
    for phase, volume in enumerate(study.image):
        write_seeded(volume, study.affine, dataset_dir / images / phase_file_name(assignment.case, phase))
    write_seeded(study.label, study.affine, dataset_dir / labels / mask_file_name(assignment.case))
    write_seeded(study.liver, study.affine, dataset_dir / LIVER_FOLDER / mask_file_name(assignment.case))
