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

# Spoiled gradient echo at 3 T with gadobutrol, as the phantom's at these times after the bolus.
_TIMES_S = (10.0, 30.0, 70.0, 180.0)
_AORTA = (19.0, 154.0, 110.0, 84.0)
_LIVER = (35.0, 59.0, 95.0, 74.0)


def large_series(
    folder: Path, *, slices: int = 120, phases: int = 20, size: int = 512, bolus_time: bool = True
) -> WrittenStudy:
    """One GE-like series with temporal positions, complete and decodable, some megabytes in all.

    Every tissue is even, so JPEG-LS writes an image in few bytes; of each phase one file is made and its copies get
    their own number, UID and position.

    Args:
        folder: to write to.
        slices: of a phase.
        phases: temporal positions, 12 s apart from 30 s before the bolus.
        size: rows and columns.
        bolus_time: whether the headers tell when the bolus was.

    Returns:
        A study without phases and without decoded volumes: they would not fit into memory.
    """
    filing = Filing(transfer_syntax="jpeg_ls", vendor="ge", key="large")
    affine = np.diag([-0.75, -0.75, 2.0, 1.0])
    affine[:3, 3] = (190.0, 170.0, float(_Z))
    seconds = [-30.0 + 12.0 * index for index in range(phases)]
    series = Series(
        number=9,
        role="dynamic",
        description="Ax DISCO +C",
        parts=tuple(Part(Volume(_tissues(size, time_s), affine), time_s) for time_s in seconds),
        told_by=("temporal_position", "acquisition_time"),
        contrast=True,
        bolus_time=bolus_time,
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


def _tissues(size: int, time_s: float) -> np.ndarray:
    """``(size, size, 1)``: an elliptic body with a liver and an aorta that enhance."""
    x, y = np.meshgrid(*[np.linspace(-1.0, 1.0, size)] * 2, indexing="ij")
    image = np.where((x / 0.9) ** 2 + (y / 0.7) ** 2 < 1.0, 60.0, 0.0)
    image[((x + 0.4) / 0.4) ** 2 + ((y + 0.1) / 0.4) ** 2 < 1.0] = np.interp(time_s, _TIMES_S, _LIVER)
    image[(x - 0.1) ** 2 + (y - 0.3) ** 2 < 0.1**2] = np.interp(time_s, _TIMES_S, _AORTA)
    return image[:, :, None]
