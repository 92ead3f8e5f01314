"""What a folder of DICOM files holds, before anything is decided: frames, and stacks of frames that fill a volume."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset

SECONDS_A_DAY = 86_400


@dataclass(frozen=True, eq=False)
class Frame:
    """One image plane: a single-frame file, or one frame of an enhanced multi-frame file.

    Args:
        file: where it is.
        index: number of the frame in its file, from 0.
        header: the attributes that this project uses, without pixel data. For an enhanced file the values of the
            shared and the frame's own functional groups stand at the top, under the names of a single-frame MR file
            (EchoTime for EffectiveEchoTime, ImageType for FrameType), so that no reader has to tell the two apart.
        position_mm: ``(3,)`` centre of the first pixel, LPS (0020,0032); None where it is missing.
        orientation: ``(6,)`` direction cosines of a row and of a column, LPS (0020,0037); None where missing.
        spacing_mm: between rows and between columns (0028,0030); None where missing.
        shape: rows and columns.
        temporal_position: (0020,0100) or the frame's TemporalPositionIndex.
        trigger_time_ms: (0018,1060), or the frame's.
        acquisition_time_s: seconds after midnight of the study's day (0008,0032; 0008,002A; a frame's
            FrameAcquisitionDateTime); above 86,400 where midnight passed during the study.
        truncated: the file ends before its pixel data do.
    """

    file: Path
    index: int
    header: Dataset
    position_mm: tuple[float, float, float] | None
    orientation: tuple[float, float, float, float, float, float] | None
    spacing_mm: tuple[float, float] | None
    shape: tuple[int, int]
    temporal_position: int | None = None
    trigger_time_ms: float | None = None
    acquisition_time_s: float | None = None
    truncated: bool = False


@dataclass(frozen=True, eq=False)
class Stack:
    """Frames that fill one volume, such as one contrast phase: a whole series, or one part of it.

    Args:
        frames: in order along ``normal``.
        part: how the series was split, e.g. ``temporal position 2 of 4``; empty for a whole series.
        part_index: number of the part in its series, from 0.
        faults: what makes the stack unusable as a volume, in words (gaps, doubled or missing slices, shear); empty
            where it is sound.
    """

    frames: tuple[Frame, ...]
    part: str = ""
    part_index: int = 0
    faults: tuple[str, ...] = ()

    @property
    def header(self) -> Dataset:
        """Attributes of the first frame's file."""
        return self.frames[0].header

    @property
    def series_uid(self) -> str:
        """SeriesInstanceUID."""
        return str(self.header.SeriesInstanceUID)

    @property
    def study_uid(self) -> str:
        """StudyInstanceUID."""
        return str(self.header.StudyInstanceUID)

    @property
    def series_number(self) -> int | None:
        """SeriesNumber, where there is one."""
        return series_number(self.header)

    @property
    def description(self) -> str:
        """SeriesDescription; may hold anything that an operator typed, names included."""
        return str(self.header.get("SeriesDescription", "") or "")

    @property
    def acquisition_time_s(self) -> float | None:
        """Median over the frames of the seconds after midnight."""
        times_s = [frame.acquisition_time_s for frame in self.frames if frame.acquisition_time_s is not None]
        return float(np.median(past_midnight(times_s))) if times_s else None

    @property
    def shape(self) -> tuple[int, int, int]:
        """Columns, rows and slices: the stack's own ``(i, j, k)`` axes."""
        rows, columns = self.frames[0].shape
        return columns, rows, len(self.frames)

    @property
    def normal(self) -> np.ndarray:
        """``(3,)`` unit normal of the slices, LPS."""
        orientation = np.array(self.frames[0].orientation, dtype=np.float64)
        return np.cross(orientation[:3], orientation[3:])

    @property
    def affine(self) -> np.ndarray:
        """``(4, 4)`` from ``(column, row, slice)`` to RAS world, mm; NIfTI's convention.

        The slice step is the mean step between the frames' positions, so that a stack needs no SliceThickness.
        """
        first, last = self.frames[0], self.frames[-1]
        orientation = np.array(first.orientation, dtype=np.float64)
        between_rows, between_columns = first.spacing_mm
        start, end = (np.array(frame.position_mm, dtype=np.float64) for frame in (first, last))
        if len(self.frames) > 1:
            step = (end - start) / (len(self.frames) - 1)
        else:
            step = self.normal * float(self.header.get("SliceThickness", 1.0) or 1.0)
        affine = np.eye(4)
        affine[:3, 0] = orientation[:3] * between_columns
        affine[:3, 1] = orientation[3:] * between_rows
        affine[:3, 2] = step
        affine[:3, 3] = start
        return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


def series_number(header: Dataset) -> int | None:
    """SeriesNumber; None where it is missing or no whole number."""
    try:
        return int(header.get("SeriesNumber"))
    except (TypeError, ValueError, OverflowError):
        return None


def past_midnight(times_s: Sequence[float]) -> list[float]:
    """Times of day of one study, in one order: where midnight lies between them, those after it are a day later.

    Args:
        times_s: seconds after midnight; of files without dates each day begins at 0.
    """
    if not times_s or max(times_s) - min(times_s) <= SECONDS_A_DAY / 2:
        return list(times_s)
    return [time_s + SECONDS_A_DAY if time_s < SECONDS_A_DAY / 2 else time_s for time_s in times_s]
