"""Refinement by clicks as MONAI Label knows models: `mtinet_clicks`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from monailabel.interfaces.tasks.infer_v2 import InferTask, InferType

from lib.analysis import Analyser
from lib.answers import LABEL_NAMES, facts, write_answer
from lib.clicks import BACKGROUND, read_clicks
from lib.drawn_mask import read_mask
from lib.errors import BadRequestError
from lib.infers.asked import asked, uploaded_file
from lib.refining import StudyRefiner
from lib.studies.study import StudySource
from scripts.domain.classes import CLASSES, LABELS
from scripts.domain.switches import is_on

NAMES = ("", BACKGROUND, "lesion", *CLASSES)
"""What ``label`` may name: 3D Slicer puts the current segment's name there."""


class InteractiveTask(InferTask):
    """The reader's clicks (lesion, not lesion) or rough mask steer the segmentation.

    Args:
        source: of the studies.
        analyser: analyses a study before it is refined.
        refiner: does the work; by default with the bundle's own weights.
    """

    def __init__(self, source: StudySource, analyser: Analyser, refiner: StudyRefiner | None = None) -> None:
        super().__init__(
            type=InferType.DEEPEDIT,
            # "background" is where 3D Slicer and OHIF keep the points that say "not lesion".
            labels={BACKGROUND: LABELS[BACKGROUND], **LABEL_NAMES},
            dimension=3,
            description="MTI-Net refined by the reader's clicks, lesion or not lesion, or rough mask",
        )
        self.source = source
        self.refiner = StudyRefiner(analyser) if refiner is None else refiner

    def is_valid(self) -> bool:
        """Whether its weights are there."""
        return self.refiner.weights.is_file()

    def __call__(self, request: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        """Answer one request.

        Args:
            request: ``image``: identifier of a study or of the series that was clicked on; ``series``: of another one
                that is shown; the points as of ``clicks.read_clicks``, all of them so far; ``label``: the file of a
                rough mask that was uploaded, such as the one that the viewer shows, or one of ``NAMES``;
                ``result_extension``, ``result_compress``: of the mask. Everything else is ignored.

        Returns:
            The mask's file on the grid of the series, for the caller to remove, and the facts beside it: as of the
            automatic analysis, with ``class_by`` in every lesion and the number of ``clicks``.

        Raises:
            UnknownError: no such study.
            BadRequestError: points or a mask that cannot be used.
            BusyError: too many analyses wait already.
            StudyError: the study cannot be analysed.
        """
        study, series = asked(request, self.source)
        clicks = read_clicks(request, study, series)
        label = request.get("label")
        uploaded = None if label in NAMES else uploaded_file(label)
        rough = None if uploaded is None else read_mask(uploaded.read_bytes(), study, series)
        if rough is not None and not rough.any() and not clicks:
            msg = "the mask is empty and there is no click: draw a lesion, or click on one"
            raise BadRequestError(msg)
        refined = self.refiner.refine(study, clicks, rough)
        file = write_answer(
            refined.analysed.mask,
            study,
            series,
            extension=request.get("result_extension"),
            compress=is_on(request.get("result_compress") or False),
        )
        document = facts(refined.analysed)
        for lesion, who in zip(document["lesions"], refined.class_by, strict=True):
            lesion["class_by"] = who
        return str(file), {**document, "clicks": len(clicks)}
