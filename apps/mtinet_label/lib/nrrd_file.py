"""Label volumes as NRRD files with the header attached, as OHIF and 3D Slicer read and write them."""

from __future__ import annotations

import gzip
import math
import re
import zlib
from pathlib import Path

import numpy as np

from lib.errors import BadRequestError
from scripts.domain.writing import replace_when_written

_RAS_FROM = {
    "left-posterior-superior": np.diag([-1.0, -1.0, 1.0, 1.0]),
    "lps": np.diag([-1.0, -1.0, 1.0, 1.0]),
    "right-anterior-superior": np.eye(4),
    "ras": np.eye(4),
}
_TYPES = {
    **dict.fromkeys(("uchar", "unsigned char", "uint8", "uint8_t"), "u1"),
    **dict.fromkeys(("signed char", "int8", "int8_t"), "i1"),
    **dict.fromkeys(("short", "short int", "signed short", "int16", "int16_t"), "i2"),
    **dict.fromkeys(("ushort", "unsigned short", "uint16", "uint16_t"), "u2"),
    **dict.fromkeys(("int", "signed int", "int32", "int32_t"), "i4"),
    **dict.fromkeys(("uint", "unsigned int", "uint32", "uint32_t"), "u4"),
}
_LONGEST_HEADER = 65536
_VECTOR = re.compile(r"\(([^()]*)\)")


def nrrd(mask: np.ndarray, affine: np.ndarray, *, compress: bool = False) -> bytes:
    """The content of a file with a label volume; its first axis runs fastest.

    Args:
        mask: ``(columns, rows, slices)`` uint8.
        affine: ``(4, 4)`` from its voxels to RAS world, mm.
        compress: by gzip.
    """
    lps = _RAS_FROM["lps"] @ affine
    header = [
        "NRRD0005",
        "type: uint8",
        "dimension: 3",
        "space: left-posterior-superior",
        f"sizes: {' '.join(str(n) for n in mask.shape)}",
        f"space directions: {' '.join(_vector(lps[:3, axis]) for axis in range(3))}",
        "kinds: domain domain domain",
        f"encoding: {'gzip' if compress else 'raw'}",
        f"space origin: {_vector(lps[:3, 3])}",
    ]
    voxels = mask.astype(np.uint8, copy=False).tobytes(order="F")
    data = gzip.compress(voxels, compresslevel=1) if compress else voxels
    return "\n".join(header).encode("ascii") + b"\n\n" + data


def write_nrrd(mask: np.ndarray, affine: np.ndarray, file: Path, *, compress: bool = False) -> Path:
    """Write ``nrrd`` aside, then rename it to ``file``, which is returned."""
    with replace_when_written(Path(file)) as aside:
        aside.write_bytes(nrrd(mask, affine, compress=compress))
    return Path(file)


def read_nrrd(content: bytes, *, most_voxels: int) -> tuple[np.ndarray, np.ndarray]:
    """A label volume from the content of an NRRD file.

    Args:
        content: of the file.
        most_voxels: a larger volume is refused before it is unpacked.

    Returns:
        ``(columns, rows, slices)`` of whole numbers, and ``(4, 4)`` from its voxels to RAS world, mm.

    Raises:
        BadRequestError: no NRRD file of one label volume with its data in it.
    """
    end = content.find(b"\n\n", 0, _LONGEST_HEADER)
    if not content.startswith(b"NRRD000") or end < 0:
        msg = "the mask is no NRRD file with an attached header"
        raise BadRequestError(msg)
    fields = _fields(content[:end])
    if "data file" in fields or "datafile" in fields:
        # Such a header names files on the machine that reads it.
        msg = "the mask is an NRRD header without its data. Save it as one file"
        raise BadRequestError(msg)
    try:
        dtype = np.dtype(_TYPES[fields["type"]])
        shape = tuple(int(n) for n in fields["sizes"].split())
        affine = _affine(fields)
        encoding = fields["encoding"]
    except (KeyError, ValueError, IndexError) as error:
        needed = "type, sizes, space, space directions or encoding"
        msg = f"the mask's NRRD header lacks or garbles {needed}. Save it as a label volume of whole numbers"
        raise BadRequestError(msg) from error
    if len(shape) != 3 or min(shape) < 1 or math.prod(shape) > most_voxels:
        msg = f"the mask's NRRD header says {fields['sizes'][:40]} voxels; a mask is one volume on the series' grid"
        raise BadRequestError(msg)
    size = math.prod(shape) * dtype.itemsize
    voxels = _unpacked(content[end + 2 :], encoding, size)
    if fields.get("endian", "little") == "big":
        dtype = dtype.newbyteorder(">")
    return np.frombuffer(voxels, dtype=dtype).reshape(shape, order="F"), affine


def _fields(header: bytes) -> dict[str, str]:
    lines = header.decode("latin-1").splitlines()[1:]
    pairs = (line.split(":", 1) for line in lines if ":" in line and not line.startswith("#"))
    return {name.strip().lower(): value.strip().lower() for name, value in pairs}


def _affine(fields: dict[str, str]) -> np.ndarray:
    affine = np.eye(4)
    directions = [_numbers(text) for text in _VECTOR.findall(fields["space directions"])]
    affine[:3, :3] = np.array(directions).T
    affine[:3, 3] = _numbers(_VECTOR.findall(fields["space origin"])[0]) if "space origin" in fields else 0.0
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        msg = "space directions"
        raise ValueError(msg)
    return _RAS_FROM[fields["space"]] @ affine


def _unpacked(data: bytes, encoding: str, size: int) -> bytes:
    if encoding in ("gzip", "gz"):
        unpack = zlib.decompressobj(wbits=31)
        try:
            # Never more than the header promises, whatever the packed data would grow to.
            data = unpack.decompress(data, size)
        except zlib.error as error:
            msg = "the mask's packed data is damaged"
            raise BadRequestError(msg) from error
    elif encoding != "raw":
        msg = "the mask's NRRD encoding is neither raw nor gzip"
        raise BadRequestError(msg)
    if len(data) != size:
        msg = "the mask's NRRD file is shorter or longer than its header says"
        raise BadRequestError(msg)
    return data


def _numbers(text: str) -> list[float]:
    return [float(number) for number in text.split(",")]


def _vector(numbers: np.ndarray) -> str:
    return f"({','.join(repr(float(number)) for number in numbers)})"
