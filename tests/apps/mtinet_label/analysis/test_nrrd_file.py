import gzip
from pathlib import Path

import nrrd as pynrrd
import numpy as np
import pytest

from lib.errors import BadRequestError
from lib.nrrd_file import nrrd, read_nrrd, write_nrrd

MASK = np.arange(4 * 3 * 2, dtype=np.uint8).reshape(4, 3, 2) % 3
HEADER = (
    b"NRRD0005\ntype: uint8\ndimension: 3\nspace: left-posterior-superior\nsizes: 4 3 2\n"
    b"space directions: (1,0,0) (0,1,0) (0,0,1)\nencoding: raw\nspace origin: (0,0,0)\n\n"
)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no NRRD"),
        (b"NRRD0005\ntype: uint8\n", "attached header"),
        (HEADER[:-1] + b"data file: /etc/hostname\n\n", "without its data"),
        (HEADER[:-1] + b"DATAFILE: x.raw\n\n", "without its data"),
        (HEADER + bytes(23), "shorter or longer"),
        (HEADER + bytes(25), "shorter or longer"),
        (HEADER.replace(b"4 3 2", b"4 3"), "one volume"),
        (HEADER.replace(b"4 3 2", b"4 3 -2"), "one volume"),
        (HEADER.replace(b"4 3 2", b"40000 30000 2"), "one volume"),
        (HEADER.replace(b"uint8", b"float"), "lacks or garbles"),
        (HEADER.replace(b"sizes", b"site"), "lacks or garbles"),
        (HEADER.replace(b"(1,0,0)", b"(0,1,0)"), "lacks or garbles"),
        (HEADER.replace(b"(1,0,0)", b"(nan,1,0)"), "lacks or garbles"),
        (HEADER.replace(b"(1,0,0) ", b""), "lacks or garbles"),
        (HEADER.replace(b"raw", b"bzip2"), "neither raw nor gzip"),
        (HEADER.replace(b"raw", b"gzip") + b"\x1f\x8bno", "damaged|shorter"),
    ],
)
def test_what_is_no_label_volume_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(BadRequestError, match=message):
        read_nrrd(content, most_voxels=1000)


def test_data_that_unpacks_to_more_than_it_says_is_refused_early() -> None:
    bomb = HEADER.replace(b"raw", b"gzip") + gzip.compress(bytes(50_000_000))
    volume, _ = read_nrrd(bomb, most_voxels=1000)
    assert volume.nbytes == 24


@pytest.mark.parametrize("compress", [False, True])
def test_what_is_written_other_readers_read(tmp_path: Path, oblique_affine: np.ndarray, compress: bool) -> None:
    file = write_nrrd(MASK, oblique_affine, tmp_path / "mask.nrrd", compress=compress)
    voxels, header = pynrrd.read(str(file))
    assert np.array_equal(voxels, MASK)
    assert voxels.dtype == np.uint8
    np.testing.assert_allclose(header["space directions"].T, np.diag([-1, -1, 1]) @ oblique_affine[:3, :3])
    np.testing.assert_allclose(header["space origin"], np.diag([-1, -1, 1]) @ oblique_affine[:3, 3])
    assert header["space"] == "left-posterior-superior"


def test_ohif_s_way_of_reading_finds_the_first_axis_fastest(oblique_affine: np.ndarray) -> None:
    content = nrrd(MASK, oblique_affine)
    assert content[-MASK.size :] == MASK.tobytes(order="F")


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32"])
@pytest.mark.parametrize("encoding", ["raw", "gzip"])
def test_what_others_write_is_read(tmp_path: Path, oblique_affine: np.ndarray, dtype: str, encoding: str) -> None:
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ oblique_affine
    header = {
        "space": "left-posterior-superior",
        "space directions": lps[:3, :3].T,
        "space origin": lps[:3, 3],
        "encoding": encoding,
    }
    pynrrd.write(str(tmp_path / "mask.nrrd"), MASK.astype(dtype), header)
    volume, affine = read_nrrd((tmp_path / "mask.nrrd").read_bytes(), most_voxels=24)
    assert np.array_equal(volume, MASK)
    np.testing.assert_allclose(affine, oblique_affine, atol=1e-9)


def test_big_endian_volumes(tmp_path: Path) -> None:
    content = HEADER.replace(b"uint8", b"int16").replace(b"encoding", b"endian: big\nencoding")
    volume, _ = read_nrrd(content + MASK.astype(">i2").tobytes(order="F"), most_voxels=24)
    assert np.array_equal(volume, MASK)
