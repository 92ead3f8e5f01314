"""The masks that came with a dataset, ``labelsTr`` and ``labelsTs``, as labels of version 0."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

import nibabel as nib
import numpy as np

from lib.errors import BadRequestError
from lib.labels.label import DIAGNOSES, Label, LesionLabel
from lib.labels.lesions import checked, lesions_of
from lib.studies.study import ViewerGrid
from scripts.domain.classes import tumour_class_of
from scripts.studies.case import Case

logger = logging.getLogger(__name__)

READER = "dataset"


class DatasetLabels:
    """Reads a dataset's masks when they are asked for, and remembers the last few hundred.

    Args:
        cases: gives the dataset's cases by name, as they are now.
    """

    def __init__(self, cases: Callable[[], Mapping[str, Case]]) -> None:
        self._cases = cases

    def cases(self) -> set[str]:
        """The cases that have a mask; none is opened."""
        return {name for name, case in self._cases().items() if case.label_file is not None}

    def label(self, case_id: str) -> Label | None:
        """The case's label; None where there is none, or none that can be read."""
        case = self._cases().get(case_id)
        if case is None or case.label_file is None:
            return None
        try:
            changed_ns = case.label_file.stat().st_mtime_ns
        except OSError:
            return None
        read = _read(case.label_file, changed_ns)
        if read is None:
            return None
        lesions, tumour_class = read
        diagnosis = case.tumour_class if case.tumour_class in DIAGNOSES else tumour_class
        return Label(
            case_id=case_id,
            version=0,
            mask_file=case.label_file,
            lesions=lesions,
            diagnosis=diagnosis,
            reader=READER,
            saved_at=datetime.fromtimestamp(changed_ns / 1e9, UTC).isoformat(timespec="milliseconds"),
        )


@lru_cache(maxsize=512)
def _read(file: Path, changed_ns: int) -> tuple[tuple[LesionLabel, ...], str] | None:
    """Lesions and the class of most of them; ``changed_ns`` is what makes a replaced file another one."""
    try:
        image = nib.load(file)
        grid = ViewerGrid(tuple(image.shape), np.asarray(image.affine, dtype=float))
        stored = np.asanyarray(image.dataobj)
        # checked() refuses fractions by their type; a file of whole numbers may hold them as floats.
        whole = stored.astype(np.int64)
        mask = checked(whole if np.array_equal(whole, stored) else stored, grid)
    except BadRequestError:
        logger.warning("a mask of the dataset holds values that stand for no class, and does not count")
        return None
    except Exception:  # nibabel raises many kinds for one thing: no sound file
        logger.warning("a mask of the dataset cannot be read, and does not count")
        return None
    return lesions_of(mask, grid), tumour_class_of(mask)
