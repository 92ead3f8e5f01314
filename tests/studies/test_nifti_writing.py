"""Written NIfTI: read back by nibabel as it was, and nothing else in the header."""

from __future__ import annotations

import gzip

import nibabel as nib
import numpy as np
import pytest

from scripts.studies.nifti_writing import write_nifti


@pytest.fixture
def volume():
    return np.random.default_rng(3).integers(-300, 3000, (12, 10, 7)).astype(np.int16)


@pytest.mark.parametrize("name", ["one.nii.gz", "one.nii"])
@pytest.mark.parametrize("dtype", [np.int16, np.uint8, np.float32])
def test_nibabel_reads_what_was_written(tmp_path, volume, oblique_affine, dtype, name):
    write_nifti(volume.astype(dtype), oblique_affine, tmp_path / "new" / name)
    image = nib.load(tmp_path / "new" / name)
    assert image.get_data_dtype() == dtype
    np.testing.assert_array_equal(np.asarray(image.dataobj), volume.astype(dtype))
    np.testing.assert_allclose(image.affine, oblique_affine, atol=1e-4)
    np.testing.assert_allclose(image.header.get_qform(), oblique_affine, atol=1e-3)


def test_the_header_holds_nothing_but_geometry(tmp_path, volume, oblique_affine):
    for name in ("one.nii.gz", "two.nii.gz"):
        write_nifti(volume, oblique_affine, tmp_path / name)
    content = [(tmp_path / name).read_bytes() for name in ("one.nii.gz", "two.nii.gz")]
    assert content[0] == content[1]
    header = nib.Nifti1Header(gzip.decompress(content[0])[:348])
    for name in ("descrip", "aux_file", "db_name", "intent_name"):
        assert header[name].item() == b""
    assert header.get_zooms() == pytest.approx((3, 2.5, 6))
    assert header.get_xyzt_units() == ("mm", "sec")
    assert header["sform_code"] == header["qform_code"] == 1
