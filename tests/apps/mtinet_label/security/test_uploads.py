"""What an uploaded file may be."""

from __future__ import annotations

import gzip
import io
import tracemalloc

import nibabel as nib
import numpy as np
import pytest

from lib.errors import AppError
from lib.security.uploads import check_upload, ending_of

MOST = 1 << 20


def nifti(shape: tuple[int, ...] = (6, 5, 4), kind: type = nib.Nifti1Image) -> bytearray:
    return bytearray(kind(np.zeros(shape, np.uint8), np.eye(4)).to_bytes())


def nrrd(*more: str, sizes: str = "6 5 4", encoding: str = "raw", data: bytes = bytes(120)) -> bytes:
    fields = ("NRRD0004", "type: uint8", f"dimension: {len(sizes.split())}", f"sizes: {sizes}", *more)
    return "\n".join((*fields, f"encoding: {encoding}", "", "")).encode() + data


def changed(content: bytearray, at: int, to: bytes) -> bytes:
    content[at : at + len(to)] = to
    return bytes(content)


NO_ENDING = ("", "label", "label.exe", "x.nii.gz.sh", "label.nii.gz/", "blob.html", "..")
NO_NAME = ("../label.nii.gz", "..\\label.nii.gz", "a\0.nii.gz", "a\n.nii.gz", "$(id).nii.gz", "a;b.nii")


@pytest.mark.parametrize("name", [*NO_ENDING, *NO_NAME])
def test_name_that_is_none(name: str) -> None:
    with pytest.raises(AppError, match="the upload's name") as refused:
        ending_of(name)
    assert refused.value.status == 415


@pytest.mark.parametrize(
    ("name", "ending"),
    [
        ("label.nii.gz", ".nii.gz"),
        ("C:\\Users\\Jane Doe\\AppData\\tmp x.NII.GZ", ".nii.gz"),
        ("/tmp/abc_1.seg.nrrd", ".seg.nrrd"),
        ("drawn (2).nrrd", ".nrrd"),
        ("label.bin", ".bin"),
        ("blob", ".bin"),
    ],
)
def test_ending(name: str, ending: str) -> None:
    assert ending_of(name) == ending


@pytest.mark.parametrize(
    ("ending", "content", "status"),
    [
        (".nii", b"", 415),
        (".nii", b"<html>" * 100, 415),
        (".nii", changed(nifti(), 344, b"ni1\0"), 415),
        (".nii", gzip.compress(nifti()), 415),
        (".nii.gz", bytes(nifti()), 415),
        (".nii.gz", gzip.compress(b"x" * 1000), 415),
        (".nii.gz", gzip.compress(nifti((60, 50, 40)))[:-30], 400),
        (".nii.gz", gzip.compress(nifti()) + gzip.compress(bytes(1 << 22)), 400),
        (".nii", bytes(nifti()[:-1]), 400),
        (".nii", bytes(nifti((6, 5))), 400),
        (".nii", bytes(nifti((6, 5, 4, 2))), 400),
        (".nii", changed(nifti(), 42, (-6).to_bytes(2, "little", signed=True)), 400),
        (".nii", changed(nifti(), 42, (30_000).to_bytes(2, "little") * 3), 413),
        (".nii", changed(nifti(), 70, (9999).to_bytes(2, "little")), 400),
        (".nii", changed(nifti(), 108, np.float32(np.nan).tobytes()), 400),
        (".nii.gz", gzip.compress(nifti() + bytes(1 << 22)), 400),
        (".nrrd", b"", 415),
        (".nrrd", bytes(nifti()), 415),
        (".nrrd", nrrd("data file: /etc/passwd"), 400),
        (".nrrd", nrrd("datafile: ../secret.raw"), 400),
        (".nrrd", nrrd("Data  File: LIST\n/etc/passwd"), 400),
        (".nrrd", nrrd("encoding: raw", " ", "data file: /etc/passwd"), 400),
        (".nrrd", nrrd("byte skip: -1"), 400),
        (".nrrd", nrrd("line skip: 3"), 400),
        (".nrrd", nrrd(encoding="bzip2"), 400),
        (".nrrd", nrrd(encoding="txt"), 400),
        (".nrrd", nrrd(sizes="6 5"), 400),
        (".nrrd", nrrd(sizes="6 5 -4"), 400),
        (".nrrd", nrrd(sizes="6 5 x"), 400),
        (".nrrd", nrrd(sizes="60000 60000 60000"), 413),
        (".nrrd", nrrd(data=bytes(119)), 400),
        (".nrrd", nrrd(data=bytes(1 << 21)), 400),
        (".nrrd", nrrd(encoding="gzip", data=b"no gzip"), 400),
        (".nrrd", nrrd(encoding="gzip", data=gzip.compress(bytes(1 << 22))), 400),
        (".seg.nrrd", b"NRRD0004\n" + b"content: x\n" * 10_000, 400),
    ],
)
def test_content_that_is_refused(ending: str, content: bytes, status: int) -> None:
    with pytest.raises(AppError) as refused:
        check_upload(io.BytesIO(content), ending, most_bytes=MOST)
    assert refused.value.status == status


@pytest.mark.parametrize(
    ("ending", "content"),
    [
        (".nii", bytes(nifti())),
        (".nii", bytes(nifti((6, 5, 4, 1)))),
        (".nii", bytes(nifti(kind=nib.Nifti2Image))),
        (".nii.gz", gzip.compress(nifti())),
        (".nrrd", nrrd()),
        (".nrrd", nrrd("space: left-posterior-superior", "space directions: (1,0,0) (0,1,0) (0,0,1)", "# a remark")),
        (".nrrd", nrrd(encoding="gzip", data=gzip.compress(bytes(120)))),
        (".seg.nrrd", nrrd("Segment0_Name:=hcc", sizes="2 6 5 4", data=bytes(240))),
        (".bin", b"anything"),
    ],
)
def test_content_that_is_taken(ending: str, content: bytes) -> None:
    file = io.BytesIO(content)
    file.read(3)
    check_upload(file, ending, most_bytes=MOST)
    assert file.tell() == 0


def test_bomb_is_found_in_little_memory() -> None:
    header = changed(nifti(), 42, (100).to_bytes(2, "little") * 3)
    bomb = gzip.compress(header + bytes(1 << 26))
    tracemalloc.start()
    with pytest.raises(AppError, match="cut short or its header is wrong"):
        check_upload(io.BytesIO(bomb), ".nii.gz", most_bytes=MOST)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 << 20
