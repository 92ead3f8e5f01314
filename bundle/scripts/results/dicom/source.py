"""The DICOM images that a study came from, as far as writing results into the same DICOM study needs them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from ...domain.errors import StudyError
from ...domain.phases import PHASES, REFERENCE_PHASE

_PATIENT_AND_STUDY = (
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
)


@dataclass(frozen=True, eq=False)
class SourceFrame:
    """One slice: a single-frame image, or one frame of a multi-frame image.

    Args:
        header: the image's attributes without pixel data; the frames of one file may share it.
        index: number of the frame in its image, from 0.
    """

    header: Dataset
    index: int = 0

    @property
    def multi_frame(self) -> bool:
        """Whether a reference to it has to name the frame."""
        return "NumberOfFrames" in self.header

    @property
    def frame_numbers(self) -> list[int] | None:
        """What a reference to this frame alone has to say: numbers from 1, None for a single-frame image."""
        return [self.index + 1] if self.multi_frame else None

    def geometry(self, sequence: str, keyword: str) -> Any:
        """An attribute of the frame: its own, the one shared by all frames, or the image's; None without."""
        for groups, number in (("PerFrameFunctionalGroupsSequence", self.index), ("SharedFunctionalGroupsSequence", 0)):
            items = self.header.get(groups)
            if items and len(items) > number and (group := items[number].get(sequence)):
                value = group[0].get(keyword)
                if value is not None:
                    return value
        return self.header.get(keyword)


@dataclass(frozen=True, eq=False)
class SourceStack:
    """The slices of one phase.

    Args:
        frames: in the order of the affine's third axis.
        affine: ``(4, 4)`` from ``(column, row, slice)`` to RAS world, mm.
    """

    frames: tuple[SourceFrame, ...]
    affine: np.ndarray

    @property
    def header(self) -> Dataset:
        """Attributes of the first slice's image."""
        return self.frames[0].header

    @property
    def shape(self) -> tuple[int, int, int]:
        """Columns, rows and slices."""
        return int(self.header.Columns), int(self.header.Rows), len(self.frames)

    @property
    def slice_step_mm(self) -> float:
        """Distance between the centres of neighbouring slices."""
        return float(np.linalg.norm(self.affine[:3, 2]))

    def frames_at(self, points_mm: np.ndarray) -> tuple[SourceFrame, ...]:
        """The slices, from first to last, that world points ``(N, 3)`` RAS lie in."""
        inverse = np.linalg.inv(self.affine)
        slices = np.round(points_mm @ inverse[2, :3] + inverse[2, 3]).astype(int)
        first, last = np.clip((slices.min(), slices.max()), 0, len(self.frames) - 1)
        return self.frames[first : last + 1]


@dataclass(frozen=True, eq=False)
class DicomSource:
    """Where each phase of a study came from.

    Args:
        phases: by name of ``PHASES``, without the phases that are missing.
        header: one image's attributes, for those of patient and study; None for the reference phase's. Give a file's
            whole header where the frames' headers hold a part only.

    Raises:
        StudyError: no phase, an unknown one, or phases of more than one DICOM study.
    """

    phases: Mapping[str, SourceStack]
    header: Dataset | None = None

    def __post_init__(self) -> None:
        if not self.phases or not set(self.phases) <= set(PHASES):
            msg = f"The DICOM source has the phases {sorted(self.phases)}. Give at least one of {', '.join(PHASES)}."
            raise StudyError(msg)
        headers = [stack.header for stack in self.phases.values()] + ([] if self.header is None else [self.header])
        if len({header.StudyInstanceUID for header in headers}) > 1:
            msg = "The phases come from more than one DICOM study, so a result fits none. Import one study."
            raise StudyError(msg)

    @property
    def reference_phase(self) -> str:
        """The phase on whose grid the study lies: arterial, else the first one that is there."""
        there = [name for name in PHASES if name in self.phases]
        return REFERENCE_PHASE if REFERENCE_PHASE in there else there[0]

    @property
    def reference(self) -> SourceStack:
        """The slices of ``reference_phase``."""
        return self.phases[self.reference_phase]

    @property
    def patient_and_study(self) -> Dataset:
        """The header that says who the patient is."""
        return self.reference.header if self.header is None else self.header


def plane(frame: SourceFrame, stack: SourceStack) -> Dataset:
    """One slice as highdicom wants to see a source: a single-frame header with its own geometry.

    Nothing of the patient is in it: highdicom checks such values and warns with the value itself, and an odd date
    would stop it. ``copy_patient_and_study_information`` of the finished object brings them in as they are.

    Args:
        frame: the slice.
        stack: the phase that it belongs to.

    Returns:
        A header that refers to the source image's UIDs, without NumberOfFrames.

    Raises:
        StudyError: an attribute without which nothing can refer to the image is missing.
    """
    header = frame.header
    image = Dataset()
    for keyword in _PATIENT_AND_STUDY:
        setattr(image, keyword, None)
    required = ("StudyInstanceUID", "SeriesInstanceUID", "SOPClassUID", "SOPInstanceUID", "FrameOfReferenceUID")
    if missing := [keyword for keyword in (*required, "Rows", "Columns") if not header.get(keyword)]:
        msg = (
            f"The source images have no {', '.join(missing)}, so no DICOM object can refer to them. Export the series "
            "again with these attributes."
        )
        raise StudyError(msg)
    for keyword in (*required, "Rows", "Columns"):
        setattr(image, keyword, header.get(keyword))
    image.Modality = header.get("Modality", "MR")
    image.PositionReferenceIndicator = header.get("PositionReferenceIndicator")
    image.ImagePositionPatient = frame.geometry("PlanePositionSequence", "ImagePositionPatient")
    image.ImageOrientationPatient = frame.geometry("PlaneOrientationSequence", "ImageOrientationPatient")
    image.PixelSpacing = frame.geometry("PixelMeasuresSequence", "PixelSpacing")
    image.SliceThickness = frame.geometry("PixelMeasuresSequence", "SliceThickness") or round(stack.slice_step_mm, 6)
    # The header's own value is the gap for some vendors and signed for others; a reader builds its grid on it.
    image.SpacingBetweenSlices = round(stack.slice_step_mm, 6)
    lossy = ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod")
    if all(keyword in header for keyword in lossy):
        for keyword in lossy:
            setattr(image, keyword, header.get(keyword))
    return image


def by_image(frames: Sequence[SourceFrame]) -> list[tuple[Dataset, list[int] | None]]:
    """Slices gathered by image: its header, and which of its frames (from 1; None for a single-frame image)."""
    images: dict[str, tuple[Dataset, list[int] | None]] = {}
    for frame in frames:
        _, numbers = images.setdefault(frame.header.SOPInstanceUID, (frame.header, [] if frame.multi_frame else None))
        if numbers is not None:
            numbers.append(frame.index + 1)
    return list(images.values())
