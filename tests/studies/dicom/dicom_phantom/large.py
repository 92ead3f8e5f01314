"""A series of thousands of large images, made in a moment."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
from pydicom.filebase import DicomBytesIO

from .filing import file_name
from .plan import Filing, Part, Series, WrittenSeries, WrittenStudy
from .single_frame import single_frames, uid
from .volumes import Subject, Volume

# Numbers in the template, replaced by others of the same length.
_Z = "-98765.4321"
_INSTANCE = "77777"
_INSTANCE_UID = "1.2.826.0.1.3680043.8.498.7777777777"


def large_series(folder: Path, *, slices: int = 120, phases: int = 20, size: int = 512) -> WrittenStudy:
    """One GE-like series with temporal positions, complete and decodable, some megabytes in all.

    The images are even, so JPEG-LS writes each in few bytes; of each phase one file is made and its copies get
    their own number, UID and position.

    Args:
        folder: to write to.
        slices: of a phase.
        phases: temporal positions.
        size: rows and columns.

    Returns:
        A study without phases and without decoded volumes: they would not fit into memory.
    """
    filing = Filing(transfer_syntax="jpeg_ls", vendor="ge", key="large")
    affine = np.diag([-0.75, -0.75, 2.0, 1.0])
    affine[:3, 3] = (190.0, 170.0, float(_Z))
    even = Volume(np.zeros((size, size, 1)), affine)
    series = Series(
        number=9,
        role="dynamic",
        description="Ax DISCO +C",
        parts=tuple(Part(even, -30.0 + 12.0 * index) for index in range(phases)),
        told_by=("temporal_position", "acquisition_time"),
        contrast=True,
    )
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for index, dataset in enumerate(single_frames(series, filing)):
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = _INSTANCE_UID
        dataset.InstanceNumber = _INSTANCE
        buffer = DicomBytesIO()
        pydicom.dcmwrite(buffer, dataset, write_like_original=False)
        template = buffer.getvalue()
        for k in range(slices):
            number = index * slices + k + 1
            content = template.replace(_Z.encode(), f"{-120.0 + 2.0 * k:{len(_Z)}.4f}".encode())
            content = content.replace(_INSTANCE_UID.encode(), f"{_INSTANCE_UID[:-10]}{10**9 + number}".encode())
            content = content.replace(f"{_INSTANCE} ".encode(), f"{number:05d} ".encode())
            files.append(folder / file_name(9, number))
            files[-1].write_bytes(content)
    written = WrittenSeries(uid(filing.key, "series", 9, "dynamic"), series, tuple(files), ())
    return WrittenStudy(folder, uid(filing.key, "study"), (written,), Subject(), filing.patient)
