"""Stacks made in memory from header sets, and imports of studies as real DICOM files."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from pydicom.dataset import Dataset

from scripts.studies.dicom.importing import ImportOutcome, import_studies
from scripts.studies.dicom.stack import Frame, Stack

BOLUS_S = 36930.0

# Fat-suppressed three-dimensional spoiled gradient echo of the liver, as the vendors' headers have it.
VENDOR_TAGS = {
    "siemens": {
        "ImageType": ["ORIGINAL", "PRIMARY", "M", "NORM", "DIS2D"],
        "ScanningSequence": "GR",
        "SequenceVariant": ["SP", "OSP"],
        "ScanOptions": ["PFP", "FS"],
        "RepetitionTime": 3.71,
        "EchoTime": 1.35,
        "FlipAngle": 12.0,
    },
    "ge": {
        "ImageType": ["ORIGINAL", "PRIMARY", "OTHER"],
        "ScanningSequence": "GR",
        "SequenceVariant": ["SS", "SP", "SK"],
        "ScanOptions": ["FAST_GEMS", "EDR_GEMS", "FS"],
        "RepetitionTime": 4.02,
        "EchoTime": 1.88,
        "FlipAngle": 12.0,
    },
    "philips": {
        "ImageType": ["ORIGINAL", "PRIMARY", "M_FFE", "M", "FFE"],
        "ScanningSequence": "GR",
        "SequenceVariant": ["SP", "SK"],
        "ScanOptions": "FS",
        "RepetitionTime": 3.3,
        "EchoTime": 1.6,
        "FlipAngle": 10.0,
    },
    "canon": {
        "ImageType": ["ORIGINAL", "PRIMARY"],
        "ScanningSequence": "GR",
        "SequenceVariant": "SP",
        "ScanOptions": ["FS", "PFP"],
        "RepetitionTime": 5.0,
        "EchoTime": 2.0,
        "FlipAngle": 13.0,
    },
    "united_imaging": {
        "ImageType": ["ORIGINAL", "PRIMARY", "M", "NORM"],
        "ScanningSequence": "GR",
        "SequenceVariant": ["SK", "SP"],
        "ScanOptions": "FS",
        "RepetitionTime": 3.45,
        "EchoTime": 1.52,
        "FlipAngle": 10.0,
    },
    "stripped": {},
}
# Signal before contrast, arterial, portal venous, delayed.
SIGNALS = {"body": (60, 63, 66, 65), "liver": (35, 59, 95, 74), "spleen": (30, 88, 80, 66), "aorta": (19, 154, 110, 84)}

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def _time(clock_s: float) -> str:
    hours, rest_s = divmod(clock_s, 3600)
    minutes, rest_s = divmod(rest_s, 60)
    return f"{int(hours):02d}{int(minutes):02d}{rest_s:06.3f}"


def _stack(
    description: str = "",
    *,
    series: int | None = 7,
    vendor: str = "siemens",
    after_bolus_s: float | None = None,
    contrast: bool = False,
    bolus_time: bool = False,
    part: int | None = None,
    slices: int = 20,
    first_mm: tuple[float, float, float] = (-150.0, -120.0, -60.0),
    orientation: tuple[float, ...] = AXIAL,
    trigger_time_ms: float | None = None,
    faults: tuple[str, ...] = (),
    uid: int | None = None,
    **tags: object,
) -> Stack:
    """A stack of 24 columns, 18 rows and ``slices`` slices, 12 x 14 x 6 mm.

    Args:
        description: SeriesDescription.
        series: SeriesNumber.
        vendor: a key of ``VENDOR_TAGS``.
        after_bolus_s: AcquisitionTime after the bolus; None leaves it out.
        contrast: whether the agent is tagged.
        bolus_time: whether ContrastBolusStartTime is.
        part: number of the part in its series, from 0; None for a whole series.
        slices: how many.
        first_mm: position of the first slice, LPS.
        orientation: direction cosines, LPS.
        trigger_time_ms: of all frames.
        faults: of the geometry.
        uid: tells series of one number, or without number, apart.
        **tags: more attributes; None leaves one out.
    """
    header = Dataset()
    header.StudyInstanceUID = "1.2.3"
    header.SeriesInstanceUID = f"1.2.3.{(series or 0) if uid is None else 1000 + uid}"
    header.Modality = "MR"
    if series is not None:
        header.SeriesNumber = series
    header.SeriesDescription = description
    if contrast:
        header.ContrastBolusAgent = "Gadovist"
    if bolus_time:
        header.ContrastBolusStartTime = _time(BOLUS_S)
    for keyword, value in (VENDOR_TAGS[vendor] | tags).items():
        if value is not None:
            setattr(header, keyword, value)
    row, column = orientation[:3], orientation[3:]
    normal = (
        row[1] * column[2] - row[2] * column[1],
        row[2] * column[0] - row[0] * column[2],
        row[0] * column[1] - row[1] * column[0],
    )
    clock_s = None if after_bolus_s is None else BOLUS_S + after_bolus_s
    frames = tuple(
        Frame(
            file=Path("study") / f"{series}" / f"{number}.dcm",
            index=0,
            header=header,
            position_mm=tuple(start + 6.0 * number * along for start, along in zip(first_mm, normal, strict=True)),
            orientation=orientation,
            spacing_mm=(14.0, 12.0),
            shape=(18, 24),
            trigger_time_ms=trigger_time_ms,
            acquisition_time_s=clock_s,
        )
        for number in range(slices)
    )
    return Stack(frames, part="" if part is None else f"part {part + 1}", part_index=part or 0, faults=faults)


def _volume(phase: int, shape: tuple[int, int, int] = (24, 18, 20)) -> np.ndarray:
    """``(columns, rows, slices)`` of the phase of that number."""
    i, j, k = np.meshgrid(*map(np.arange, shape), indexing="ij")
    volume = np.zeros(shape)
    volume[((i - 12) / 11) ** 2 + ((j - 9) / 8) ** 2 <= 1] = SIGNALS["body"][phase]
    volume[((i - 7) / 5) ** 2 + ((j - 8) / 5) ** 2 + ((k - 11) / 8) ** 2 <= 1] = SIGNALS["liver"][phase]
    volume[((i - 19) / 2) ** 2 + ((j - 9) / 3) ** 2 + ((k - 12) / 4) ** 2 <= 1] = SIGNALS["spleen"][phase]
    volume[(abs(i - 13) <= 1) & (abs(j - 13) <= 1)] = SIGNALS["aorta"][phase]
    return (volume + np.random.default_rng(phase).normal(0, 1.5, shape)).astype(np.float32)


@pytest.fixture(scope="session")
def make_stack() -> Callable[..., Stack]:
    """Makes a stack from a description and tags."""
    return _stack


@pytest.fixture(scope="session")
def phase_volume() -> Callable[..., np.ndarray]:
    """Makes the voxels of a stack by the number of the phase that it shows, from 0 for the one before contrast."""
    return _volume


@pytest.fixture(scope="session")
def _one_study(dicom_phantom: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> object:
    subject = dicom_phantom.Subject(tilt_deg=(9.0, 0.0, 6.0), marker=True)
    return dicom_phantom.separate_series(tmp_path_factory.mktemp("dicom") / "PLANTED", subject=subject)


@pytest.fixture
def study(_one_study: object, tmp_path: Path) -> object:
    """Four series of a tilted phantom with a marker, planted with a patient; a fresh copy, to be spoilt."""
    folder = Path(shutil.copytree(_one_study.folder, tmp_path / "in" / "PLANTED"))
    series = [
        replace(each, files=tuple(folder / file.relative_to(_one_study.folder) for file in each.files))
        for each in _one_study.series
    ]
    return replace(_one_study, folder=folder, series=tuple(series))


@pytest.fixture
def sent(tmp_path: Path) -> Callable[..., ImportOutcome]:
    """Imports ``in`` into ``out`` without registration and without bars, unless told otherwise."""

    def run(**options: object) -> ImportOutcome:
        settings = {"register": "none", "progress": False} | options
        return import_studies(tmp_path / "in", tmp_path / "out", **settings)

    return run


@pytest.fixture
def two_studies(dicom_phantom: ModuleType, tmp_path: Path) -> Iterator[None]:
    """Two studies of one patient, mixed in one folder."""
    for key in ("first", "second"):
        filing = dicom_phantom.Filing(key=key, shuffled=True)
        dicom_phantom.separate_series(tmp_path / "in", filing=filing)


@pytest.fixture(scope="session")
def only_failure() -> Callable[[ImportOutcome], str]:
    """Gives the reason of an import whose only study failed."""

    def reason_of(outcome: ImportOutcome) -> str:
        assert outcome.studies == ()
        (failed,) = outcome.failed
        return failed.reason

    return reason_of
