"""Pixel data in the transfer syntaxes that MR archives hold."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import openjpeg
import pillow_jpls  # noqa: F401  (registers the JPEG-LS plug-in of Pillow)
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.pixel_data_handlers.rle_handler import rle_encode_frame
from pydicom.uid import (
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

TRANSFER_SYNTAXES: dict[str, UID] = {
    "explicit": ExplicitVRLittleEndian,
    "implicit": ImplicitVRLittleEndian,
    "big_endian": ExplicitVRBigEndian,
    "jpeg_ls": JPEGLSLossless,
    "jpeg_2000": JPEG2000Lossless,
    "rle": RLELossless,
}


def encode(pixels: np.ndarray, syntax: str) -> bytes:
    """One compressed frame.

    Args:
        pixels: ``(rows, columns)`` uint16 of 12 bits; for ``jpeg_2000`` at least 32 x 32, or OpenJPEG refuses.
        syntax: ``jpeg_ls``, ``jpeg_2000`` or ``rle``.
    """
    pixels = np.ascontiguousarray(pixels, np.uint16)
    if syntax == "jpeg_ls":
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, format="JPEG-LS")
        return buffer.getvalue()
    if syntax == "jpeg_2000":
        return openjpeg.encode(pixels, bits_stored=12)
    return rle_encode_frame(pixels)


def put_pixels(dataset: Dataset, frames: Sequence[np.ndarray], syntax: str) -> None:
    """Set PixelData, the image's size and the transfer syntax.

    Args:
        dataset: with ``file_meta``.
        frames: ``(rows, columns)`` uint16 of 12 bits.
        syntax: a key of ``TRANSFER_SYNTAXES``.
    """
    dataset.Rows, dataset.Columns = frames[0].shape
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelRepresentation = 0
    dataset.file_meta.TransferSyntaxUID = TRANSFER_SYNTAXES[syntax]
    dataset.is_implicit_VR = syntax == "implicit"
    dataset.is_little_endian = syntax != "big_endian"
    if syntax in ("jpeg_ls", "jpeg_2000", "rle"):
        dataset.PixelData = encapsulate([encode(frame, syntax) for frame in frames])
        dataset["PixelData"].VR = "OB"
        dataset["PixelData"].is_undefined_length = True
    else:
        order = ">u2" if syntax == "big_endian" else "<u2"
        dataset.PixelData = b"".join(np.ascontiguousarray(frame).astype(order).tobytes() for frame in frames)
        dataset["PixelData"].VR = "OW"
