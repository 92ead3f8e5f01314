"""What a request to a model is about: the study, and the series that its answer is drawn on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lib.errors import BadRequestError
from lib.studies.study import OpenStudy, StudySource


def asked(request: Mapping[str, Any], source: StudySource) -> tuple[OpenStudy, str | None]:
    """Open the study of a request.

    Args:
        request: ``image``: identifier of a study or of one of its series; ``series``: of another one that is shown.
        source: of the studies.

    Returns:
        The study, and the series whose grid the answer has; None is the reference's.

    Raises:
        BadRequestError: no image is named.
        UnknownError: no such study or series.
        StudyError: it cannot be opened.
    """
    image = request.get("image")
    if not isinstance(image, str) or not image:
        msg = "name the study as image"
        raise BadRequestError(msg)
    address = source.resolve(image)
    study = source.open(address.case_id)
    series = request.get("series") or address.series
    study.grid(series)
    return study, series
