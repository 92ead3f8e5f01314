"""Handlers of the study evaluator: write each result, score it, and report on the cohort."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ignite.engine import Engine, Events

from ..domain.errors import StudyError
from ..results.figures import draw_study
from ..results.metrics import Metrics, summarise, write_metrics
from ..results.scores import SubjectScore, score_slices, score_subject, write_per_subject
from ..results.writing import write_result
from ..studies.reading import write_mask
from .study_evaluator import Analysis


class ResultWriter:
    """Write ``<output_dir>/<case>/{mask.nii.gz, result.json, figure.png}`` after every study.

    Args:
        output_dir: where the cases' folders go.
        figures: whether to draw the pictures.
    """

    def __init__(self, output_dir: str | Path, *, figures: bool = True) -> None:
        self.output_dir = Path(output_dir)
        self.figures = figures
        self.seconds: dict[str, float] = {}

    def attach(self, engine: Engine) -> None:
        """Write after every study, and time it from being read to being written."""
        engine.add_event_handler(Events.ITERATION_STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._write)

    def _start(self, engine: Engine) -> None:
        self._started = time.perf_counter()

    def _write(self, engine: Engine) -> None:
        analysis = engine.state.output
        if isinstance(analysis, StudyError):
            return
        study, result, mask = analysis.study, analysis.result, analysis.mask
        write_result(
            self.output_dir,
            result,
            write_mask=lambda path: write_mask(mask, study, path),
            figure=draw_study(study, mask, result) if self.figures else None,
        )
        self.seconds[study.case] = time.perf_counter() - self._started


class Scorer:
    """Score every labelled study; at the end write ``metrics.json`` and ``per_subject.csv``.

    Args:
        output_dir: where the two files go.
        training_mean_curve: ``(4,)`` normalised, from the weights.
        per_slice: the paper's mode, each slice with a lesion on its own.
    """

    def __init__(
        self, output_dir: str | Path, training_mean_curve: Sequence[float], *, per_slice: bool = False
    ) -> None:
        self.output_dir = Path(output_dir)
        self.training_mean_curve = np.asarray(training_mean_curve, dtype=np.float64)
        self.per_slice = per_slice
        self.rows: list[SubjectScore] = []
        self.metrics: Metrics = {}

    def attach(self, engine: Engine) -> None:
        """Score after every study, summarise after the last."""
        engine.add_event_handler(Events.STARTED, lambda _: self.rows.clear())
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._score)
        engine.add_event_handler(Events.COMPLETED, self._summarise)

    def _score(self, engine: Engine) -> None:
        analysis = engine.state.output
        if not isinstance(analysis, Analysis) or analysis.study.label is None:
            return
        if self.per_slice:
            self.rows += score_slices(analysis.study, analysis.mask, analysis.prediction)
        else:
            self.rows.append(score_subject(analysis.study, analysis.mask, analysis.result, analysis.prediction))

    def _summarise(self, engine: Engine) -> None:
        self.metrics = summarise(self.rows, training_mean_curve=self.training_mean_curve)
        self.output_dir.mkdir(parents=True, exist_ok=True)
        write_metrics(self.metrics, self.output_dir / "metrics.json")
        write_per_subject(self.rows, self.output_dir / "per_subject.csv")
