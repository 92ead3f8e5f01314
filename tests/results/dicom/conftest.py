"""Four-phase MR studies written as DICOM by hand, and the same studies as the product reads them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from scipy.spatial.transform import Rotation

from scripts.domain.classes import LABELS
from scripts.domain.phases import PHASES
from scripts.domain.prediction import Prediction
from scripts.domain.result import Result
from scripts.domain.study import Study
from scripts.results.dicom.source import DicomSource, SourceFrame, SourceStack
from scripts.results.dicom.writing import write_dicom
from scripts.results.lesions import analyse

COLUMNS, ROWS, SLICES = 24, 20, 10
BETWEEN_ROWS_MM, BETWEEN_COLUMNS_MM, STEP_MM = 2.5, 3.0, 5.0
ORIGIN_LPS_MM = np.array([-61.25, -48.5, 103.75])
TIMES_S = (0.0, 28.0, 71.0, 175.0)
CURVES = {"liver": (100, 150, 240, 200), "hcc": (90, 300, 230, 160), "hemangioma": (60, 120, 220, 260)}
HCC_VOXEL, HEMANGIOMA_VOXEL = (6, 7, 3), (17, 12, 7)

MR_IMAGE, ENHANCED_MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.4.1"
PATIENT_NAME = "Häßlich^Jürgen"

# Directions of a row and of a column in LPS, before the tilt.
ORIENTATIONS = {
    "axial": ((1, 0, 0), (0, 1, 0)),
    "sagittal": ((0, 1, 0), (0, 0, -1)),
    "coronal": ((1, 0, 0), (0, 0, -1)),
    "head down": ((-1, 0, 0), (0, 1, 0)),
}
TILT = Rotation.from_euler("xyz", (9, -6, 13), degrees=True).as_matrix()


@dataclass(frozen=True, eq=False)
class Written:
    """A study in DICOM files, and what a result is made from.

    Args:
        folder: the files.
        source: as the importer would describe it.
        study: as read from the imported NIfTI files, RAS+.
        label: ``(X, Y, Z)`` class values, two lesions.
        volumes: per phase ``(column, row, slice)`` with the voxel values as stored.
        affine: ``(4, 4)`` of the slices, LPS.
    """

    folder: Path
    source: DicomSource
    study: Study
    label: np.ndarray
    volumes: np.ndarray
    affine: np.ndarray


def _anatomy() -> tuple[np.ndarray, np.ndarray]:
    """Volumes ``(4, column, row, slice)`` uint16 and labels: an HCC and a smaller hemangioma in a liver."""
    index = np.stack(np.meshgrid(np.arange(COLUMNS), np.arange(ROWS), np.arange(SLICES), indexing="ij"), axis=-1)
    spacing_mm = (BETWEEN_COLUMNS_MM, BETWEEN_ROWS_MM, STEP_MM)
    label = np.zeros(index.shape[:3], dtype=np.uint8)
    for name, voxel, radius_mm in (("hcc", HCC_VOXEL, 10.0), ("hemangioma", HEMANGIOMA_VOXEL, 8.0)):
        label[np.linalg.norm((index - voxel) * spacing_mm, axis=-1) <= radius_mm] = LABELS[name]
    # One corner is taken off, so that no reflection or rotation maps the lesion onto itself.
    label[HCC_VOXEL[0] + 1 :, HCC_VOXEL[1] + 1 :, : HCC_VOXEL[2]] *= (
        label[HCC_VOXEL[0] + 1 :, HCC_VOXEL[1] + 1 :, : HCC_VOXEL[2]] != LABELS["hcc"]
    )
    volumes = np.empty((len(PHASES), *label.shape), dtype=np.uint16)
    for phase in range(len(PHASES)):
        volumes[phase] = CURVES["liver"][phase]
        for name in ("hcc", "hemangioma"):
            volumes[phase][label == LABELS[name]] = CURVES[name][phase]
    return volumes, label


def _lps_affine(orientation: str) -> np.ndarray:
    row, column = (TILT @ np.array(direction, dtype=float) for direction in ORIENTATIONS[orientation])
    affine = np.eye(4)
    affine[:3, 0] = row * BETWEEN_COLUMNS_MM
    affine[:3, 1] = column * BETWEEN_ROWS_MM
    affine[:3, 2] = np.cross(row, column) * STEP_MM
    affine[:3, 3] = ORIGIN_LPS_MM
    return affine


def _general(series: int, name: str, **changes: object) -> Dataset:
    image = Dataset()
    image.SpecificCharacterSet = "ISO_IR 100"
    image.PatientName = PATIENT_NAME
    image.PatientID = "PID-4711"
    image.PatientBirthDate = "19570203"
    image.PatientSex = "F"
    image.StudyDate, image.StudyTime, image.StudyID = "20260311", "101500", "S1"
    image.AccessionNumber = "ACC-99"
    image.ReferringPhysicianName = "Doctor^Some"
    image.StudyDescription = "MR liver"
    image.Modality = "MR"
    image.Manufacturer = "Scanner works"
    image.SeriesNumber = series
    image.SeriesDescription = name
    image.PositionReferenceIndicator = ""
    image.ImageType = ["ORIGINAL", "PRIMARY", "M"]
    image.Rows, image.Columns = ROWS, COLUMNS
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 16, 15, 0
    for keyword, value in changes.items():
        if value is None:
            delattr(image, keyword)
        else:
            setattr(image, keyword, value)
    return image


def _save(image: Dataset, path: Path) -> Dataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = image.SOPClassUID, image.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.file_meta = meta
    image.is_little_endian, image.is_implicit_VR = True, False
    image.save_as(path, write_like_original=False)
    return pydicom.dcmread(path, stop_before_pixels=True)


def _decimal(values: np.ndarray) -> list[str]:
    return [f"{value:.10g}"[:16] for value in values]


def _single_frames(folder: Path, volumes: np.ndarray, affine: np.ndarray, uids: dict, **changes: object) -> dict:
    frames = {}
    for phase, name in enumerate(PHASES):
        series_uid, headers = generate_uid(), []
        for k in range(SLICES):
            image = _general(phase + 3, f"dyn {name}", **changes)
            image.SOPClassUID, image.SOPInstanceUID = MR_IMAGE, generate_uid()
            image.StudyInstanceUID, image.SeriesInstanceUID = uids["study"], series_uid
            image.FrameOfReferenceUID = uids["frame_of_reference"]
            image.InstanceNumber = k + 1
            image.ImageOrientationPatient = _decimal(
                np.concatenate([affine[:3, 0] / BETWEEN_COLUMNS_MM, affine[:3, 1] / BETWEEN_ROWS_MM])
            )
            image.ImagePositionPatient = _decimal(affine[:3, 2] * k + affine[:3, 3])
            image.PixelSpacing = [BETWEEN_ROWS_MM, BETWEEN_COLUMNS_MM]
            image.SliceThickness = 4.5
            image.PixelData = np.ascontiguousarray(volumes[phase][:, :, k].T).tobytes()
            headers.append(SourceFrame(_save(image, folder / f"{name}{k:02d}.dcm")))
        frames[name] = headers
    return frames


def _multi_frame(folder: Path, volumes: np.ndarray, affine: np.ndarray, uids: dict, **changes: object) -> dict:
    """All phases in one enhanced image, slice by slice, the phases of a slice together."""
    image = _general(5, "dyn", **changes)
    image.SOPClassUID, image.SOPInstanceUID = ENHANCED_MR_IMAGE, generate_uid()
    image.StudyInstanceUID, image.SeriesInstanceUID = uids["study"], generate_uid()
    image.FrameOfReferenceUID = uids["frame_of_reference"]
    image.InstanceNumber, image.NumberOfFrames = 1, SLICES * len(PHASES)
    measures, orientation, shared = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = [BETWEEN_ROWS_MM, BETWEEN_COLUMNS_MM], 4.5
    cosines = np.concatenate([affine[:3, 0] / BETWEEN_COLUMNS_MM, affine[:3, 1] / BETWEEN_ROWS_MM])
    orientation.ImageOrientationPatient = _decimal(cosines)
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [orientation]
    image.SharedFunctionalGroupsSequence = [shared]
    groups, pixels = [], []
    for k in range(SLICES):
        for phase in range(len(PHASES)):
            position, content, group = Dataset(), Dataset(), Dataset()
            position.ImagePositionPatient = _decimal(affine[:3, 2] * k + affine[:3, 3])
            content.TemporalPositionIndex = phase + 1
            group.PlanePositionSequence, group.FrameContentSequence = [position], [content]
            groups.append(group)
            pixels.append(np.ascontiguousarray(volumes[phase][:, :, k].T).tobytes())
    image.PerFrameFunctionalGroupsSequence = groups
    image.PixelData = b"".join(pixels)
    header = _save(image, folder / "all.dcm")
    count = len(PHASES)
    return {name: [SourceFrame(header, k * count + p) for k in range(SLICES)] for p, name in enumerate(PHASES)}


@pytest.fixture(scope="session")
def write_study(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Written]:
    """Write a study: ``(orientation="axial", reverse=False, multi_frame=False, **attribute changes)``.

    ``reverse`` hands the slices over from the last to the first, as some stacks are sorted.
    """

    def write(orientation: str = "axial", *, reverse: bool = False, multi_frame: bool = False, **changes) -> Written:
        folder = tmp_path_factory.mktemp("dicom")
        volumes, stored_label = _anatomy()
        affine = _lps_affine(orientation)
        uids = {"study": generate_uid(), "frame_of_reference": generate_uid()}
        frames = (_multi_frame if multi_frame else _single_frames)(folder, volumes, affine, uids, **changes)
        stack_affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
        if reverse:
            stack_affine[:3, 3] += stack_affine[:3, 2] * (SLICES - 1)
            stack_affine[:3, 2] *= -1
        step = -1 if reverse else 1
        stacks = {name: SourceStack(tuple(headers[::step]), stack_affine) for name, headers in frames.items()}
        canonical = [nib.as_closest_canonical(nib.Nifti1Image(v[:, :, ::step], stack_affine)) for v in volumes]
        label = nib.as_closest_canonical(nib.Nifti1Image(stored_label[:, :, ::step], stack_affine))
        image = np.stack([np.asarray(phase.dataobj, dtype=np.float32) for phase in canonical])
        study = Study(
            case="case_01",
            image=image,
            # As it comes back from a NIfTI file.
            affine=canonical[0].affine.astype(np.float32).astype(np.float64),
            available=(True,) * 4,
            times_s=TIMES_S,
            offset=150.0,
            scale=60.0,
            slice_axis=int(np.abs(np.linalg.inv(canonical[0].affine)[:3, :3] @ stack_affine[:3, 2]).argmax()),
        )
        return Written(folder, DicomSource(stacks), study, np.asarray(label.dataobj), volumes, affine)

    return write


@pytest.fixture(scope="session")
def analysed() -> Callable[..., tuple[Result, np.ndarray]]:
    """Give ``(study, label, p_hcc=…, heads=True)`` the result of a network that is sure of the label."""

    def make(study: Study, label: np.ndarray, *, p_hcc: float | None = None, heads: bool = True):
        slices = label.shape[study.slice_axis]
        per_slice = np.empty((slices, 2), dtype=np.float32)
        for index in range(slices):
            values = np.take(label, index, axis=study.slice_axis)
            sure = 0.9 if LABELS["hcc"] in values else 0.2
            per_slice[index] = [1 - (p_hcc or sure), p_hcc or sure]
        prediction = Prediction(
            tumour=np.where(label > 0, np.float32(0.97), np.float32(0.02)),
            regression=np.zeros((slices, 4), dtype=np.float32) if heads else None,
            classification=per_slice if heads else None,
            seconds=0.5,
        )
        return analyse(study, prediction, model={"version": "0.1.0", "weights_sha256": "ab" * 32})

    return make


@dataclass(frozen=True, eq=False)
class Finished:
    """A study, its result and the DICOM files of the result."""

    written: Written
    result: Result
    mask: np.ndarray
    files: dict[str, Path]


@pytest.fixture(scope="session")
def finish(analysed, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Finished]:
    """Analyse a study and write the result; options go to ``analysed``."""

    def make(written: Written, **options) -> Finished:
        result, mask = analysed(written.study, written.label, **options)
        folder = tmp_path_factory.mktemp("out")
        files = write_dicom(folder, study=written.study, result=result, mask=mask, source=written.source)
        return Finished(written, result, mask, files)

    return make


@pytest.fixture(scope="session")
def finished(write_study, finish) -> Finished:
    """Tilted axial slices, handed over from the last to the first, with two lesions; read only."""
    return finish(write_study(reverse=True))


@pytest.fixture(scope="session")
def finished_multi_frame(write_study, finish) -> Finished:
    """Sagittal slices of all phases in one enhanced image, with two lesions; read only."""
    return finish(write_study("sagittal", multi_frame=True))


@pytest.fixture(scope="session")
def finished_empty(write_study, finish) -> Finished:
    """A study in which nothing was found; read only."""
    written = write_study()
    return finish(replace(written, label=np.zeros_like(written.label)))


@pytest.fixture
def expected_points_mm() -> Callable[[Written, str], np.ndarray]:
    """Where a lesion's voxels lie, ``(N, 3)`` LPS sorted, from the slices as written and nothing else."""

    def points(written: Written, name: str) -> np.ndarray:
        _, label = _anatomy()
        index = np.argwhere(label == LABELS[name])
        return sorted_points(index @ written.affine[:3, :3].T + written.affine[:3, 3])

    return points


@pytest.fixture
def sort_points() -> Callable[[np.ndarray], np.ndarray]:
    """Bring points into an order that survives rounding."""
    return sorted_points


def sorted_points(points: np.ndarray) -> np.ndarray:
    rounded = np.round(points, 2) + 0.0
    return rounded[np.lexsort(rounded.T)]
