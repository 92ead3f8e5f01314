from __future__ import annotations

import numpy as np
import pytest

from scripts.domain.errors import StudyError
from scripts.studies.layouts.source_case import read_mask, read_phase


def test_a_damaged_file_is_named_by_its_phase_and_not_by_its_path(tmp_path):
    file = tmp_path / "MUELLER_HANS" / "secret.nii.gz"
    file.parent.mkdir()
    file.write_bytes(b"nothing")
    with pytest.raises(StudyError, match=r"^arterial: not a NIfTI file\. Convert it") as raised:
        read_phase(file, "arterial")
    assert "MUELLER" not in str(raised.value)


def test_a_missing_file_is_named_the_same_way(tmp_path):
    with pytest.raises(StudyError, match=r"^delayed: cannot be read") as raised:
        read_phase(tmp_path / "MUELLER_HANS" / "delayed.nii.gz", "delayed")
    assert "MUELLER" not in str(raised.value)


def test_a_constant_phase_is_refused_and_a_constant_mask_is_not(tmp_path, save):
    file = save(np.zeros((4, 5, 6), np.int16), tmp_path / "constant.nii.gz")
    with pytest.raises(StudyError, match=r"^pre: constant volume"):
        read_phase(file, "pre")
    assert read_mask(file, "label").data.shape == (4, 5, 6)


def test_a_phase_is_read_as_stored(tmp_path, save, anatomy, oblique):
    image, _ = anatomy()
    volume = read_phase(save(image[1], tmp_path / "a.nii.gz", oblique), "arterial")
    np.testing.assert_array_equal(volume.data, image[1])
    np.testing.assert_allclose(volume.affine, oblique, atol=1e-5)
    assert volume.data.dtype == np.int16
