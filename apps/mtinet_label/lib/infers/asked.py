"""What a request to a model is about: the study, and the series that its answer is drawn on."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
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


def uploaded_file(label: object) -> Path | None:
    """The uploaded mask that a request's ``label`` is: only where the server itself puts uploads, never elsewhere.

    Raises:
        BadRequestError: it is something, and no upload.
    """
    if label is None:
        return None
    folder = Path(tempfile.gettempdir()).resolve()
    file = Path(str(label))
    if "\0" not in str(label) and file.is_absolute() and not file.is_symlink() and file.is_file():
        resolved = file.resolve()
        if resolved.is_relative_to(folder):
            return resolved
    msg = "label is neither an uploaded mask nor the name of a class"
    raise BadRequestError(msg)
