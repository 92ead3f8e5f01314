"""What a viewer gets: the mask on the grid that it shows, as a file, and the facts beside it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lib.analysis import Analysed
from lib.errors import BadRequestError
from lib.grids import on_grid
from lib.nrrd_file import write_nrrd
from lib.studies.study import OpenStudy
from scripts.domain.classes import CLASSES, LABELS
from scripts.domain.result import Result
from scripts.domain.writing import replace_when_written
from scripts.results.lesions import rule_of_study
from scripts.studies.nifti_writing import write_nifti

LABEL_NAMES = {name: LABELS[name] for name in CLASSES}
"""Of every model that answers with a mask, as viewers want them."""

EXTENSIONS = (".nrrd", ".nii.gz", ".nii")
DEFAULT_EXTENSION = ".nii.gz"

_UNDECIDED_FROM = 0.05
"""Voxels below this probability are not what a mask's uncertainty is about: a liver is nearly all of them."""


def write_answer(
    mask: np.ndarray, study: OpenStudy, series: str | None, *, extension: str | None, compress: bool = False
) -> Path:
    """Write a mask for the viewer that asked, into a temporary file that the caller removes.

    Always uint8, whatever a client asks for: OHIF reads the bytes as they come.

    Args:
        mask: ``(X, Y, Z)`` uint8 on the case's reference grid, in the axes of its file.
        study: the case.
        series: the series that is shown; None is the reference.
        extension: one of ``EXTENSIONS``; None is the default.
        compress: gzip inside an NRRD.

    Raises:
        BadRequestError: another extension.
    """
    extension = extension or DEFAULT_EXTENSION
    if extension not in EXTENSIONS:
        msg = f"result_extension is none of {', '.join(EXTENSIONS)}"
        raise BadRequestError(msg)
    shown, grid = on_grid(mask, study, series), study.grid(series)
    handle, name = tempfile.mkstemp(prefix="mtinet-", suffix=extension)
    os.close(handle)
    file = Path(name)
    if extension == ".nrrd":
        return write_nrrd(shown, grid.affine, file, compress=compress)
    with replace_when_written(file) as aside:
        write_nifti(shown, grid.affine, aside)
    return file


def facts(analysed: Analysed) -> dict[str, Any]:
    """What is said beside a mask: the result's JSON form, the rule's opinion, how sure the network is.

    Returns:
        ``result.json``'s entries, and ``label_names``, ``rule``, ``uncertainty``, ``seconds``.
    """
    return {
        **described(analysed.result, analysed.mask),
        "uncertainty": uncertainty(analysed.result, analysed.tumour),
        "seconds": round(analysed.seconds, 3),
    }


def described(result: Result, mask: np.ndarray) -> dict[str, Any]:
    """A result's JSON form with the names of the values in its mask and the kinetic rule's opinion on the study.

    Only values that occur are named: 3D Slicer gives the names to the values that it finds, one after the other.
    """
    rule = rule_of_study(result.lesions)
    return {
        **result.to_dict(),
        "label_names": {name: value for name, value in LABEL_NAMES.items() if (mask == value).any()},
        "rule": {"class": rule, "agrees": None if rule is None else rule == result.predicted_class},
    }


def uncertainty(result: Result, tumour: np.ndarray) -> dict[str, float | None]:
    """How undecided the network is, each from 0 to 1 but the last.

    Args:
        result: of the analysis.
        tumour: ``(X, Y, Z)``, probability of tumour.

    Returns:
        ``mask``: mean binary entropy, bits, over the voxels that may be tumour; ``class``: entropy of the study's class
        probabilities, bits; ``disagreement``: of the regression head and the mask's own curve, normalised
        intensity, the largest of the lesions'. None where there is nothing to be sure about.
    """
    possible = tumour[tumour >= _UNDECIDED_FROM].astype(np.float64)
    disagreements = [x.enhancement.disagreement for x in result.lesions if x.enhancement.disagreement is not None]
    return {
        "mask": float(_entropy_bits(possible, 1.0 - possible).mean()) if possible.size else None,
        "class": _class_entropy(result.probabilities),
        "disagreement": max(disagreements, default=None),
    }


def _class_entropy(probabilities: Mapping[str, float] | None) -> float | None:
    if probabilities is None:
        return None
    return float(_entropy_bits(*(np.float64(p) for p in probabilities.values())) / np.log2(len(probabilities)))


def _entropy_bits(*probabilities: np.ndarray) -> np.ndarray:
    return -sum(p * np.log2(np.maximum(p, 1e-12)) for p in probabilities)
