"""Phantom studies as DICOM: four MR series each, as a scanner files them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from pydicom.valuerep import format_number_as_ds

from scripts.domain.classes import CLASSES
from scripts.domain.phases import PHASES
from scripts.domain.writing import folder_when_written
from scripts.phantom.grid import abdominal_grid
from scripts.phantom.subject import VERSION, PhantomStudy, make_study

SHAPE = (256, 256, 32)

_MR_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.4"
_BOLUS_S = 10 * 3600 + 15 * 60
_LPS = np.array([-1.0, -1.0, 1.0])
_DESCRIPTIONS = {
    "pre": "t1_vibe_fs_tra_bh_pre",
    "arterial": "t1_vibe_fs_tra_bh_arterial",
    "portal_venous": "t1_vibe_fs_tra_bh_portal_venous",
    "delayed": "t1_vibe_fs_tra_bh_delayed",
}


def write_studies(folder: Path, *, seed: int, classes: Sequence[str] = CLASSES, shape: Sequence[int] = SHAPE) -> None:
    """Write one study for each class; nothing is left where it is interrupted.

    Args:
        folder: new or empty; one sub-folder a study.
        seed: same seed, same studies.
        classes: of the tumours.
        shape: voxels right-left, posterior-anterior, inferior-superior.
    """
    grid = abdominal_grid(shape)
    with folder_when_written(folder) as aside:
        for number, tumour_class in enumerate(classes, start=1):
            study = make_study(np.random.SeedSequence(seed, spawn_key=(number,)), tumour_class, grid)
            name = f"phantom-{VERSION}-{seed}-{number}"
            (aside / name).mkdir(parents=True)
            for dataset in datasets(study, name=name):
                file = aside / name / f"{dataset.SeriesNumber:02d}_{dataset.InstanceNumber:03d}.dcm"
                dataset.save_as(file, write_like_original=False)


def datasets(study: PhantomStudy, *, name: str) -> Iterator[Dataset]:
    """Every slice of every phase of a study.

    Args:
        study: its arrays in any axes.
        name: of the patient, and what all identifiers follow from.
    """
    to_lps = nib.orientations.ornt_transform(
        nib.orientations.io_orientation(study.affine), nib.orientations.axcodes2ornt("LPS")
    )
    for number, (phase, volume) in enumerate(zip(PHASES, study.image, strict=True)):
        pixels = nib.orientations.apply_orientation(volume, to_lps)
        affine = study.affine @ nib.orientations.inv_ornt_aff(to_lps, volume.shape)
        series = Dataset()
        series.update(_study_tags(name))
        series.update(_series_tags(name, phase, number, study.times_s[number]))
        for k in range(pixels.shape[2]):
            yield _slice(series, pixels[:, :, k], affine, k, name=f"{name} {phase}")


def _study_tags(name: str) -> Dataset:
    tags = Dataset()
    tags.SpecificCharacterSet = "ISO_IR 192"
    tags.PatientName = f"Phantom^{name}"
    tags.PatientID = name
    tags.PatientBirthDate = ""
    tags.PatientSex = "O"
    tags.StudyInstanceUID = generate_uid(entropy_srcs=[name, "study"])
    tags.FrameOfReferenceUID = generate_uid(entropy_srcs=[name, "frame of reference"])
    tags.StudyDate = "20260105"
    tags.StudyTime = _clock(_BOLUS_S - 1200)
    tags.StudyDescription = "MR liver, digital phantom"
    tags.StudyID = "1"
    tags.AccessionNumber = ""
    tags.ReferringPhysicianName = ""
    return tags


def _series_tags(name: str, phase: str, number: int, time_s: float) -> Dataset:
    tags = Dataset()
    tags.Modality = "MR"
    tags.Manufacturer = "MTI-Net digital phantom"
    tags.SeriesInstanceUID = generate_uid(entropy_srcs=[name, phase])
    tags.SeriesNumber = number + 7
    tags.SeriesDescription = tags.ProtocolName = _DESCRIPTIONS[phase]
    tags.BodyPartExamined = "LIVER"
    tags.PatientPosition = "HFS"
    tags.PositionReferenceIndicator = ""
    tags.ImageType = ["ORIGINAL", "PRIMARY", "M"]
    tags.ScanningSequence, tags.SequenceVariant, tags.ScanOptions = "GR", "SP", "FS"
    tags.MRAcquisitionType = "3D"
    tags.RepetitionTime, tags.EchoTime, tags.FlipAngle, tags.EchoTrainLength = 4.0, 1.4, 12.0, 1
    tags.AcquisitionDate = tags.SeriesDate = tags.ContentDate = "20260105"
    tags.AcquisitionTime = tags.SeriesTime = tags.ContentTime = _clock(_BOLUS_S + time_s)
    tags.AcquisitionNumber = number + 1
    if phase != "pre":
        tags.ContrastBolusAgent = "gadolinium"
        tags.ContrastBolusStartTime = _clock(_BOLUS_S)
    return tags


def _slice(series: Dataset, pixels: np.ndarray, affine: np.ndarray, k: int, *, name: str) -> Dataset:
    dataset = Dataset()
    dataset.update(series)
    dataset.SOPClassUID = _MR_IMAGE_STORAGE
    dataset.SOPInstanceUID = generate_uid(entropy_srcs=[name, str(k)])
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.is_little_endian, dataset.is_implicit_VR = True, False
    dataset.InstanceNumber = k + 1
    spacing_mm = np.linalg.norm(affine[:3, :3], axis=0)
    directions = (affine[:3, :2] / spacing_mm[:2]) * _LPS[:, None]
    dataset.ImageOrientationPatient = _decimals(directions.T.ravel())
    dataset.ImagePositionPatient = _decimals((affine @ (0, 0, k, 1))[:3] * _LPS)
    # Between rows first, then between columns.
    dataset.PixelSpacing = _decimals((spacing_mm[1], spacing_mm[0]))
    dataset.SliceThickness = dataset.SpacingBetweenSlices = _decimals(spacing_mm[2:])[0]
    dataset.Columns, dataset.Rows = pixels.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 0
    dataset.WindowCenter, dataset.WindowWidth = 300, 600
    dataset.PixelData = np.clip(pixels, 0, 65535).T.astype("<u2").tobytes()
    return dataset


def _decimals(values: Sequence[float]) -> list[str]:
    return [format_number_as_ds(float(value)) for value in values]


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds, 2), 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours:02d}{minutes:02d}{seconds:09.6f}"
