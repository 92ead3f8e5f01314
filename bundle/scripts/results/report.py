"""A cohort's report: one HTML file that opens offline and prints."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib.figure import Figure
from PIL import Image

from ..domain.classes import CLASSES, UNKNOWN_CLASS
from ..domain.result import Result
from ..domain.writing import replace_when_written
from .cohort_figure import draw_curves_by_class
from .convexity import impossible_rows
from .figures import CLASS_NAMES
from .lesions import rule_of_study
from .metrics import METRICS, Metrics
from .scores import SubjectScore

TEMPLATE = "report.html.j2"

DISAGREEMENT = 0.5
"""Head and mask are flagged from this mean difference of their curves on, in normalised intensity."""

_HEADLINES = {
    "dsc_mean": "Dice",
    "accuracy": "Accuracy",
    "rule_accuracy": "Kinetic rule's accuracy",
    "mae_ratio": "MAE ratio",
}
_MISSED = "missed"
_JPEG_QUALITY = 80


@dataclass(frozen=True)
class ReportedStudy:
    """One study of a report.

    Args:
        result: its result.
        figure: its ``figure.png``; None leaves the picture out.
        score: its row of the metrics; None is a study without a ground truth.
    """

    result: Result
    figure: Path | None = None
    score: SubjectScore | None = None

    @property
    def rule(self) -> str | None:
        """The kinetic rule's opinion on the study."""
        return rule_of_study(self.result.lesions)

    @property
    def flags(self) -> list[str]:
        """What a reader should look at first."""
        said, rule = self.result.predicted_class, self.rule
        differences = [lesion.enhancement.disagreement or 0.0 for lesion in self.result.lesions]
        return [
            text
            for text, raised in (
                ("lesion missed", self.score is not None and self.score.missed),
                ("wrong class", self.score is not None and self.score.correct is False and not self.score.missed),
                (
                    "false positive",
                    self.score is not None and not self.score.has_lesion and self.score.predicted_lesions > 0,
                ),
                ("rule disagrees", said in CLASSES and rule is not None and rule != said),
                ("head and mask disagree", any(d >= DISAGREEMENT for d in differences)),
            )
            if raised
        ]


def write_report(
    path: Path,
    studies: Sequence[ReportedStudy],
    *,
    metrics: Metrics | None = None,
    title: str = "Four-phase liver MRI: analysis report",
    facts: Mapping[str, str] | None = None,
    phantom: bool = False,
) -> None:
    """Write the report; everything it shows is inside the file.

    Args:
        path: the HTML file.
        studies: in the order in which they are shown, those without a ground truth in a group of their own.
        metrics: from ``summarise``; None leaves the tables out.
        title: heading.
        facts: short facts about the run, such as the time per study, by their names.
        phantom: say that the scored studies are simulated.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": _number, "class_name": _class_name, "yes_no": _yes_no, "picture": _picture}
    scored = [study for study in studies if study.score is not None]
    html = environment.get_template(TEMPLATE).render(
        title=title,
        facts=facts or {},
        phantom=phantom,
        headlines=_HEADLINES,
        metrics=metrics,
        definitions={key: metric.definition for key, metric in METRICS.items()},
        convexity=_convexity(metrics),
        confusions=_confusions([study.score for study in scored]),
        classes=CLASSES,
        curves=_embedded(draw_curves_by_class(_curves_by_class(studies))) if studies else None,
        groups=[
            ("Studies with a ground truth", scored),
            ("Studies without a ground truth", [study for study in studies if study.score is None]),
        ],
        disagreement=DISAGREEMENT,
        models=sorted({(s.result.model["version"], s.result.model["weights_sha256"]) for s in studies}),
    )
    with replace_when_written(path) as aside:
        aside.write_text(html, encoding="utf-8")


def _convexity(metrics: Metrics | None) -> str | None:
    if metrics is None or metrics["dsc_mean"]["value"] is None:
        return None
    faults = impossible_rows({"this table": (metrics["dsc_mean"]["value"], metrics["iou_mean"]["value"])})
    return "failed. " + "; ".join(faults) if faults else "passed"


def _confusions(scores: Sequence[SubjectScore]) -> dict[str, dict[str, dict[str, int]]]:
    """Counts by reader, true class and answer."""
    readers = {
        "Network": [(s, s.predicted_class) for s in scores if s.correct is not None],
        "Kinetic rule on the predicted mask": [(s, s.rule_class) for s in scores if s.rule_correct is not None],
    }
    tables = {}
    for reader, rows in readers.items():
        answers = [(s.true_class, _MISSED if s.missed else said) for s, said in rows]
        columns = [*CLASSES, _MISSED] + [UNKNOWN_CLASS] * any(said == UNKNOWN_CLASS for _, said in answers)
        if answers:
            tables[reader] = {truth: {said: answers.count((truth, said)) for said in columns} for truth in CLASSES}
    return tables


def _curves_by_class(studies: Sequence[ReportedStudy]) -> dict[str, list[tuple[list, tuple]]]:
    """Relative enhancement of each study's largest lesion, by its true class or else its predicted one; no misses."""
    curves: dict[str, list[tuple[list, tuple]]] = {}
    for study in studies:
        score = study.score
        if study.result.lesions and (score is None or (score.has_lesion and not score.missed)):
            name = study.result.predicted_class if score is None else score.true_class
            times_s = [phase["time_s"] for phase in study.result.phases]
            curves.setdefault(name, []).append((times_s, study.result.lesions[0].enhancement.relative))
    return curves


def _number(value: float | None, digits: int = 3) -> str:
    return "–" if value is None else f"{value:.{digits}f}"  # noqa: RUF001


def _class_name(name: str | None) -> str:
    return "cannot be asked" if name is None else CLASS_NAMES.get(name, name)


def _yes_no(sign: bool | None) -> str:
    return {True: "yes", False: "no", None: "unknown"}[sign]


def _picture(path: Path) -> str:
    with Image.open(path) as image:
        return _data_uri(image)


def _embedded(figure: Figure) -> str:
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png")
    with Image.open(drawn) as image:
        return _data_uri(image)


def _data_uri(image: Image.Image) -> str:
    """A JPEG inside the page: a fifth of the PNG's size."""
    packed = io.BytesIO()
    image.convert("RGB").save(packed, format="JPEG", quality=_JPEG_QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(packed.getvalue()).decode("ascii")
