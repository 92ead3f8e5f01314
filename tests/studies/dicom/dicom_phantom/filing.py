"""Writes a planned study to a folder."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset

from .enhanced import enhanced_file
from .plan import Filing, Series, WrittenSeries, WrittenStudy
from .single_frame import single_frames, uid
from .volumes import Subject


def write_study(folder: Path, series: Sequence[Series], subject: Subject, filing: Filing) -> WrittenStudy:
    """Write a study.

    Args:
        folder: is made where it does not exist; may hold other studies.
        series: in any order.
        subject: that the volumes come from, for the record.
        filing: how.
    """
    rng = np.random.default_rng(zlib.crc32(filing.key.encode()))
    written = []
    for plan in series:
        datasets = [enhanced_file(plan, filing)] if plan.enhanced else list(single_frames(plan, filing))
        files = tuple(_write(dataset, folder / _name(dataset, filing, rng)) for dataset in datasets)
        written.append(
            WrittenSeries(
                uid=str(datasets[0].SeriesInstanceUID),
                plan=plan,
                files=files,
                volumes=tuple(part.decoded for part in plan.parts),
            )
        )
    return WrittenStudy(folder, uid(filing.key, "study"), tuple(written), subject, filing.patient)


def _write(dataset: Dataset, file: Path) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    pydicom.dcmwrite(file, dataset, write_like_original=False)
    return file


def file_name(series_number: int, instance_number: int) -> str:
    """Of a file that is named after its numbers."""
    return f"{series_number:03d}_{instance_number:05d}.dcm"


def _name(dataset: Dataset, filing: Filing, rng: np.random.Generator) -> Path:
    number = int(rng.integers(16**8))
    name = f"{number:08X}" if filing.shuffled else file_name(dataset.SeriesNumber, dataset.InstanceNumber)
    if filing.nested:
        return Path(f"DIR{number % 3}") / f"{number % 7:02d}" / f"A{number % 2}" / name
    return Path(name)
