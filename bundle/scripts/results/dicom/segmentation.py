"""DICOM SEG: one segment per lesion, on the slices of the reference phase."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import highdicom as hd
import numpy as np
from pydicom.dataset import Dataset

from ...domain.classes import UNKNOWN_CLASS
from ...domain.errors import StudyError
from ...domain.result import Lesion, Result
from ...domain.study import Study
from ..components import Component, find_components
from . import codes
from .equipment import Equipment
from .source import DicomSource, SourceStack, by_image, plane

SERIES_NUMBER = 9001
SERIES_DESCRIPTION = "MTI-Net lesions (research use only)"
CLASS_NAMES = {"hemangioma": "hemangioma", "hcc": "HCC", UNKNOWN_CLASS: "class unknown"}

_GRID_TOLERANCE_VOXELS = 0.05
"""A NIfTI file keeps its affine in float32 and DICOM its positions as decimal strings; both err far less."""


@dataclass(frozen=True, eq=False)
class TrackedLesion:
    """A lesion with its voxels and the name under which SEG and SR know it.

    Args:
        lesion: from the result.
        component: its voxels on the study's grid.
        tracking_uid: the same in every object written with this result.
    """

    lesion: Lesion
    component: Component
    tracking_uid: str

    @property
    def tracking_id(self) -> str:
        """Unique in this result."""
        return f"MTI-Net lesion {self.lesion.id}"

    def points_mm(self, affine: np.ndarray) -> np.ndarray:
        """``(N, 3)`` RAS world coordinates of its voxels."""
        index = np.argwhere(self.component.mask) + [s.start for s in self.component.box]
        return index @ affine[:3, :3].T + affine[:3, 3]


def track_lesions(study: Study, result: Result, mask: np.ndarray) -> list[TrackedLesion]:
    """Find each lesion's voxels again in the mask that ``analyse`` gave with the result.

    Args:
        study: the study.
        result: its result.
        mask: ``(X, Y, Z)``, class values.

    Returns:
        The lesions in the result's order, with new tracking UIDs.

    Raises:
        StudyError: the mask is not the result's: another grid, other lesions or other volumes.
    """
    if mask.shape != study.image.shape[1:]:
        msg = (
            f"{study.case}: the mask is {mask.shape} and the study {study.image.shape[1:]}. Give the study's own mask."
        )
        raise StudyError(msg)
    components, _ = find_components(mask > 0)
    volumes_ml = [component.voxels * study.voxel_ml for component in components]
    if len(components) != len(result.lesions) or not np.allclose(volumes_ml, [x.volume_ml for x in result.lesions]):
        msg = (
            f"{study.case}: the mask holds {len(components)} lesions and the result {len(result.lesions)}, or their "
            "volumes differ. Give the mask that was made with this result."
        )
        raise StudyError(msg)
    pairs = zip(result.lesions, components, strict=True)
    return [TrackedLesion(lesion, component, hd.UID()) for lesion, component in pairs]


def to_frames(volume: np.ndarray, affine: np.ndarray, stack: SourceStack) -> np.ndarray:
    """Turn a volume on the study's grid back to the slices that the study was read from.

    The study lies on the stack's grid with axes swapped and reversed; which ones follows from the two affines.

    Args:
        volume: ``(X, Y, Z)`` on the study's grid.
        affine: ``(4, 4)`` of the study, RAS mm.
        stack: the reference phase's slices.

    Returns:
        ``(slices, rows, columns)``, in the order of the stack's frames; every voxel exactly once.

    Raises:
        StudyError: the two grids are not the same voxels.
    """
    to_stack = np.linalg.inv(stack.affine) @ affine
    turn = np.round(to_stack[:3, :3])
    axes = np.abs(turn).argmax(axis=1)
    signs = turn[np.arange(3), axes]
    corners = np.array([np.zeros(3), np.array(volume.shape) - 1.0])
    expected = np.where(signs > 0, corners[:, axes], corners[::-1, axes])
    found = corners @ to_stack[:3, :3].T + to_stack[:3, 3]
    permutes = sorted(axes) == [0, 1, 2] and (np.abs(turn).sum(axis=1) == 1).all()
    if not permutes or tuple(np.take(volume.shape, axes)) != stack.shape or _far(found, expected):
        msg = (
            f"The mask's grid {volume.shape} is not that of the reference phase's slices {stack.shape} (columns, rows, "
            "slices) in another order. Give the study as it was imported, without resampling."
        )
        raise StudyError(msg)
    turned = np.transpose(volume, axes)
    reversed_axes = tuple(int(axis) for axis in np.flatnonzero(signs < 0))
    return np.ascontiguousarray(np.flip(turned, reversed_axes).transpose(2, 1, 0))


def segmentation(
    study: Study, lesions: Sequence[TrackedLesion], source: DicomSource, equipment: Equipment
) -> hd.seg.Segmentation:
    """Write the lesions as a binary segmentation of the reference phase.

    Args:
        study: the study.
        lesions: at least one: a SEG without segments is not allowed (SegmentSequence is type 1).
        source: the images that the study came from.
        equipment: what made the result.

    Returns:
        The SEG, not yet saved; slices without a lesion are left out.

    Raises:
        StudyError: the study is not on the reference phase's grid, or an image lacks what a reference needs.
    """
    labels = np.zeros(study.image.shape[1:], dtype=np.uint16)
    for number, tracked in enumerate(lesions, start=1):
        labels[tracked.component.box][tracked.component.mask] = number
    reference = source.reference
    document = hd.seg.Segmentation(
        source_images=[plane(frame, reference) for frame in reference.frames],
        pixel_array=to_frames(labels, study.affine, reference),
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[_describe(number, x, equipment) for number, x in enumerate(lesions, start=1)],
        series_instance_uid=hd.UID(),
        series_number=SERIES_NUMBER,
        sop_instance_uid=hd.UID(),
        instance_number=1,
        series_description=SERIES_DESCRIPTION,
        content_label="MTINET_LESIONS",
        content_description="Liver lesions, one segment each; research use only",
        # A program and no person: PN allows a family name alone.
        content_creator_name="MTI-Net^",
        **equipment.attributes(),
    )
    refer_to_frames(document, reference)
    return document


def _describe(number: int, tracked: TrackedLesion, equipment: Equipment) -> hd.seg.SegmentDescription:
    lesion = tracked.lesion
    return hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=f"Lesion {lesion.id}: {CLASS_NAMES[lesion.predicted_class]}",
        segmented_property_category=codes.CATEGORY,
        segmented_property_type=codes.FINDINGS[lesion.predicted_class],
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            name=equipment.model_name,
            family=codes.ARTIFICIAL_INTELLIGENCE,
            version=equipment.version,
            source=equipment.manufacturer,
            parameters={"weights_sha256": equipment.weights_sha256},
        ),
        tracking_id=tracked.tracking_id,
        tracking_uid=tracked.tracking_uid,
        anatomic_regions=[codes.LIVER],
    )


def refer_to_frames(document: hd.seg.Segmentation, stack: SourceStack) -> None:
    """Name the frames of multi-frame sources, which were shown to highdicom as single-frame images."""
    if not any(frame.multi_frame for frame in stack.frames):
        return
    references = [_reference(header, numbers) for header, numbers in by_image(stack.frames)]
    document.SourceImageSequence = references
    document.ReferencedSeriesSequence[0].ReferencedInstanceSequence = [
        _reference(header, None) for header, _ in by_image(stack.frames)
    ]
    at = {_position(plane(frame, stack).ImagePositionPatient): frame for frame in stack.frames}
    for group in document.PerFrameFunctionalGroupsSequence:
        frame = at[_position(group.PlanePositionSequence[0].ImagePositionPatient)]
        image = group.DerivationImageSequence[0].SourceImageSequence[0]
        image.ReferencedSOPInstanceUID = frame.header.SOPInstanceUID
        if frame.frame_numbers is not None:
            image.ReferencedFrameNumber = frame.frame_numbers


def _reference(header: Dataset, frame_numbers: list[int] | None) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = header.SOPClassUID
    item.ReferencedSOPInstanceUID = header.SOPInstanceUID
    if frame_numbers is not None:
        item.ReferencedFrameNumber = frame_numbers
    return item


def _position(values: Sequence[float]) -> tuple[float, ...]:
    return tuple(round(float(value), 3) for value in values)


def _far(found: np.ndarray, expected: np.ndarray) -> bool:
    return bool(np.abs(found - expected).max() > _GRID_TOLERANCE_VOXELS)
