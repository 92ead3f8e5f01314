"""MR Image Storage: one file a slice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, generate_uid
from pydicom.valuerep import format_number_as_ds

from .encoding import put_pixels
from .plan import BOLUS_S, Filing, Part, Series
from .volumes import Volume

MR_IMAGE_STORAGE = UID("1.2.840.10008.5.1.4.1.1.4")
DATE = "20250314"
_RAS_TO_LPS = np.array([-1.0, -1.0, 1.0])

# Fat-suppressed T1-weighted spoiled gradient echo as each vendor writes it.
VENDORS: dict[str, dict[str, Any]] = {
    "siemens": {
        "Manufacturer": "SIEMENS",
        "ManufacturerModelName": "MAGNETOM Vida",
        "ImageType": ["ORIGINAL", "PRIMARY", "M", "NORM", "DIS2D"],
        "ScanningSequence": "GR",
        "SequenceVariant": ["SP", "OSP"],
        "ScanOptions": ["PFP", "FS"],
        "SequenceName": "*fl3d1",
        "RepetitionTime": 3.71,
        "EchoTime": 1.35,
        "FlipAngle": 12.0,
    },
    "ge": {
        "Manufacturer": "GE MEDICAL SYSTEMS",
        "ManufacturerModelName": "SIGNA Premier",
        "ImageType": ["ORIGINAL", "PRIMARY", "OTHER"],
        "ScanningSequence": "GR",
        "SequenceVariant": ["SS", "SP", "SK"],
        "ScanOptions": ["FAST_GEMS", "EDR_GEMS", "FS"],
        "RepetitionTime": 4.02,
        "EchoTime": 1.88,
        "FlipAngle": 12.0,
    },
    "philips": {
        "Manufacturer": "Philips Medical Systems",
        "ManufacturerModelName": "Ingenia",
        "ImageType": ["ORIGINAL", "PRIMARY", "M_FFE", "M", "FFE"],
        "ScanningSequence": "GR",
        "SequenceVariant": ["SP", "SK"],
        "ScanOptions": "FS",
        "RepetitionTime": 3.3,
        "EchoTime": 1.6,
        "FlipAngle": 10.0,
    },
}

_TIMES = ("AcquisitionTime", "ContentTime", "SeriesTime", "InstanceCreationTime", "ContrastBolusStartTime")


def uid(*parts: object) -> str:
    """A UID that follows from what it names."""
    return generate_uid(entropy_srcs=[str(part) for part in parts])


def clock(seconds: float) -> str:
    """Seconds after midnight as a DICOM time."""
    minutes, seconds = divmod(round(seconds, 2), 60.0)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours:02d}{minutes:02d}{seconds:09.6f}"


def decimals(values: np.ndarray | tuple[float, ...] | list[float]) -> list[str]:
    """Numbers as decimal strings of at most 16 characters."""
    return [format_number_as_ds(float(v)) for v in values]


def orientation_lps(volume: Volume) -> list[str]:
    """ImageOrientationPatient: along a row (columns grow), then along a column (rows grow)."""
    axes = volume.affine[:3, :2] / np.linalg.norm(volume.affine[:3, :2], axis=0)
    return decimals((axes * _RAS_TO_LPS[:, None]).T.ravel())


def position_lps(volume: Volume, k: int) -> list[str]:
    """ImagePositionPatient of slice ``k``."""
    return decimals(volume.world_mm((0, 0, k)) * _RAS_TO_LPS)


def spacings_mm(volume: Volume) -> tuple[float, float, float]:
    """Between rows, between columns, between slices."""
    along_row, along_column, between_slices = np.linalg.norm(volume.affine[:3, :3], axis=0)
    return float(along_column), float(along_row), float(between_slices)


def set_tags(dataset: Dataset, tags: Mapping[str, Any]) -> None:
    """Set attributes by keyword; None removes one."""
    for keyword, value in tags.items():
        if value is not None:
            setattr(dataset, keyword, value)
        elif keyword in dataset:
            delattr(dataset, keyword)


def new_dataset(sop_class: str, sop_instance: str) -> Dataset:
    """An empty instance with its file meta information."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = sop_class
    dataset.file_meta.MediaStorageSOPInstanceUID = sop_instance
    dataset.SOPClassUID = sop_class
    dataset.SOPInstanceUID = sop_instance
    return dataset


def study_tags(filing: Filing) -> dict[str, Any]:
    """Patient and study."""
    patient = filing.patient
    return {
        "SpecificCharacterSet": filing.character_set
        if isinstance(filing.character_set, str)
        else [*filing.character_set],
        "StudyDate": DATE,
        "StudyTime": clock(BOLUS_S - 1200),
        "AccessionNumber": patient.accession_number,
        "ReferringPhysicianName": patient.referring_physician,
        "InstitutionName": patient.institution,
        "OperatorsName": patient.operator,
        "StudyDescription": f"MR liver {patient.name.split('^')[0]}",
        "PatientName": patient.name,
        "PatientID": patient.patient_id,
        "PatientBirthDate": patient.birth_date,
        "PatientSex": "F",
        "PatientAge": "074Y",
        "PatientWeight": "71",
        "StudyInstanceUID": uid(filing.key, "study"),
        "StudyID": patient.accession_number,
        "FrameOfReferenceUID": uid(filing.key, "frame of reference"),
        "PositionReferenceIndicator": "",
        "DeviceSerialNumber": "123456",
        "SoftwareVersions": "1",
    }


def contrast_tags(series: Series) -> dict[str, Any]:
    """Contrast attributes, or none."""
    if not series.contrast:
        return {}
    tags = {
        "ContrastBolusAgent": "Gadovist",
        "ContrastBolusRoute": "IV",
        "ContrastBolusVolume": "7.1",
        "ContrastBolusTotalDose": "7.1",
        "ContrastFlowRate": "1.5",
        "ContrastBolusIngredient": "GADOLINIUM",
    }
    return tags | ({"ContrastBolusStartTime": clock(BOLUS_S)} if series.bolus_time else {})


def slices_in_order(series: Series, filing: Filing) -> list[tuple[int, int]]:
    """Part and slice of each instance, in the order of the instance numbers."""
    pairs = []
    for index, part in enumerate(series.parts):
        numbers = range(part.volume.array.shape[2])
        pairs += [(index, k) for k in (reversed(numbers) if filing.reversed_slices else numbers)]
    if series.interleaved:
        pairs.sort(key=lambda pair: -pair[1] if filing.reversed_slices else pair[1])
    return pairs


def single_frames(series: Series, filing: Filing) -> Iterator[Dataset]:
    """The files of a series, in the order of the instance numbers."""
    stored = [part.stored for part in series.parts]
    headers = [_part_header(series, index, filing) for index in range(len(series.parts))]
    for number, (index, k) in enumerate(slices_in_order(series, filing), start=1):
        part, pixels = series.parts[index], stored[index][:, :, k].T
        dataset = new_dataset(MR_IMAGE_STORAGE, uid(filing.key, series.number, series.role, number))
        # The elements are shared with the other slices: nothing below may set one that is in the header already.
        dataset.update(headers[index])
        dataset.InstanceNumber = number
        set_tags(dataset, _plane_tags(part, k))
        put_pixels(dataset, [pixels], filing.transfer_syntax)
        dataset.SmallestImagePixelValue, dataset.LargestImagePixelValue = int(pixels.min()), int(pixels.max())
        _scale(dataset, part, k)
        yield dataset


def _part_header(series: Series, index: int, filing: Filing) -> Dataset:
    """What all slices of a part have in common."""
    header = Dataset()
    set_tags(header, study_tags(filing))
    set_tags(header, _acquisition_tags(series, filing))
    set_tags(header, _timing_tags(series, index))
    set_tags(header, dict(series.tags) | dict(series.parts[index].tags))
    if not series.times:
        set_tags(header, dict.fromkeys(_TIMES))
    return header


def _acquisition_tags(series: Series, filing: Filing) -> dict[str, Any]:
    return (
        VENDORS[filing.vendor]
        | contrast_tags(series)
        | {
            "Modality": "MR",
            "SeriesInstanceUID": uid(filing.key, "series", series.number, series.role),
            "SeriesNumber": series.number,
            "SeriesDescription": series.description,
            "ProtocolName": series.description,
            "BodyPartExamined": "LIVER",
            "PatientPosition": "HFS",
            "MRAcquisitionType": "3D",
            "AngioFlag": "N",
            "NumberOfAverages": "1",
            "ImagingFrequency": "123.25",
            "ImagedNucleus": "1H",
            "EchoNumbers": "1",
            "MagneticFieldStrength": "3",
            "EchoTrainLength": "1",
            "PercentSampling": "80",
            "PixelBandwidth": "450",
            "InPlanePhaseEncodingDirection": "ROW",
            "WindowCenter": "400",
            "WindowWidth": "800",
        }
    )


def _timing_tags(series: Series, index: int) -> dict[str, Any]:
    first, part = series.parts[0], series.parts[index]
    own_s = part.seconds if "acquisition_time" in series.told_by else first.seconds
    tags = {
        "SeriesDate": DATE,
        "AcquisitionDate": DATE,
        "ContentDate": DATE,
        "InstanceCreationDate": DATE,
        "SeriesTime": clock(BOLUS_S + first.seconds),
        "AcquisitionTime": clock(BOLUS_S + own_s),
        "ContentTime": clock(BOLUS_S + own_s + 15),
        "InstanceCreationTime": clock(BOLUS_S + series.parts[-1].seconds + 20),
        "AcquisitionNumber": index + 1 if series.told_by else 1,
    }
    if "temporal_position" in series.told_by:
        tags |= {
            "TemporalPositionIdentifier": index + 1,
            "NumberOfTemporalPositions": len(series.parts),
            "TemporalResolution": "15000",
        }
    if "trigger_time" in series.told_by:
        tags["TriggerTime"] = decimals([1000.0 * (part.seconds - first.seconds)])[0]
    return tags


def _plane_tags(part: Part, k: int) -> dict[str, Any]:
    volume = part.volume
    between_rows, between_columns, between_slices = spacings_mm(volume)
    normal = np.cross(volume.affine[:3, 0], volume.affine[:3, 1])
    return {
        "ImagePositionPatient": position_lps(volume, k),
        "ImageOrientationPatient": orientation_lps(volume),
        "PixelSpacing": decimals((between_rows, between_columns)),
        "SliceThickness": decimals([between_slices])[0],
        "SpacingBetweenSlices": decimals([between_slices])[0],
        "SliceLocation": decimals([volume.world_mm((0, 0, k)) @ normal / np.linalg.norm(normal)])[0],
    }


def _scale(dataset: Dataset, part: Part, k: int) -> None:
    if part.slope is not None:
        dataset.RescaleSlope, dataset.RescaleIntercept = decimals((part.slope_of(k), part.intercept))
        dataset.RescaleType = "normalized" if part.scale_slope is not None else "US"
    if part.scale_slope is not None:
        add_philips_scale(dataset, part.scale_slope)


def add_philips_scale(dataset: Dataset, scale_slope: float) -> None:
    """Philips' private scale intercept (2005,100D) and scale slope (2005,100E)."""
    block = dataset.private_block(0x2005, "Philips MR Imaging DD 001", create=True)
    block.add_new(0x0D, "FL", 0.0)
    block.add_new(0x0E, "FL", float(scale_slope))
