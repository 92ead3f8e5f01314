"""Enhanced MR Image Storage: all frames of a series in one file, with functional groups (PS3.3 A.36)."""

from __future__ import annotations

from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import UID

from .encoding import put_pixels
from .plan import BOLUS_S, Filing, Series
from .single_frame import (
    DATE,
    VENDORS,
    add_philips_scale,
    clock,
    decimals,
    new_dataset,
    orientation_lps,
    position_lps,
    set_tags,
    slices_in_order,
    spacings_mm,
    study_tags,
    uid,
)

ENHANCED_MR_IMAGE_STORAGE = UID("1.2.840.10008.5.1.4.1.1.4.1")
_FRAME_TYPE = ["ORIGINAL", "PRIMARY", "DYNAMIC", "NONE"]


def enhanced_file(series: Series, filing: Filing) -> Dataset:
    """One file with all frames of a series.

    Frames are in the order of the instance numbers of single-frame files; where a temporal position tells the parts
    apart, ``filing.shuffled`` puts them into random order, which the standard allows.
    """
    order = slices_in_order(series, filing)
    if filing.shuffled and "temporal_position" in series.told_by:
        order = [order[i] for i in np.random.default_rng(0).permutation(len(order))]
    dataset = new_dataset(ENHANCED_MR_IMAGE_STORAGE, uid(filing.key, series.number, series.role, "file"))
    set_tags(dataset, study_tags(filing))
    set_tags(dataset, _file_tags(series, filing))
    dataset.NumberOfFrames = len(order)
    _organise(dataset, filing)
    if series.contrast:
        dataset.ContrastBolusAgentSequence = [_agent(series)]
    dataset.SharedFunctionalGroupsSequence = [_shared_groups(series, filing)]
    dataset.PerFrameFunctionalGroupsSequence = Sequence([_frame_groups(series, index, k) for index, k in order])
    stored = [part.stored for part in series.parts]
    put_pixels(dataset, [stored[index][:, :, k].T for index, k in order], filing.transfer_syntax)
    set_tags(dataset, series.tags)
    return dataset


def _item(**tags: Any) -> Dataset:
    item = Dataset()
    set_tags(item, tags)
    return item


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    return _item(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)


def _moment(seconds: float) -> str:
    return DATE + clock(BOLUS_S + seconds)


def _file_tags(series: Series, filing: Filing) -> dict[str, Any]:
    vendor = VENDORS[filing.vendor]
    first_s = series.parts[0].seconds
    return {
        "Modality": "MR",
        "SeriesInstanceUID": uid(filing.key, "series", series.number, series.role),
        "SeriesNumber": series.number,
        "SeriesDescription": series.description,
        "ProtocolName": series.description,
        "SeriesDate": DATE,
        "SeriesTime": clock(BOLUS_S + first_s),
        "ContentDate": DATE,
        "ContentTime": clock(BOLUS_S + series.parts[-1].seconds + 20),
        "Manufacturer": vendor["Manufacturer"],
        "ManufacturerModelName": vendor["ManufacturerModelName"],
        "ImageType": _FRAME_TYPE,
        "InstanceNumber": 1,
        "AcquisitionNumber": 1,
        "AcquisitionDateTime": _moment(first_s),
        "AcquisitionDuration": series.parts[-1].seconds + 15.0 - first_s,
        "BodyPartExamined": "LIVER",
        "PatientPosition": "HFS",
        "ContentQualification": "RESEARCH",
        "ResonantNucleus": "1H",
        "KSpaceFiltering": "NONE",
        "MagneticFieldStrength": 3.0,
        "ApplicableSafetyStandardAgency": "IEC",
        "BurnedInAnnotation": "NO",
        "LossyImageCompression": "00",
        "PresentationLUTShape": "IDENTITY",
        "PixelPresentation": "MONOCHROME",
        "VolumetricProperties": "VOLUME",
        "VolumeBasedCalculationTechnique": "NONE",
        "ComplexImageComponent": "MAGNITUDE",
        "AcquisitionContrast": "T1",
        "PulseSequenceName": "fl3d1",
        "MRAcquisitionType": "3D",
        "EchoPulseSequence": "GRADIENT",
        "MultiPlanarExcitation": "NO",
        "PhaseContrast": "NO",
        "TimeOfFlightContrast": "NO",
        "SteadyStatePulseSequence": "NONE",
        "EchoPlanarPulseSequence": "NO",
        "SaturationRecovery": "NO",
        "SpectrallySelectedSuppression": "FAT",
        "OversamplingPhase": "NONE",
        "GeometryOfKSpaceTraversal": "RECTILINEAR",
        "RectilinearPhaseEncodeReordering": "LINEAR",
        "NumberOfKSpaceTrajectories": 1,
        "SegmentedKSpaceTraversal": "SINGLE",
        "CoverageOfKSpace": "FULL",
        "AcquisitionContextSequence": [],
    }


def _organise(dataset: Dataset, filing: Filing) -> None:
    organisation = uid(filing.key, "dimensions")
    dataset.DimensionOrganizationSequence = [_item(DimensionOrganizationUID=organisation)]
    dataset.DimensionIndexSequence = [
        _item(
            DimensionOrganizationUID=organisation,
            DimensionIndexPointer=pointer,
            FunctionalGroupPointer=0x00209111,
            DimensionDescriptionLabel=label,
        )
        for pointer, label in ((0x00209128, "Temporal position"), (0x00209057, "Position in stack"))
    ]


def _agent(series: Series) -> Dataset:
    profile = _item(ContrastBolusVolume="7.1", ContrastFlowRate="1.5")
    if series.bolus_time:
        profile.ContrastBolusStartTime = clock(BOLUS_S)
    agent = _code("420819005", "SCT", "Gadobutrol")
    set_tags(
        agent,
        {
            "ContrastBolusAgentNumber": 1,
            "ContrastBolusAdministrationRouteSequence": [_code("47625008", "SCT", "Intravenous route")],
            "ContrastBolusIngredientCodeSequence": [_code("35748005", "SCT", "Gadolinium")],
            "ContrastBolusVolume": "7.1",
            "ContrastBolusIngredientConcentration": "1",
            "ContrastBolusIngredientOpaque": "NO",
            "ContrastAdministrationProfileSequence": [profile],
        },
    )
    return agent


def _shared_groups(series: Series, filing: Filing) -> Dataset:
    vendor, volume = VENDORS[filing.vendor], series.parts[0].volume
    between_rows, between_columns, between_slices = spacings_mm(volume)
    columns, rows, _ = volume.array.shape
    measures = _item(
        PixelSpacing=decimals((between_rows, between_columns)),
        SliceThickness=decimals([between_slices])[0],
        SpacingBetweenSlices=decimals([between_slices])[0],
    )
    anatomy = _item(FrameLaterality="U", AnatomicRegionSequence=[_code("10200004", "SCT", "Liver")])
    frame_type = _item(
        FrameType=_FRAME_TYPE,
        PixelPresentation="MONOCHROME",
        VolumetricProperties="VOLUME",
        VolumeBasedCalculationTechnique="NONE",
        ComplexImageComponent="MAGNITUDE",
        AcquisitionContrast="T1",
    )
    timing = _item(
        RepetitionTime=vendor["RepetitionTime"],
        FlipAngle=vendor["FlipAngle"],
        EchoTrainLength=1,
        RFEchoTrainLength=0,
        GradientEchoTrainLength=1,
        SpecificAbsorptionRateSequence=[
            _item(SpecificAbsorptionRateDefinition="IEC_WHOLE_BODY", SpecificAbsorptionRateValue=1.0)
        ],
        OperatingModeSequence=[_item(OperatingModeType="STATIC FIELD", OperatingMode="IEC_NORMAL")],
    )
    view = _item(
        InPlanePhaseEncodingDirection="ROW",
        MRAcquisitionFrequencyEncodingSteps=columns,
        MRAcquisitionPhaseEncodingStepsInPlane=rows,
        MRAcquisitionPhaseEncodingStepsOutOfPlane=volume.array.shape[2],
        PercentSampling=80.0,
        PercentPhaseFieldOfView=100.0,
    )
    modifier = _item(
        InversionRecovery="NO",
        FlowCompensation="NONE",
        Spoiling="RF_AND_GRADIENT",
        T2Preparation="NO",
        SpectrallySelectedExcitation="NONE",
        SpatialPresaturation="NONE",
        PartialFourier="NO",
        ParallelAcquisition="NO",
    )
    imaging = _item(
        MagnetizationTransfer="NONE",
        BloodSignalNulling="NO",
        Tagging="NONE",
        TransmitterFrequency=123.25,
        PixelBandwidth=450.0,
    )
    receiver = _item(
        ReceiveCoilName="BODY",
        ReceiveCoilManufacturerName="",
        ReceiveCoilType="BODY",
        QuadratureReceiveCoil="YES",
    )
    transmitter = _item(TransmitCoilName="BODY", TransmitCoilManufacturerName="", TransmitCoilType="BODY")
    return _item(
        PixelMeasuresSequence=[measures],
        PlaneOrientationSequence=[_item(ImageOrientationPatient=orientation_lps(volume))],
        FrameAnatomySequence=[anatomy],
        FrameVOILUTSequence=[_item(WindowCenter="400", WindowWidth="800")],
        MRImageFrameTypeSequence=[frame_type],
        MRTimingAndRelatedParametersSequence=[timing],
        MRFOVGeometrySequence=[view],
        MREchoSequence=[_item(EffectiveEchoTime=float(vendor["EchoTime"]))],
        MRModifierSequence=[modifier],
        MRImagingModifierSequence=[imaging],
        MRReceiveCoilSequence=[receiver],
        MRTransmitCoilSequence=[transmitter],
        MRAveragesSequence=[_item(NumberOfAverages=1.0)],
    )


def _frame_groups(series: Series, index: int, k: int) -> Dataset:
    part = series.parts[index]
    own_s = part.seconds if "acquisition_time" in series.told_by else series.parts[0].seconds
    content = _item(
        StackID="1",
        InStackPositionNumber=k + 1,
        FrameAcquisitionNumber=index + 1 if series.told_by else 1,
        FrameReferenceDateTime=_moment(own_s + 7),
        FrameAcquisitionDateTime=_moment(own_s),
        FrameAcquisitionDuration=15000.0,
        DimensionIndexValues=[index + 1, k + 1],
    )
    if "temporal_position" in series.told_by:
        content.TemporalPositionIndex = index + 1
    groups = _item(
        FrameContentSequence=[content],
        PlanePositionSequence=[_item(ImagePositionPatient=position_lps(part.volume, k))],
        PixelValueTransformationSequence=[
            _item(
                RescaleSlope=decimals([1.0 if part.slope is None else part.slope_of(k)])[0],
                RescaleIntercept=decimals([part.intercept])[0],
                RescaleType="US",
            )
        ],
    )
    if series.contrast:
        administered = "YES" if part.seconds > 0 else "NO"
        groups.ContrastBolusUsageSequence = [
            _item(
                ContrastBolusAgentNumber=1,
                ContrastBolusAgentAdministered=administered,
                ContrastBolusAgentDetected=administered,
            )
        ]
    if part.scale_slope is not None:
        block = groups.private_block(0x2005, "Philips MR Imaging DD 005", create=True)
        private = Dataset()
        add_philips_scale(private, part.scale_slope)
        block.add_new(0x0F, "SQ", Sequence([private]))
    if not series.times:
        set_tags(content, dict.fromkeys(("FrameReferenceDateTime", "FrameAcquisitionDateTime")))
    return groups
