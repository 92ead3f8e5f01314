"""A phantom's file: the same bytes for the same volume."""

import numpy as np

from scripts.phantom.seeded_file import write_seeded


def test_header_holds_no_time_and_no_name(tmp_path):
    for name in ("a.nii.gz", "b.nii.gz"):
        write_seeded(np.zeros((3, 2, 4), np.int16), np.eye(4), tmp_path / name)
    packed = (tmp_path / "a.nii.gz").read_bytes()
    assert packed == (tmp_path / "b.nii.gz").read_bytes()
    assert packed[3] == 0  # RFC 1952: no flags, so no file name
    assert packed[4:8] == bytes(4)  # no modification time
