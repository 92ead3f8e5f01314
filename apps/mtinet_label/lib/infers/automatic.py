"""The automatic analysis as MONAI Label knows models: `mtinet`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from monailabel.interfaces.tasks.infer_v2 import InferTask, InferType

from lib.analysis import Analyser
from lib.answers import LABEL_NAMES, facts, write_answer
from lib.infers.asked import asked
from lib.studies.study import StudySource
from scripts.domain.switches import is_on


class AutomaticTask(InferTask):
    """All lesions of a study, with their classes and curves.

    Args:
        source: of the studies.
        analyser: does the work, or knows what it did.
    """

    def __init__(self, source: StudySource, analyser: Analyser) -> None:
        super().__init__(
            # Viewers list models by type; OHIF knows no other for one that needs no clicks.
            type=InferType.SEGMENTATION,
            labels=LABEL_NAMES,
            dimension=3,
            description="MTI-Net: liver tumours in four-phase MRI, their enhancement and their class",
        )
        self.source = source
        self.analyser = analyser

    def is_valid(self) -> bool:
        """Whether it can be asked; always."""
        return True

    def __call__(self, request: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        """Answer one request.

        Args:
            request: as ``asked`` takes it; ``result_extension``, ``result_compress``: of the mask. Everything else is
                ignored.

        Returns:
            The mask's file on the grid of the series, for the caller to remove, and the facts beside it.

        Raises:
            UnknownError: no such study or series.
            BusyError: too many analyses wait already.
            StudyError: the study cannot be analysed.
        """
        study, series = asked(request, self.source)
        analysed = self.analyser.analyse(study)
        file = write_answer(
            analysed.mask,
            study,
            series,
            extension=request.get("result_extension"),
            compress=is_on(request.get("result_compress") or False),
        )
        # A page for whoever has no viewer that shows curves, 3D Slicer among them.
        return str(file), {**facts(analysed), "page": f"/mtinet/studies/{study.case_id}/page"}
