"""The result of one study as a page for the browser, for whoever has no viewer that shows curves."""

from __future__ import annotations

import tempfile
from pathlib import Path

from lib.analysis import Analysed, Analyser
from lib.labels.label import Label
from lib.orientation import to_study_order
from lib.studies.study import OpenStudy
from scripts.results.figures import CLASS_NAMES, draw_study
from scripts.results.report import ReportedStudy, write_report


def result_page(study: OpenStudy, analysed: Analysed, analyser: Analyser, *, label: Label | None) -> str:
    """HTML with everything inside it.

    Args:
        study: the case.
        analysed: its analysis.
        analyser: reads its volumes.
        label: what a reader said about it.

    Raises:
        BusyError: too many analyses and pages wait already.
        StudyError: the study cannot be read.
    """
    diagnosis = "" if label is None else label.diagnosis
    said = {"reader's diagnosis": CLASS_NAMES[diagnosis]} if diagnosis else {}
    # One figure at a time: drawing takes much memory and does not get faster side by side.
    with analyser.queue.turn(), tempfile.TemporaryDirectory(prefix="mtinet-page-") as folder:
        image = analyser.volumes.study(study)
        figure, page = Path(folder, "figure.png"), Path(folder, "page.html")
        draw_study(image, to_study_order(analysed.mask, image), analysed.result).savefig(figure)
        write_report(page, [ReportedStudy(analysed.result, figure)], title="MTI-Net: one study", facts=said)
        return page.read_text(encoding="utf-8")
