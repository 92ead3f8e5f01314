"""What is to be written, before any DICOM: patients, series and their parts; and what was written, to compare with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .volumes import Subject, Volume

BOLUS_S = 36930.0
"""The bolus starts at 10:15:30, seconds after midnight; parts are timed relative to it."""


@dataclass(frozen=True)
class Patient:
    """Identity to be planted in every file."""

    name: str = "PLANTED^NAME"
    patient_id: str = "PLANTED-ID-77"
    birth_date: str = "19510203"
    accession_number: str = "PLANTEDACC"
    referring_physician: str = "PLANTEDREFERRER^JANE"
    operator: str = "PLANTEDOPERATOR^TIM"
    institution: str = "PLANTEDHOSPITAL"

    @property
    def words(self) -> tuple[str, ...]:
        """What must never be found in an output."""
        return ("PLANTED", self.birth_date, *self.name.split("^"), self.patient_id, self.accession_number)


@dataclass(frozen=True, eq=False)
class Part:
    """One volume of a series.

    Args:
        volume: real values on the acquired grid, slices along the normal.
        seconds: start of its acquisition after the bolus, s; negative before.
        phase: the contrast phase that it is the right choice for; empty for all others.
        tags: DICOM keyword to value of its files, over the series'.
        slope: RescaleSlope, one number or ``(slices,)``; None leaves slope and intercept out.
        intercept: RescaleIntercept.
        scale_slope: Philips' private (2005,100E): the value is ``(stored * slope + intercept) / (slope * scale_slope)``
            (Chenevert et al. 2014, Errors in quantitative image analysis due to platform-dependent image scaling).
    """

    volume: Volume
    seconds: float
    phase: str = ""
    tags: Mapping[str, Any] = field(default_factory=dict)
    slope: float | np.ndarray | None = None
    intercept: float = 0.0
    scale_slope: float | None = None

    @property
    def _gain(self) -> tuple[float | np.ndarray, float | np.ndarray]:
        slope = 1.0 if self.slope is None else self.slope
        divisor = 1.0 if self.scale_slope is None else slope * self.scale_slope
        return slope / divisor, self.intercept / divisor

    def slope_of(self, k: int) -> float:
        """RescaleSlope of slice ``k``."""
        return float(np.broadcast_to(self.slope, self.volume.array.shape[2])[k])

    @property
    def stored(self) -> np.ndarray:
        """``(columns, rows, slices)`` uint16 of 12 bits, as the files hold them."""
        gain, offset = self._gain
        return np.clip(np.rint((self.volume.array - offset) / gain), 0, 4095).astype(np.uint16)

    @property
    def decoded(self) -> Volume:
        """What a reader must get back."""
        gain, offset = self._gain
        return self.volume.with_array(self.stored * gain + offset)


@dataclass(frozen=True, eq=False)
class Series:
    """One series.

    Args:
        number: SeriesNumber.
        role: what it is: ``dynamic``, or the name of a decoy.
        description: SeriesDescription and ProtocolName.
        parts: volumes in the order of their acquisition.
        tags: DICOM keyword to value, over the vendor's; None leaves the attribute out.
        told_by: what tells the parts apart: any of ``temporal_position``, ``trigger_time``, ``acquisition_time``; with
            none of them all files carry the first part's time and only repeated positions are left.
        contrast: whether the contrast attributes are set.
        bolus_time: whether they include ContrastBolusStartTime.
        times: whether there are times of acquisition at all.
        interleaved: instance numbers run through the parts of one slice before the next slice.
        enhanced: one Enhanced MR file instead of one file a slice.
    """

    number: int
    role: str
    description: str
    parts: tuple[Part, ...]
    tags: Mapping[str, Any] = field(default_factory=dict)
    told_by: tuple[str, ...] = ()
    contrast: bool = False
    bolus_time: bool = True
    times: bool = True
    interleaved: bool = False
    enhanced: bool = False


@dataclass(frozen=True)
class Filing:
    """How the files are written and where they lie.

    Args:
        transfer_syntax: a key of ``encoding.TRANSFER_SYNTAXES``.
        reversed_slices: instance numbers run against the slice normal.
        shuffled: file names tell nothing, and their alphabetical order is random.
        nested: spread over nested folders that tell nothing.
        patient: planted identity.
        vendor: a key of ``single_frame.VENDORS``.
        character_set: SpecificCharacterSet.
        key: entropy of all UIDs: the same key gives the same UIDs.
    """

    transfer_syntax: str = "explicit"
    reversed_slices: bool = False
    shuffled: bool = False
    nested: bool = False
    patient: Patient = field(default_factory=Patient)
    vendor: str = "siemens"
    character_set: str | tuple[str, ...] = "ISO_IR 192"
    key: str = "study"


@dataclass(frozen=True, eq=False)
class WrittenSeries:
    """One series as written.

    Args:
        uid: SeriesInstanceUID.
        plan: what it was written from.
        files: in the order of the instance numbers.
        volumes: of the parts, as a reader must decode them.
    """

    uid: str
    plan: Series
    files: tuple[Path, ...]
    volumes: tuple[Volume, ...]


@dataclass(frozen=True, eq=False)
class TruePhase:
    """Where a phase is to be found and what a reader must get.

    Args:
        series: that holds it.
        part: number of its part in the series' acquisition order, from 0.
        time_s: start of the acquisition after the bolus.
        volume: decoded values.
    """

    series: WrittenSeries
    part: int
    time_s: float
    volume: Volume


@dataclass(frozen=True, eq=False)
class WrittenStudy:
    """One study as written.

    Args:
        folder: that holds its files.
        uid: StudyInstanceUID.
        series: all of them.
        subject: what lies in the scanner.
        patient: planted identity.
    """

    folder: Path
    uid: str
    series: tuple[WrittenSeries, ...]
    subject: Subject
    patient: Patient

    @property
    def files(self) -> list[Path]:
        """All files, in the order of series and instance."""
        return [file for series in self.series for file in series.files]

    @property
    def phases(self) -> dict[str, TruePhase]:
        """The right choice by phase name."""
        return {
            part.phase: TruePhase(series, index, part.seconds, series.volumes[index])
            for series in self.series
            for index, part in enumerate(series.plan.parts)
            if part.phase
        }

    def of_role(self, role: str) -> WrittenSeries:
        """The series with a role; of a phase's name, the series that holds the phase."""
        if role in self.phases:
            return self.phases[role].series
        return next(series for series in self.series if series.plan.role == role)
