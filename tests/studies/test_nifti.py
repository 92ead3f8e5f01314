from __future__ import annotations

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from scripts.domain.errors import StudyError
from scripts.studies.nifti import FileError, open_nifti, read_phases, read_volume, require_varying, same_grid

AFFINE = np.diag([2.0, 3.0, 5.0, 1.0])


def _save(path: Path, data: np.ndarray, kind: type = nib.Nifti1Image) -> Path:
    nib.save(kind(data, AFFINE), path)
    return path


def _ramp(*shape: int, dtype: type = np.int16) -> np.ndarray:
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


def test_an_error_carries_file_problem_and_fix(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"absent.nii.gz: cannot be read \(No such file") as raised:
        open_nifti(tmp_path / "absent.nii.gz")
    assert raised.value.file == tmp_path / "absent.nii.gz"
    assert raised.value.fix == "Check the path and the permissions"
    assert isinstance(raised.value, StudyError)


@pytest.mark.parametrize("keep", [20, 200, 345, 2000])
def test_a_truncated_unpacked_file_is_refused(tmp_path: Path, keep: int) -> None:
    file = _save(tmp_path / "a.nii", _ramp(12, 10, 8))
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(FileError, match=r"not a NIfTI file|truncated"):
        read_volume(file)


def test_a_packed_file_may_end_nowhere_early(tmp_path: Path) -> None:
    file = _save(tmp_path / "a.nii.gz", _ramp(12, 10, 8))
    content = file.read_bytes()
    for keep in (12, len(content) // 2, len(content) - 9, len(content) - 1):
        file.write_bytes(content[:keep])
        with pytest.raises(FileError, match="truncated gzip"):
            read_volume(file)


def test_a_header_without_sense_is_refused(tmp_path: Path) -> None:
    file = _save(tmp_path / "a.nii", _ramp(12, 10, 8))
    content = bytearray(file.read_bytes())
    content[70:72] = np.int16(9999).tobytes()  # datatype
    file.write_bytes(bytes(content))
    with pytest.raises(FileError, match="its NIfTI header makes no sense"):
        read_volume(file)


def test_a_shape_larger_than_the_file_is_refused_before_memory_is_taken(tmp_path: Path) -> None:
    file = _save(tmp_path / "a.nii", _ramp(12, 10, 8))
    content = bytearray(file.read_bytes())
    content[42:48] = np.full(3, 32000, np.int16).tobytes()  # dim[1:4]
    file.write_bytes(bytes(content))
    with pytest.raises(FileError, match=r"truncated: too short for its shape \(32000, 32000, 32000\)"):
        read_volume(file)


@pytest.mark.parametrize("shape", [(6, 5, 4, 5), (6, 5, 4, 3), (6, 5, 4), (6, 5, 4, 1, 4), (6, 5, 1, 4)])
def test_anything_but_four_volumes_is_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    file = _save(tmp_path / "a.nii.gz", _ramp(*shape))
    with pytest.raises(FileError, match=r"a.nii.gz: found .* a study is 4 volumes in this order: pre, arterial"):
        read_phases(file)


def test_a_constant_volume_is_refused() -> None:
    with pytest.raises(FileError, match=r"f.nii.gz: constant volume: every voxel is 3\. Export"):
        require_varying(np.full((4, 4, 4), 3), Path("f.nii.gz"))


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64])
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "packed_but_not_named_so.nii"])
def test_real_voxels_come_as_they_are_stored(tmp_path: Path, dtype: type, name: str) -> None:
    data = _ramp(6, 5, 4, dtype=dtype)
    file = _save(tmp_path / name.replace("packed_but_not_named_so.nii", "b.nii"), data)
    if name.startswith("packed"):
        file.write_bytes(gzip.compress(file.read_bytes()))
    voxels, affine = read_volume(file)
    assert voxels.dtype == dtype
    np.testing.assert_array_equal(voxels, data)
    np.testing.assert_array_equal(affine, AFFINE)


def test_nifti_2_and_four_volumes_are_read(tmp_path: Path) -> None:
    data = _ramp(6, 5, 4, 4)
    voxels, _ = read_phases(_save(tmp_path / "a.nii.gz", data, nib.Nifti2Image))
    np.testing.assert_array_equal(voxels, data)


def test_the_headers_slope_and_intercept_are_applied_in_single_precision(tmp_path: Path) -> None:
    image = nib.Nifti1Image(_ramp(6, 5, 4), AFFINE)
    image.header.set_slope_inter(0.5, -7.0)
    content = bytearray(image.to_bytes())
    content[112:120] = np.array([0.5, -7.0], np.float32).tobytes()  # nibabel resets them for new images
    content[352:] = _ramp(6, 5, 4).tobytes(order="F")
    (tmp_path / "a.nii").write_bytes(bytes(content))
    voxels, _ = read_volume(tmp_path / "a.nii")
    assert voxels.dtype == np.float32
    np.testing.assert_allclose(voxels, _ramp(6, 5, 4) * 0.5 - 7.0)


def test_grids_agree_within_a_thousandth_of_a_millimetre() -> None:
    shifted = AFFINE.copy()
    shifted[0, 3] = 5e-4
    assert same_grid((4, 5, 6), AFFINE, (4, 5, 6), shifted)
    shifted[0, 3] = 5e-3
    assert not same_grid((4, 5, 6), AFFINE, (4, 5, 6), shifted)
    assert not same_grid((4, 5, 6), AFFINE, (4, 5, 7), AFFINE)
