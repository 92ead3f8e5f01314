"""From a stack's files to a volume of comparable intensities: decoding, bit depth, rescaling, Philips' scale slope.

Intensities are taken as raw scanner units. ``RescaleSlope`` and ``RescaleIntercept`` are applied per frame. Philips
stores each series with a gain of its own, in the private element (2005,100E); without it a curve across series means
nothing, so Philips' floating-point value is restored (Chenevert et al., "Errors in quantitative image analysis due to
platform-dependent image scaling", Transl Oncol 2014;7:65-71)::

    FP = (PV * RS + RI) / (RS * SS)

``RealWorldValueMappingSequence`` is left alone: on Philips it repeats the display scaling RS and RI, without SS, and
elsewhere it maps to the units of a derived quantity, which no contrast phase is.
"""

from __future__ import annotations

import io
import os
import struct
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pillow_jpls  # noqa: F401 -- teaches Pillow to read JPEG-LS
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, generate_pixel_data_frame
from pydicom.uid import (
    JPEG2000,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from ...domain.errors import StudyError
from .stack import Frame, Stack

UNCOMPRESSED = (
    ImplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
)
JPEG_LS = (JPEGLSLossless, JPEGLSNearLossless)
DECODABLE = (*UNCOMPRESSED, *JPEG_LS, RLELossless, JPEG2000Lossless, JPEG2000)

PHILIPS_SCALE_SLOPE = (0x2005, 0x100E)

_UNDEFINED_LENGTH = 0xFFFFFFFF
_PIXEL_DATA = (0x7FE0, 0x0010)
_ITEM = (0xFFFE, 0xE000)
_LONG_LENGTH_VRS = (b"OB", b"OW", b"OF", b"OD", b"UN")
_LAYOUT = (
    "Rows",
    "Columns",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "NumberOfFrames",
)


@dataclass(frozen=True)
class PixelData:
    """Where a file's pixel data begin.

    Args:
        offset: of the first byte of the value.
        length: bytes of the value as the file says; None where it says "undefined", which encapsulated data do.
    """

    offset: int
    length: int | None


def locate_pixel_data(opened: BinaryIO, header: Dataset) -> PixelData | None:
    """The pixel data of a file that was just read with ``stop_before_pixels``.

    Args:
        opened: the file, standing where ``dcmread`` left it; it is moved.
        header: what ``dcmread`` returned.

    Returns:
        Where they begin; None where the file ends before, or holds none.
    """
    order = ">" if header.is_little_endian is False else "<"
    start = opened.read(12)
    if len(start) < 12 or struct.unpack_from(f"{order}HH", start) != _PIXEL_DATA:
        return None
    if not header.is_implicit_VR and start[4:6] not in _LONG_LENGTH_VRS:
        return None
    header_bytes = 8 if header.is_implicit_VR else 12
    (length,) = struct.unpack_from(f"{order}I", start, header_bytes - 4)
    offset = opened.tell() - len(start) + header_bytes
    return PixelData(offset, None if length == _UNDEFINED_LENGTH else length)


def ends_early(opened: BinaryIO, pixels: PixelData, header: Dataset) -> bool:
    """Whether a file is shorter than its pixel data: cut off, or with fewer pixels than its matrix and frames have.

    Args:
        opened: the file; it is moved.
        pixels: of ``locate_pixel_data``.
        header: with rows, columns and bits.
    """
    size = opened.seek(0, os.SEEK_END)
    frames = int(header.get("NumberOfFrames") or 1)
    if pixels.length is not None:
        return size < pixels.offset + pixels.length or pixels.length < frame_bytes(header) * frames
    # Encapsulated: items one after another, each with its length, until a delimiter.
    place, items = pixels.offset, 0
    while place + 8 <= size:
        opened.seek(place)
        group, element, length = struct.unpack("<HHI", opened.read(8))
        if (group, element) != _ITEM:
            break
        place += 8 + length
        items += 1
    return place > size or items < 1 + frames  # the first item is a table of offsets, not an image


def read_volume(stack: Stack) -> np.ndarray:
    """A stack's voxels in raw scanner units.

    Args:
        stack: its frames, in order; whether its geometry is sound is not asked here.

    Returns:
        ``(columns, rows, slices)`` float32, axes as ``stack.affine``.

    Raises:
        StudyError: colour or inverted images, a compression that is not read, frames of different matrix, or a
            file that is truncated, damaged or gone. The message names the series and the slice by number.
    """
    name = stack_name(stack)
    if any(frame.shape != stack.frames[0].shape for frame in stack.frames):
        msg = f"{name}: its images differ in rows and columns. Export the series again, without added images."
        raise StudyError(msg)
    columns, rows, slices = stack.shape
    # Frames are written one by one, so a slice is contiguous in memory; the view has the contract's axes.
    volume = np.empty((slices, rows, columns), dtype=np.float32)
    by_file: dict[Path, list[int]] = {}
    for number, frame in enumerate(stack.frames):
        by_file.setdefault(frame.file, []).append(number)
    for file, numbers in by_file.items():
        where = f"{name}, slice {numbers[0] + 1} of {slices}"
        decoded = _decoded_frames(file, [stack.frames[number].index for number in numbers], where)
        for number, stored in zip(numbers, decoded, strict=True):
            if stored.shape != (rows, columns):
                msg = f"{name}, slice {number + 1} of {slices}: damaged pixel data. Copy or export the series again."
                raise StudyError(msg)
            gain, offset = intensity_scaling(stack.frames[number])
            np.multiply(stored, gain, out=volume[number], casting="unsafe")
            volume[number] += np.float32(offset)
    return volume.transpose(2, 1, 0)


def intensity_scaling(frame: Frame) -> tuple[float, float]:
    """What turns a frame's stored values into scanner units: ``stored * gain + offset``.

    Args:
        frame: its header holds RescaleSlope, RescaleIntercept and, on Philips, the private scale slope.

    Returns:
        gain and offset.
    """
    header = frame.header
    slope = _number(header.get("RescaleSlope"))
    intercept = _number(header.get("RescaleIntercept")) or 0.0
    slope = 1.0 if slope in (None, 0.0) else slope
    scale_slope = philips_scale_slope(header)
    if scale_slope is None:
        return slope, intercept
    return 1.0 / scale_slope, intercept / (slope * scale_slope)


def philips_scale_slope(header: Dataset) -> float | None:
    """Philips' private scale slope (2005,100E); None for other vendors, whose element of that number means else."""
    if not is_philips(header):
        return None
    element = header.get(PHILIPS_SCALE_SLOPE)
    value = None if element is None else element.value
    if isinstance(value, bytes):  # stored as UN, once a system without Philips' dictionary has passed it on
        value = (
            struct.unpack("<f" if header.is_little_endian is not False else ">f", value)[0] if len(value) == 4 else None
        )
    number = _number(value)
    return number if number is not None and number > 0 else None


def is_philips(header: Dataset) -> bool:
    """Whether a Philips scanner made the image."""
    return "philips" in str(header.get("Manufacturer", "") or "").lower()


def stack_name(stack: Stack) -> str:
    """How messages name a stack: by series number and part, never by what an operator typed."""
    number = "without a number" if stack.series_number is None else str(stack.series_number)
    return f"series {number}, {stack.part}" if stack.part else f"series {number}"


def _decoded_frames(file: Path, indices: list[int], where: str) -> list[np.ndarray]:
    """Stored values of some frames of a file, each ``(rows, columns)`` of its own integer type."""
    try:
        with file.open("rb") as opened, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom's warnings quote values, and a value may be a name
            layout = dcmread(opened, force=True, specific_tags=list(_LAYOUT), stop_before_pixels=True)
            _require_grey(layout, where)
            syntax = UID(layout.file_meta.get("TransferSyntaxUID", ImplicitVRLittleEndian))
            if syntax not in DECODABLE:
                msg = (
                    f"{where}: its pixel data are compressed as {_in_words(syntax)}, which is not read. Uncompressed, "
                    f"RLE, JPEG-LS and JPEG 2000 are. Decompress it first, e.g. with gdcmconv --raw."
                )
                raise StudyError(msg)
            if syntax == DeflatedExplicitVRLittleEndian:
                whole = dcmread(file, specific_tags=[*_LAYOUT, "PixelData"])
                stored = [_uncompressed(io.BytesIO(whole.PixelData), 0, index, layout) for index in indices]
            else:
                place = locate_pixel_data(opened, layout)
                if place is None:
                    raise EOFError
                if syntax in UNCOMPRESSED:
                    stored = [_uncompressed(opened, place.offset, index, layout) for index in indices]
                else:
                    stored = _decompressed(opened, indices, layout, syntax)
            return [_significant_bits(values, layout) for values in stored]
    except StudyError:
        raise
    except Exception as error:  # decoders raise many kinds for one thing: the pixel data are not whole
        missing = isinstance(error, FileNotFoundError)
        problem = "the file is gone" if missing else "its pixel data are truncated or damaged"
        msg = f"{where}: {problem}. Copy or export the series again."
        raise StudyError(msg) from error


def _require_grey(layout: Dataset, where: str) -> None:
    photometric = str(layout.get("PhotometricInterpretation", "MONOCHROME2")).strip()
    if int(layout.get("SamplesPerPixel", 1) or 1) == 1 and photometric == "MONOCHROME2":
        return
    known = photometric if photometric.startswith(("RGB", "YBR", "PALETTE", "MONOCHROME")) else "colour"
    what = "grey values that are inverted" if known == "MONOCHROME1" else "colours"
    msg = f"{where}: {known} pixel data: {what}, not MR intensities. Export the original grey-scale series."
    raise StudyError(msg)


def frame_bytes(layout: Dataset) -> int:
    """Bytes of one uncompressed frame.

    Args:
        layout: with rows, columns and bits.
    """
    samples = int(layout.get("SamplesPerPixel") or 1)
    return int(layout.Rows) * int(layout.Columns) * samples * int(layout.get("BitsAllocated") or 16) // 8


def _uncompressed(opened: BinaryIO, offset: int, index: int, layout: Dataset) -> np.ndarray:
    size = frame_bytes(layout)
    opened.seek(offset + index * size)
    content = opened.read(size)
    if len(content) < size:
        raise EOFError
    order = ">" if layout.is_little_endian is False else "<"
    stored = np.frombuffer(content, dtype=f"{order}{_kind(layout)}")
    return stored.reshape(int(layout.Rows), int(layout.Columns)).astype(f"={_kind(layout)}", copy=False)


def _decompressed(opened: BinaryIO, indices: list[int], layout: Dataset, syntax: UID) -> list[np.ndarray]:
    opened.seek(0)
    encapsulated = dcmread(opened, force=True, specific_tags=[*_LAYOUT, "PixelData"]).PixelData
    wanted = set(indices)
    count = int(layout.get("NumberOfFrames", 1) or 1)
    frames = {
        index: _decompressed_frame(content, layout, syntax)
        for index, content in enumerate(generate_pixel_data_frame(encapsulated, count))
        if index in wanted
    }
    return [frames[index] for index in indices]


def _decompressed_frame(content: bytes, layout: Dataset, syntax: UID) -> np.ndarray:
    if syntax in JPEG_LS:
        # JPEG-LS knows no sign: the decoder gives the stored bits, read as unsigned.
        unsigned = np.asarray(Image.open(io.BytesIO(content)))
        return unsigned.astype(f"=u{int(layout.BitsAllocated) // 8}").view(f"={_kind(layout)}")
    single = Dataset()
    for keyword in _LAYOUT:
        if keyword in layout:
            single[keyword] = layout[keyword]
    single.NumberOfFrames = 1
    single.file_meta = FileMetaDataset()
    single.file_meta.TransferSyntaxUID = syntax
    single.is_little_endian, single.is_implicit_VR = True, False
    single.PixelData = encapsulate([content])
    return single.pixel_array


def _significant_bits(stored: np.ndarray, layout: Dataset) -> np.ndarray:
    """Only the bits that belong to the value: overlays may live above them, and a sign must be extended."""
    allocated = stored.dtype.itemsize * 8
    used = int(layout.get("BitsStored", allocated) or allocated)
    above = allocated - 1 - int(layout.get("HighBit", used - 1))
    if stored.dtype.kind not in "iu" or used >= allocated or above < 0:
        return stored
    return (stored << above) >> (allocated - used)


def _kind(layout: Dataset) -> str:
    signed = int(layout.get("PixelRepresentation", 0) or 0) == 1
    return f"{'i' if signed else 'u'}{int(layout.get('BitsAllocated', 16)) // 8}"


def _in_words(syntax: UID) -> str:
    """The name of a transfer syntax in the standard."""
    return "a private or unknown transfer syntax" if syntax.name == str(syntax) else syntax.name


def _number(value: object) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if np.isfinite(number) else None
