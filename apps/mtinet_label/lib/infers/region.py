"""The curve of a region as MONAI Label knows models: `region_curve`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from monailabel.interfaces.tasks.infer_v2 import InferTask, InferType

from lib.analysis import Analyser
from lib.answers import LABEL_NAMES
from lib.drawn_mask import read_mask
from lib.errors import BadRequestError
from lib.infers.asked import asked, uploaded_file
from lib.labels.store import LabelStore
from lib.region import region_curves
from lib.studies.study import OpenStudy, StudySource


class RegionTask(InferTask):
    """Curve, washout and class by the kinetic rule of a reader's own mask.

    Args:
        source: of the studies.
        labels: the readers' masks.
        analyser: reads the studies.
    """

    def __init__(self, source: StudySource, labels: LabelStore, analyser: Analyser) -> None:
        super().__init__(
            # Of no type that viewers offer as a segmentation: it answers with facts, not with a mask.
            type=InferType.OTHERS,
            labels=LABEL_NAMES,
            dimension=3,
            description="Enhancement curve, washout and kinetic rule of the reader's own mask",
        )
        self.source = source
        self.label_store = labels
        self.analyser = analyser

    def is_valid(self) -> bool:
        """Whether it can be asked; always."""
        return True

    def __call__(self, request: Mapping[str, Any]) -> tuple[None, dict[str, Any]]:
        """Answer one request.

        Args:
            request: as ``asked`` takes it, the series being that of the mask; ``label``: the mask's uploaded file,
                without which the study's saved label counts.

        Returns:
            None, as there is no mask, and the curves (``region_curves``).

        Raises:
            UnknownError: no such study or series.
            BadRequestError: no mask, or none that can be used.
            StudyError: the study cannot be read.
        """
        study, series = asked(request, self.source)
        uploaded = uploaded_file(request.get("label"))
        mask = self._saved(study) if uploaded is None else read_mask(uploaded.read_bytes(), study, series)
        return None, region_curves(mask, study, self.analyser)

    def _saved(self, study: OpenStudy) -> np.ndarray:
        label = self.label_store.latest(study.case_id)
        if label is None or label.mask_file is None:
            msg = "the study has no mask of a reader yet: send one as label, or save one first"
            raise BadRequestError(msg)
        return read_mask(label.mask_file.read_bytes(), study, None)
