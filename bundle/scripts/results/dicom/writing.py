"""Writes a result's DICOM objects beside its other files, all or none."""

from __future__ import annotations

import warnings
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from highdicom.base import SOPClass

from ...domain.errors import StudyError
from ...domain.result import Result
from ...domain.study import Study
from ...domain.writing import replace_when_written
from .capture import capture
from .equipment import equipment_of
from .measurements import measurements
from .segmentation import segmentation, track_lesions
from .source import DicomSource

FILES = {"segmentation": "segmentation.dcm", "measurements": "measurements.dcm", "page": "page.dcm"}


def write_dicom(
    folder: Path, *, study: Study, result: Result, mask: np.ndarray, source: DicomSource
) -> dict[str, Path]:
    """Write a result as DICOM SEG, SR and Secondary Capture that belong to the source's study.

    A study without a lesion gets no SEG, which DICOM does not allow without a segment; its SR says that the number
    of lesions is 0.

    Args:
        folder: where the files go; made if it is missing. A ``segmentation.dcm`` of an older result is removed where
            there is no lesion any more.
        study: the study, on the grid of its reference phase.
        result: from ``analyse``.
        mask: ``(X, Y, Z)`` from ``analyse``.
        source: the images that the study came from.

    Returns:
        The files by name: ``segmentation`` (with lesions), ``measurements``, ``page``.

    Raises:
        StudyError: the mask is not the result's, the study is not on the reference phase's grid, a phase of the study
            has no source, or an image lacks what a reference to it needs.
    """
    lacking = [p["name"] for p in result.phases if p["available"] and p["name"] not in source.phases]
    if lacking:
        msg = f"{study.case}: no DICOM source for the phase(s) {', '.join(lacking)}. Give the images of every phase."
        raise StudyError(msg)
    folder = Path(folder)
    # pydicom's and highdicom's warnings quote the values that they find odd, a patient's name among them.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        documents = _documents(study, result, mask, source)
        with ExitStack() as files:
            for name, document in documents.items():
                aside = files.enter_context(replace_when_written(folder / FILES[name]))
                document.save_as(aside, write_like_original=False)
    for name in FILES.keys() - documents.keys():
        (folder / FILES[name]).unlink(missing_ok=True)
    return {name: folder / FILES[name] for name in documents}


def _documents(study: Study, result: Result, mask: np.ndarray, source: DicomSource) -> dict[str, SOPClass]:
    equipment = equipment_of(result)
    lesions = track_lesions(study, result, mask)
    documents: dict[str, SOPClass] = {}
    if lesions:
        documents["segmentation"] = segmentation(study, lesions, source, equipment)
    documents["measurements"] = measurements(study, result, lesions, documents.get("segmentation"), source, equipment)
    documents["page"] = capture(study, mask, result, source, equipment)
    header = source.patient_and_study
    for document in documents.values():
        document.copy_patient_and_study_information(header)
        if "SpecificCharacterSet" in header:
            document.SpecificCharacterSet = header.SpecificCharacterSet
    return documents
