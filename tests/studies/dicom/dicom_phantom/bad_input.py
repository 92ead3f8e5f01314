"""Ways in which a written study goes wrong: each function spoils files of a ``WrittenStudy`` in place."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID

from .plan import Patient, WrittenSeries
from .single_frame import decimals, set_tags, uid

UNSUPPORTED_SYNTAXES: dict[str, UID] = {
    "mpeg2": UID("1.2.840.10008.1.2.4.100"),
    "mpeg4": UID("1.2.840.10008.1.2.4.102"),
    "hevc": UID("1.2.840.10008.1.2.4.107"),
    "jpip": UID("1.2.840.10008.1.2.4.94"),
    "private": UID("1.2.826.0.1.3680043.8.498.99.1"),
}
"""Transfer syntaxes that no MR reader has to decode."""


def edit(files: Iterable[Path], **tags: Any) -> None:
    """Set attributes by keyword; None removes one."""
    for file in files:
        _rewrite(file, lambda dataset: set_tags(dataset, tags))


def drop(files: Iterable[Path], *keywords: str) -> None:
    """Remove attributes, such as a mandatory ImagePositionPatient or PixelSpacing."""
    edit(files, **dict.fromkeys(keywords))


def drop_everywhere(files: Iterable[Path], *keywords: str) -> None:
    """Remove attributes from all levels of enhanced files: their functional groups too."""

    def spoil(dataset: Dataset) -> None:
        def visit(level: Dataset, element: pydicom.DataElement) -> None:
            if element.keyword in keywords:
                del level[element.tag]

        dataset.walk(visit)

    for file in files:
        _rewrite(file, spoil)


def truncate(file: Path, *, share: float = 0.6) -> None:
    """Keep the first share of a file's bytes; small shares cut the header, large ones the pixel data."""
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * share)])


def short_pixel_data(files: Iterable[Path]) -> None:
    """Well-formed files whose PixelData is half as long as their size says."""

    def spoil(dataset: Dataset) -> None:
        dataset.PixelData = dataset.PixelData[: len(dataset.PixelData) // 4 * 2]

    for file in files:
        _rewrite(file, spoil)


def add_strangers(folder: Path) -> list[Path]:
    """Files that are no DICOM: text, a picture, an empty file, binary rubbish, and a DICOM preamble before rubbish."""
    rubbish = np.random.default_rng(3).bytes(3000)
    contents = {
        "README.txt": b"Viewer on this CD: run start.exe\n",
        "Thumbs.db": rubbish,
        "empty.dcm": b"",
        "logo.jpg": bytes.fromhex("ffd8ffe000104a46494600010100000100010000ffd9"),
        "rubbish.dcm": b"\0" * 128 + b"DICM" + rubbish,
        "archive.zip": b"PK\x03\x04" + rubbish,
    }
    files = [folder / name for name in contents]
    for file, content in zip(files, contents.values(), strict=True):
        file.write_bytes(content)
    return files


def without_preamble(files: Iterable[Path]) -> None:
    """Strip preamble and file meta information, as old archives write; still readable as implicit or explicit VR."""
    for file in files:
        dataset = pydicom.dcmread(file)
        dataset.preamble = None
        dataset.file_meta = pydicom.dataset.FileMetaDataset()
        dataset.save_as(file, write_like_original=True)


def mix_patients(files: Iterable[Path], patient: Patient) -> None:
    """Put another patient's identity into some files of a study, whose UIDs stay."""
    edit(files, PatientName=patient.name, PatientID=patient.patient_id, PatientBirthDate=patient.birth_date)


def mix_frames_of_reference(files: Iterable[Path], *, key: str = "other") -> None:
    """Another FrameOfReferenceUID: the patient was repositioned."""
    edit(files, FrameOfReferenceUID=uid(key, "another frame of reference"))


def remove_series(series: WrittenSeries) -> None:
    """One phase missing."""
    for file in series.files:
        file.unlink()


def remove_slice(series: WrittenSeries, k: int) -> None:
    """A gap: one instance, by its place in the order of the instance numbers, is missing."""
    series.files[k].unlink()


def trim(series: WrittenSeries, first: int, last: int) -> None:
    """Another coverage: only instances ``first`` to ``last - 1`` are left."""
    for k, file in enumerate(series.files):
        if not first <= k < last:
            file.unlink()


def double_slice(series: WrittenSeries, k: int) -> Path:
    """One slice twice: the copy has its own SOPInstanceUID and instance number."""
    return copy_with_new_instance(series.files[k], InstanceNumber=len(series.files) + 1)


def copy_file(file: Path) -> Path:
    """The very same instance a second time, under another file name."""
    return Path(shutil.copy(file, file.with_name(f"copy_{file.name}")))


def copy_with_new_instance(file: Path, **tags: Any) -> Path:
    """A copy with its own SOPInstanceUID."""
    copy = Path(shutil.copy(file, file.with_name(f"again_{file.name}")))
    instance = uid(pydicom.dcmread(copy, stop_before_pixels=True).SOPInstanceUID, "copy")

    def spoil(dataset: Dataset) -> None:
        set_tags(dataset, tags | {"SOPInstanceUID": instance})
        dataset.file_meta.MediaStorageSOPInstanceUID = instance

    _rewrite(copy, spoil)
    return copy


def shear(series: WrittenSeries, *, step_mm: float = 3.0) -> None:
    """Each slice is displaced along its columns by a step more than the one before, as a tilted gantry does."""
    for k, file in enumerate(series.files):
        _move(file, lambda axes, k=k: k * step_mm * axes[3:])


def displace_slice(series: WrittenSeries, k: int, *, offset_mm: float) -> None:
    """Uneven spacing: one slice lies off its place along the normal."""
    _move(series.files[k], lambda axes: offset_mm * np.cross(axes[:3], axes[3:]))


def turn_slice(series: WrittenSeries, k: int) -> None:
    """One slice with another orientation than the rest: rows and columns exchanged."""

    def spoil(dataset: Dataset) -> None:
        axes = dataset.ImageOrientationPatient
        dataset.ImageOrientationPatient = [*axes[3:], *axes[:3]]

    _rewrite(series.files[k], spoil)


def make_rgb(files: Iterable[Path]) -> None:
    """Colour images of 8 bits, as a screenshot in a series is."""

    def spoil(dataset: Dataset) -> None:
        grey = (dataset.pixel_array // 16).astype(np.uint8)
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PlanarConfiguration = 3, "RGB", 0
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
        dataset.PixelData = np.repeat(grey[..., None], 3, axis=-1).tobytes()
        set_tags(dataset, {"SmallestImagePixelValue": None, "LargestImagePixelValue": None})

    for file in files:
        _rewrite(file, spoil)


def unsupported_compression(files: Iterable[Path], name: str = "mpeg4") -> None:
    """A transfer syntax of ``UNSUPPORTED_SYNTAXES``, with a payload that nothing decodes."""

    def spoil(dataset: Dataset) -> None:
        dataset.file_meta.TransferSyntaxUID = UNSUPPORTED_SYNTAXES[name]
        dataset.PixelData = encapsulate([b"\x00\x00\x01\xb3" + bytes(60)])
        dataset["PixelData"].VR = "OB"
        dataset["PixelData"].is_undefined_length = True
        dataset.is_little_endian, dataset.is_implicit_VR = True, False

    for file in files:
        _rewrite(file, spoil)


def broken_compression(files: Iterable[Path]) -> None:
    """Compressed files whose code stream is rubbish behind its first bytes."""

    def spoil(dataset: Dataset) -> None:
        stream = next(pydicom.encaps.generate_pixel_data_frame(dataset.PixelData))
        dataset.PixelData = encapsulate([stream[:8] + b"\x5a" * 40])

    for file in files:
        _rewrite(file, spoil)


def other_patient(patient: Patient | None = None, *, number: int = 2) -> Patient:
    """Another planted identity."""
    patient = patient or Patient()
    return replace(patient, name=f"PLANTED^OTHER{number}", patient_id=f"PLANTED-ID-{number:03d}", birth_date="19620817")


def _move(file: Path, offset_mm: Callable[[np.ndarray], np.ndarray]) -> None:
    def spoil(dataset: Dataset) -> None:
        axes = np.array(dataset.ImageOrientationPatient, float)
        position = np.array(dataset.ImagePositionPatient, float) + offset_mm(axes)
        dataset.ImagePositionPatient = decimals(position)

    _rewrite(file, spoil)


def _rewrite(file: Path, spoil: Callable[[Dataset], None]) -> None:
    dataset = pydicom.dcmread(file)
    spoil(dataset)
    pydicom.dcmwrite(file, dataset, write_like_original=False)
