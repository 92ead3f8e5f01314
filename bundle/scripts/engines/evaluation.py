"""Handlers of the study evaluator: write each result, score it, and report on the cohort."""

from __future__ import annotations

import resource
import time
from collections.abc import Collection
from pathlib import Path

from ignite.engine import Engine, Events

from ..domain.result import Result
from ..results.figures import draw_study
from ..results.metrics import Metrics, summarise, write_metrics
from ..results.per_subject import write_per_subject
from ..results.report import ReportedStudy, write_report
from ..results.scores import SubjectScore, score_slices, score_subject
from ..results.summary import summary, write_summary
from ..results.writing import FIGURE_FILE, write_result
from ..studies.reading import write_mask
from .study_evaluator import Analysis, StudyEvaluator


class ResultWriter:
    """Write ``<output_dir>/<case>/{mask.nii.gz, result.json, figure.png}`` after every study.

    Args:
        output_dir: where the cases' folders go.
        figures: whether to draw the pictures.
        keep: the cases whose folders are written, so that hundreds of runs fit on a disk; None writes all.
    """

    def __init__(self, output_dir: str | Path, *, figures: bool = True, keep: Collection[str] | None = None) -> None:
        self.output_dir = Path(output_dir)
        self.figures = figures
        self.keep = keep
        self.results: list[Result] = []

    def attach(self, engine: Engine) -> None:
        """Write after every study."""
        engine.add_event_handler(Events.STARTED, lambda _: self.results.clear())
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._write)

    def figure(self, case: str) -> Path | None:
        """The picture of a written case."""
        return self.output_dir / case / FIGURE_FILE if self.figures and self._keeps(case) else None

    def _keeps(self, case: str) -> bool:
        return self.keep is None or case in self.keep

    def _write(self, engine: Engine) -> None:
        analysis = engine.state.output
        if not isinstance(analysis, Analysis):
            return
        study, result, mask = analysis.study, analysis.result, analysis.mask
        if self._keeps(study.case):
            write_result(
                self.output_dir,
                result,
                write_mask=lambda path: write_mask(mask, study, path),
                figure=draw_study(study, mask, result) if self.figures else None,
            )
        self.results.append(result)


class Scorer:
    """Score every labelled study; at the end write ``metrics.json`` and ``per_subject.csv``.

    The reference of ``mae_ratio`` is the training mean curve that the network's weights carry.

    Args:
        output_dir: where the two files go.
        per_slice: the paper's mode, each slice with a lesion on its own.
    """

    def __init__(self, output_dir: str | Path, *, per_slice: bool = False) -> None:
        self.output_dir = Path(output_dir)
        self.per_slice = per_slice
        self.subjects: dict[str, SubjectScore] = {}
        self.rows: list[SubjectScore] = []
        self.metrics: Metrics | None = None

    def attach(self, engine: Engine) -> None:
        """Score after every study, summarise after the last."""
        engine.add_event_handler(Events.STARTED, self._forget)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._score)
        engine.add_event_handler(Events.COMPLETED, self._summarise)

    def _forget(self, engine: Engine) -> None:
        self.subjects.clear()
        self.rows.clear()

    def _score(self, engine: Engine) -> None:
        analysis = engine.state.output
        if not isinstance(analysis, Analysis) or analysis.study.label is None:
            return
        study, mask, prediction = analysis.study, analysis.mask, analysis.prediction
        subject = score_subject(study, mask, analysis.result, prediction)
        self.subjects[study.case] = subject
        self.rows += score_slices(study, mask, prediction) if self.per_slice else [subject]

    def _summarise(self, engine: StudyEvaluator) -> None:
        if not self.rows:
            return
        self.metrics = summarise(self.rows, training_mean_curve=engine.network.mean_curve.tolist())
        self.output_dir.mkdir(parents=True, exist_ok=True)
        write_metrics(self.metrics, self.output_dir / "metrics.json")
        write_per_subject(self.rows, self.output_dir / "per_subject.csv")


class CohortReport:
    """At the end write ``report.html``, for scored studies ``summary.json`` too, and print a short table.

    Attach it after the writer and the scorer.

    Args:
        output_dir: where the files go.
        writer: has the results and pictures.
        scorer: has the scores; None for studies without a ground truth.
        phantom: the scored studies are simulated, and the report says so.
    """

    def __init__(
        self, output_dir: str | Path, writer: ResultWriter, scorer: Scorer | None = None, *, phantom: bool = False
    ) -> None:
        self.output_dir = Path(output_dir)
        self.writer = writer
        self.scorer = scorer
        self.phantom = phantom

    def attach(self, engine: Engine) -> None:
        """Start the clock with the first study, report after the last."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.COMPLETED, self._report)

    def _start(self, engine: Engine) -> None:
        self._started = time.perf_counter()

    def _report(self, engine: Engine) -> None:
        results = self.writer.results
        if not results:
            return
        seconds_per_study = (time.perf_counter() - self._started) / len(results)
        peak_rss_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0
        scores = {} if self.scorer is None else self.scorer.subjects
        metrics = None if self.scorer is None else self.scorer.metrics
        write_report(
            self.output_dir / "report.html",
            [ReportedStudy(r, self.writer.figure(r.subject), scores.get(r.subject)) for r in results],
            metrics=metrics,
            facts={"time per study": f"{seconds_per_study:.1f} s", "peak memory": f"{peak_rss_mb:.0f} MiB"},
            phantom=self.phantom,
        )
        if metrics is not None:
            numbers = summary(
                metrics, seconds_per_study=seconds_per_study, peak_rss_mb=peak_rss_mb, subjects=len(scores)
            )
            write_summary(numbers, self.output_dir / "summary.json")
        print(self._table(results, scores, metrics))

    def _table(self, results: list[Result], scores: dict[str, SubjectScore], metrics: Metrics | None) -> str:
        lines = [f"\n{'case':<24}{'lesions':>8}  {'class':<12}{'truth':<12}{'Dice':>6}"]
        for result in results:
            score = scores.get(result.subject)
            truth = "not known" if score is None else score.true_class
            dice = "" if score is None or score.dice is None else f"{score.dice:.3f}"
            name, lesions = result.subject[:23], len(result.lesions)
            lines.append(f"{name:<24}{lesions:>8}  {result.predicted_class:<12}{truth:<12}{dice:>6}")
        for key in ("dsc_mean", "accuracy", "rule_accuracy", "mae_ratio") if metrics else ():
            value, interval = metrics[key]["value"], metrics[key]["ci95"]
            if value is not None:
                between = f"  (95 % interval {interval[0]:.3f} to {interval[1]:.3f})" if interval else ""
                lines.append(f"{key:<24}{value:>8.3f}{between}")
        lines.append(f"Look at {self.output_dir / 'report.html'}")
        return "\n".join(lines)
