"""What a reader's own mask says: its curve, its kinetic rule, its washout, at once."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import numpy as np

from lib.analysis import Analyser
from lib.answers import described
from lib.errors import BadRequestError
from lib.orientation import to_study_order
from lib.studies.study import OpenStudy
from scripts.domain.classes import LABELS, tumour_class_of
from scripts.domain.prediction import Prediction
from scripts.results.components import find_components
from scripts.results.lesions import analyse
from scripts.studies.normalisation import body_mask

_ABOUT_THE_NETWORK = "The network has no"
"""Notes of ``analyse`` that would be wrong here, where the network was only not asked yet."""

_AT_ONCE = threading.BoundedSemaphore(2)
"""A curve takes little time but copies the study's arrays, so only so many at once."""


def region_curves(mask: np.ndarray, study: OpenStudy, analyser: Analyser) -> dict[str, Any]:
    """Curve, relative enhancement, washout and kinetic rule of each lesion of a mask.

    The class in it is the kinetic rule's. Where the study was analysed before, the network's opinion on the slices
    that the mask lies in stands beside it.

    Args:
        mask: ``(X, Y, Z)`` uint8 of ``LABELS`` values on the case's reference grid, in the axes of its file.
        study: the case.
        analyser: knows the study's volumes and earlier analyses.

    Returns:
        A result's JSON form as ``answers.described`` gives it. Each lesion also has its ``reader_class``, the
        class of most of its voxels; ``analysed`` says whether the network's part is there.

    Raises:
        BadRequestError: nothing is drawn.
        StudyError: the study cannot be read.
    """
    if not mask.any():
        msg = "the mask is empty: draw a lesion first"
        raise BadRequestError(msg)
    analysed = analyser.cached(study)
    with _AT_ONCE:
        image = analyser.volumes.study(study)
        drawn = to_study_order(mask, image)
        prediction = Prediction(
            tumour=(drawn > 0).astype(np.float32),
            regression=None if analysed is None else analysed.regression,
            classification=None if analysed is None else analysed.classification,
        )
        model = {"version": "", "weights_sha256": ""} if analysed is None else analysed.result.model
        result, _ = analyse(image, prediction, model=model, min_volume_ml=0.0, body=body_mask(image.image))
    result = replace(result, notes=tuple(note for note in result.notes if not note.startswith(_ABOUT_THE_NETWORK)))
    document = described(result, mask)
    for lesion, read_as in zip(document["lesions"], _reader_classes(drawn), strict=True):
        lesion["reader_class"] = read_as
    return {**document, "analysed": analysed is not None}


def _reader_classes(drawn: np.ndarray) -> list[str]:
    # In the order of falling volume, as ``analyse`` names them.
    components, _ = find_components(drawn > 0)
    return [tumour_class_of(np.where(c.mask, drawn[c.box], LABELS["background"])) for c in components]
