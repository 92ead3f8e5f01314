"""Peak resident memory of analysing a study and of training, each in a process of its own."""

from __future__ import annotations

import contextlib
import multiprocessing
import resource
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import median

from tqdm import tqdm

from .conditions import Conditions
from .study import study_evaluator

UNITS = {"peak_rss_inference_mb": "MiB", "peak_rss_training_mb": "MiB"}

Work = Callable[[Conditions, Path], None]


def measure(conditions: Conditions) -> dict[str, float]:
    """The median over as many processes of each kind."""
    # Made here, or the workers would make it and its memory would count.
    _ = conditions.dataset_dir
    peaks: dict[str, list[float]] = {name: [] for name in UNITS}
    for _ in tqdm(range(conditions.runs), desc="peak memory", unit="round", leave=False):
        for name, work in zip(UNITS, (analyse_study, train_and_validate), strict=True):
            peaks[name].append(peak_rss_mb(work, conditions))
    return {name: median(values) for name, values in peaks.items()}


def analyse_study(conditions: Conditions, output_dir: Path) -> None:
    """One study from files to written results, the model's compilation included."""
    study_evaluator(conditions, output_dir).run()


def train_and_validate(conditions: Conditions, output_dir: Path) -> None:
    """One epoch, its validation and its checkpoint."""
    changes = {"output_dir": str(output_dir), "max_epochs": 1, "val_interval": 1}
    conditions.training_config(changes).get_parsed_content("train#trainer").run()


def peak_rss_mb(work: Work, conditions: Conditions) -> float:
    """Peak resident memory of a fresh process that does the work, MiB, the imported libraries included.

    It is forked from a server that holds nothing: ``ru_maxrss`` survives exec, and a child started directly would
    begin with the memory of this process.
    """
    context = multiprocessing.get_context("forkserver")
    with ProcessPoolExecutor(max_workers=1, mp_context=context) as pool:
        return pool.submit(_measured, work, conditions).result()


def _measured(work: Work, conditions: Conditions) -> float:
    with contextlib.redirect_stdout(sys.stderr), tempfile.TemporaryDirectory(dir=conditions.work_dir) as output_dir:
        work(conditions, Path(output_dir))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0
