"""DICOM SR, TID 1500 Measurement Report: the numbers of every lesion, with codes, units and references."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import highdicom as hd
import numpy as np
from highdicom.sr import (
    AlgorithmIdentification,
    CodeContentItem,
    Comprehensive3DSR,
    ContainerContentItem,
    ContentItem,
    ContentSequence,
    DeviceObserverIdentifyingAttributes,
    FindingSite,
    ImageContentItem,
    Measurement,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    NumContentItem,
    ObservationContext,
    ObserverContext,
    QualitativeEvaluation,
    ReferencedSegment,
    RelationshipTypeValues,
    SourceImageForMeasurement,
    SourceSeriesForSegmentation,
    TextContentItem,
    TrackingIdentifier,
    UIDRefContentItem,
    VolumetricROIMeasurementsAndQualitativeEvaluations,
)
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes as standard
from pydicom.sr.coding import Code

from ...domain.phases import PHASES
from ...domain.result import Result
from ...domain.study import Study
from . import codes
from .equipment import Equipment
from .segmentation import TrackedLesion
from .source import DicomSource, by_image, plane

SERIES_NUMBER = 9002
SERIES_DESCRIPTION = "MTI-Net measurements (research use only)"


def measurements(
    study: Study,
    result: Result,
    lesions: Sequence[TrackedLesion],
    segmentation: Dataset | None,
    source: DicomSource,
    equipment: Equipment,
) -> Comprehensive3DSR:
    """Write the result as a measurement report.

    The image library lists every image of every phase. Each lesion is a group (TID 1411) that refers to its segment;
    what belongs to one phase carries the phase as a concept modifier (DCM 109058 Contrast Phase), and a signal the
    slices of that phase that it was measured in (of the lesion's place in the patient, so without a registration's
    shift). One more group (TID 1501) speaks of the study as a whole, also where nothing was found. The observer is a
    device; no person took part.

    Args:
        study: the study.
        result: its result.
        lesions: with their voxels; empty where nothing was found.
        segmentation: the SEG of these lesions, in the same order; None without lesions.
        source: the images that the study came from.
        equipment: what made the result.

    Returns:
        The SR, not yet saved: complete, preliminary, unverified.

    Raises:
        StudyError: an image lacks what a reference needs.
    """
    groups = [_lesion_group(study, number, x, segmentation, source, equipment) for number, x in enumerate(lesions, 1)]
    report = MeasurementReport(
        observation_context=ObservationContext(observer_device_context=_device(equipment)),
        procedure_reported=codes.PROCEDURE,
        imaging_measurements=[*groups, _study_group(result, equipment)],
        title=codes.REPORT_TITLE,
    )
    # TID 1500 has the image library before the measurements, which highdicom put last.
    report[0].ContentSequence.insert(len(report[0].ContentSequence) - 1, _image_library(study, source))
    evidence = [plane(frame, stack) for stack in source.phases.values() for frame in stack.frames]
    return Comprehensive3DSR(
        evidence=evidence if segmentation is None else [*evidence, segmentation],
        content=report,
        series_instance_uid=hd.UID(),
        series_number=SERIES_NUMBER,
        sop_instance_uid=hd.UID(),
        instance_number=1,
        series_description=SERIES_DESCRIPTION,
        is_complete=True,
        coding_schemes=[codes.private_scheme(equipment.manufacturer)],
        **equipment.attributes(),
    )


def _device(equipment: Equipment) -> ObserverContext:
    return ObserverContext(
        observer_type=standard.DCM.Device,
        observer_identifying_attributes=DeviceObserverIdentifyingAttributes(
            uid=equipment.uid,
            name="MTI-Net",
            manufacturer_name=equipment.manufacturer,
            model_name=equipment.model_name,
            serial_number=equipment.serial_number,
        ),
    )


def _image_library(study: Study, source: DicomSource) -> ContainerContentItem:
    """TID 1600 with one group per phase; highdicom's own wants attributes that many images lack."""
    library = ContainerContentItem(name=standard.DCM.ImageLibrary, relationship_type=RelationshipTypeValues.CONTAINS)
    library.ContentSequence = ContentSequence()
    times_s = dict(zip(PHASES, study.times_s, strict=True))
    about = RelationshipTypeValues.HAS_ACQ_CONTEXT
    for name in (name for name in PHASES if name in source.phases):
        stack = source.phases[name]
        group = ContainerContentItem(
            name=standard.DCM.ImageLibraryGroup, relationship_type=RelationshipTypeValues.CONTAINS
        )
        group.ContentSequence = ContentSequence(
            [
                CodeContentItem(standard.DCM.Modality, codes.MR, about),
                CodeContentItem(codes.CONTRAST_PHASE, codes.PHASE_VALUES[name], about),
                UIDRefContentItem(standard.DCM.FrameOfReferenceUID, stack.header.FrameOfReferenceUID, about),
            ]
        )
        if name not in study.nominal_times:
            time = NumContentItem(codes.TIME_AFTER_INJECTION, times_s[name], codes.SECOND, relationship_type=about)
            group.ContentSequence.append(time)
        for header, frame_numbers in by_image(stack.frames):
            group.ContentSequence.append(
                ImageContentItem(
                    name=codes.SOURCE,
                    referenced_sop_class_uid=header.SOPClassUID,
                    referenced_sop_instance_uid=header.SOPInstanceUID,
                    referenced_frame_numbers=frame_numbers,
                    relationship_type=RelationshipTypeValues.CONTAINS,
                )
            )
        library.ContentSequence.append(group)
    return library


def _lesion_group(
    study: Study,
    number: int,
    tracked: TrackedLesion,
    segmentation: Dataset,
    source: DicomSource,
    equipment: Equipment,
) -> VolumetricROIMeasurementsAndQualitativeEvaluations:
    lesion, enhancement = tracked.lesion, tracked.lesion.enhancement
    numbers = [
        _measured(codes.VOLUME, lesion.volume_ml, codes.MILLILITRE),
        _measured(codes.LONGEST_DIAMETER, lesion.max_diameter_mm, codes.MILLIMETRE),
    ]
    points_mm = tracked.points_mm(study.affine)
    for name, signal, relative in zip(PHASES, enhancement.from_mask, enhancement.relative, strict=True):
        if signal is not None:
            images = _images_at(points_mm, name, source)
            phase = [_phase(name)]
            numbers.append(
                _measured(codes.MR_SIGNAL, signal, codes.NO_UNITS, mean=True, modifiers=phase, images=images)
            )
        if relative is not None and name != "pre":
            numbers.append(_measured(codes.RELATIVE_ENHANCEMENT, relative, codes.RATIO, modifiers=[_phase(name)]))
    for name, ratio in (("portal_venous", enhancement.psr_portal_venous), ("delayed", enhancement.psr_delayed)):
        if ratio is not None:
            numbers.append(_measured(codes.SIGNAL_RATIO, ratio, codes.PERCENT, modifiers=[_phase(name)]))
    numbers += _certainties(lesion.probabilities)
    group = VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(uid=tracked.tracking_uid, identifier=tracked.tracking_id),
        referenced_segment=ReferencedSegment(
            sop_class_uid=segmentation.SOPClassUID,
            sop_instance_uid=segmentation.SOPInstanceUID,
            segment_number=number,
            source_series=SourceSeriesForSegmentation(source.reference.header.SeriesInstanceUID),
        ),
        finding_category=codes.CATEGORY,
        finding_type=codes.FINDINGS[lesion.predicted_class],
        finding_sites=[FindingSite(anatomic_location=codes.LIVER)],
        measurements=numbers,
        qualitative_evaluations=[
            QualitativeEvaluation(codes.KINETIC_RULE, _rule(lesion.rule_class)),
            QualitativeEvaluation(codes.HYPERENHANCEMENT, _yes_no(enhancement.arterial_hyperenhancement)),
            QualitativeEvaluation(codes.WASHOUT, _yes_no(enhancement.washout)),
        ],
    )
    # highdicom 0.22 takes an algorithm_id for this template and drops it.
    group[0].ContentSequence.extend(_algorithm(equipment))
    return group


def _study_group(result: Result, equipment: Equipment) -> MeasurementsAndQualitativeEvaluations:
    group = MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(uid=hd.UID(), identifier="MTI-Net study"),
        finding_type=codes.FINDINGS.get(result.predicted_class),
        finding_sites=[FindingSite(anatomic_location=codes.LIVER)],
        algorithm_id=_algorithm(equipment),
        measurements=[
            _measured(codes.NUMBER_OF_LESIONS, len(result.lesions), codes.NO_UNITS),
            *_certainties(result.probabilities),
        ],
    )
    comments = ["Research use only; not a medical device.", *result.notes]
    for text in comments:
        group[0].ContentSequence.append(TextContentItem(codes.COMMENT, text, RelationshipTypeValues.CONTAINS))
    return group


def _measured(
    name: Code,
    value: float,
    unit: Code,
    *,
    mean: bool = False,
    modifiers: Iterable[ContentItem] = (),
    images: Sequence[SourceImageForMeasurement] = (),
) -> Measurement:
    measured = Measurement(
        name, float(value), unit, derivation=codes.MEAN if mean else None, referenced_images=images or None
    )
    item = measured[0]
    for modifier in modifiers:
        if "ContentSequence" not in item:
            item.ContentSequence = ContentSequence()
        item.ContentSequence.append(modifier)
    return measured


def _certainties(probabilities: dict[str, float] | None) -> list[Measurement]:
    """The probability of each class in percent, the most likely first."""
    ranked = sorted((probabilities or {}).items(), key=lambda item: item[1], reverse=True)
    return [
        _measured(
            codes.CERTAINTY,
            100.0 * probability,
            codes.PERCENT,
            modifiers=[CodeContentItem(codes.FINDING, codes.FINDINGS[name], RelationshipTypeValues.HAS_CONCEPT_MOD)],
        )
        for name, probability in ranked
    ]


def _phase(name: str) -> CodeContentItem:
    return CodeContentItem(codes.CONTRAST_PHASE, codes.PHASE_VALUES[name], RelationshipTypeValues.HAS_CONCEPT_MOD)


def _images_at(points_mm: np.ndarray, name: str, source: DicomSource) -> list[SourceImageForMeasurement]:
    if name not in source.phases:
        return []
    return [
        SourceImageForMeasurement(header.SOPClassUID, header.SOPInstanceUID, frame_numbers)
        for header, frame_numbers in by_image(source.phases[name].frames_at(points_mm))
    ]


def _algorithm(equipment: Equipment) -> AlgorithmIdentification:
    return AlgorithmIdentification(
        equipment.model_name, equipment.version, [f"weights_sha256={equipment.weights_sha256}"]
    )


def _rule(rule_class: str | None) -> Code:
    return codes.UNDETERMINED if rule_class is None else codes.FINDINGS[rule_class]


def _yes_no(sign: bool | None) -> Code:
    return {True: codes.YES, False: codes.NO, None: codes.UNDETERMINED}[sign]
