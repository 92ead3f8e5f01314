"""What an uploaded file may be: a mask as NIfTI, NRRD or raw voxels, in one piece and of bounded size once unpacked."""

from __future__ import annotations

import io
import math
import re
import zlib
from collections.abc import Iterator
from typing import BinaryIO

import nibabel as nib

from lib.errors import BadRequestError
from lib.security.refusals import RefusedError

# The longest first: ``.seg.nrrd`` is Slicer's, ``.bin`` and a nameless blob are a browser's raw voxels.
ENDINGS = (".seg.nrrd", ".nii.gz", ".nrrd", ".nii", ".bin")
_NAMELESS = "blob"
_NAME = re.compile(r"[\w.() -]{1,200}")
_CHUNK = 1 << 18
_LONGEST_NRRD_HEADER = 1 << 16
_NRRD_BYTES = {
    1: ("signed char", "int8", "int8_t", "uchar", "unsigned char", "uint8", "uint8_t"),
    2: ("short", "short int", "signed short", "int16", "int16_t", "ushort", "unsigned short", "uint16", "uint16_t"),
    4: ("int", "signed int", "int32", "int32_t", "uint", "unsigned int", "uint32", "uint32_t", "float"),
    8: ("double",),
}
# The format's fields, but for those that name another file or skip within this one.
_NRRD_VOXELS = frozenset({"type", "dimension", "sizes", "encoding", "endian", "kinds", "content", "labels", "units"})
_NRRD_PLACE = frozenset({"space", "space dimension", "space directions", "space origin", "space units"})
_NRRD_AXES = frozenset({"spacings", "thicknesses", "axis mins", "axis maxs", "centers", "centerings"})
_NRRD_FIELDS = _NRRD_VOXELS | _NRRD_PLACE | _NRRD_AXES | {"measurement frame"}
_NO_FILE = "the upload is no whole file of its kind; it is cut short or its header is wrong"


def ending_of(filename: str) -> str:
    """The ending of an upload's name, from the allow-list; the folders of the sender's disk before it mean nothing.

    Raises:
        RefusedError: 415, it has no known ending, or is no file name.
    """
    name = re.split(r"[\\/]", filename)[-1]
    if name == _NAMELESS:
        return ".bin"
    for ending in ENDINGS:
        if name.lower().endswith(ending) and _NAME.fullmatch(name) and ".." not in filename and "\0" not in filename:
            return ending
    msg = f"the upload's name must end in one of {', '.join(ENDINGS)} and hold no '..'"
    raise RefusedError(415, msg)


def check_upload(file: BinaryIO, ending: str, *, most_bytes: int) -> None:
    """Look into an upload before anything else reads it; its position is put back to the start.

    Args:
        file: seekable.
        ending: one of ``ENDINGS``.
        most_bytes: that it may hold once unpacked.

    Raises:
        RefusedError: 413, it is too large once unpacked; 415, it is not what its ending says.
        BadRequestError: its header is wrong, or names another file.
    """
    file.seek(0)
    if ending.endswith(".nrrd"):
        _check_nrrd(file, most_bytes)
    elif ending in (".nii", ".nii.gz"):
        _check_nifti(file, most_bytes, gzipped=ending == ".nii.gz")
    file.seek(0)


def _check_nifti(file: BinaryIO, most_bytes: int, *, gzipped: bool) -> None:
    if gzipped != (file.read(2) == b"\x1f\x8b"):
        raise RefusedError(415, "the upload is not what the ending of its name says")
    file.seek(0)
    chunks = _unpacked(file) if gzipped else _chunks(file)
    head = next(chunks, b"")
    for kind in (nib.Nifti1Header, nib.Nifti2Header):
        size = kind.template_dtype.itemsize
        if len(head) >= size and kind.may_contain_header(head[:size]):
            break
    else:
        raise RefusedError(415, "the upload is no NIfTI file of one piece")
    try:
        header = kind.from_fileobj(io.BytesIO(head[: kind.template_dtype.itemsize]))
        shape = [int(count) for count in header.get_data_shape()]
        offset = int(header.get_data_offset())
        bytes_a_voxel = header.get_data_dtype().itemsize
    except (nib.spatialimages.HeaderDataError, ValueError, OverflowError, KeyError) as error:
        raise BadRequestError(_NO_FILE) from error
    if bytes(header["magic"])[:2] != b"n+":
        raise RefusedError(415, "the upload is no NIfTI file of one piece")
    if not 3 <= len(shape) <= 4 or min(shape) < 1 or math.prod(shape[3:]) != 1 or offset < 0:
        msg = "the upload must be one volume of three dimensions"
        raise BadRequestError(msg)
    _check_length(len(head), chunks, offset + math.prod(shape) * bytes_a_voxel, most_bytes)


def _check_nrrd(file: BinaryIO, most_bytes: int) -> None:
    if not re.fullmatch(rb"NRRD000[1-5]\r?\n", file.readline(16)):
        raise RefusedError(415, "the upload is not what the ending of its name says")
    fields: dict[str, str] = {}
    while True:
        line = file.readline(_LONGEST_NRRD_HEADER)
        if not line.endswith(b"\n") or file.tell() > _LONGEST_NRRD_HEADER:
            raise BadRequestError(_NO_FILE)
        # Only an empty line ends the header: one of blanks would hide fields from here that a reader still sees.
        if line in (b"\n", b"\r\n"):
            break
        text = line.decode("ascii", errors="replace").strip()
        if text.startswith("#") or ":=" in text:  # remarks, and Slicer's own words about its segments
            continue
        name, _, value = text.partition(":")
        name = " ".join(name.lower().split())
        if name not in _NRRD_FIELDS:
            msg = "the upload's NRRD header names another file, skips within it or has a field that is not known"
            raise BadRequestError(msg)
        fields[name] = value.strip().lower()
    try:
        sizes = [int(count) for count in fields["sizes"].split()]
        bytes_a_voxel = next(size for size, types in _NRRD_BYTES.items() if fields["type"] in types)
        encoding = fields["encoding"]
    except (KeyError, ValueError, StopIteration) as error:
        raise BadRequestError(_NO_FILE) from error
    if encoding not in ("raw", "gzip", "gz") or not 3 <= len(sizes) <= 4 or min(sizes) < 1:
        msg = "the upload must be a volume of three dimensions, raw or gzip"
        raise BadRequestError(msg)
    chunks = _chunks(file) if encoding == "raw" else _unpacked(file)
    _check_length(0, chunks, math.prod(sizes) * bytes_a_voxel, most_bytes)


def _check_length(seen: int, chunks: Iterator[bytes], declared: int, most_bytes: int) -> None:
    """That a file holds what its header declares and not much more: readers unpack all that is there."""
    if declared > most_bytes:
        raise RefusedError(413, f"the upload's volume is larger than {most_bytes >> 20} MB")
    for chunk in chunks:
        seen += len(chunk)
        if seen > declared + _CHUNK:
            raise BadRequestError(_NO_FILE)
    if seen < declared:
        raise BadRequestError(_NO_FILE)


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    while chunk := file.read(_CHUNK):
        yield chunk


def _unpacked(file: BinaryIO) -> Iterator[bytes]:
    """A gzip stream's content, never more of it in memory than a chunk, however small it was packed."""
    unpacker = zlib.decompressobj(zlib.MAX_WBITS | 16)
    packed = b""
    while not unpacker.eof:
        packed = packed or file.read(_CHUNK)
        if not packed:
            return
        try:
            chunk = unpacker.decompress(packed, _CHUNK)
        except zlib.error as error:
            raise BadRequestError(_NO_FILE) from error
        packed = unpacker.unconsumed_tail
        if chunk:
            yield chunk
    # A second stream behind the first would be unpacked by some readers, unseen by this one.
    if unpacker.unused_data or file.read(1):
        raise BadRequestError(_NO_FILE)
