from __future__ import annotations

import gzip
from functools import partial

import nibabel as nib
import numpy as np
import pytest

from scripts.studies.layouts.case_writing import write_case, write_volume
from scripts.studies.layouts.source_case import SourceCase, SourceImages, Volume


def test_what_the_integrity_check_objects_to_is_said(tmp_path, anatomy, oblique):
    image, lesion = anatomy()
    label = Volume(lesion * np.uint8(2), oblique)
    phases = tuple(Volume(phase, oblique) for phase in image)
    swapped = (phases[2], phases[1], phases[0], phases[3])
    sound, wrong = (
        write_case(SourceCase(name, partial(SourceImages, order, label)), tmp_path / name, register="none")
        for name, order in (("sound", phases), ("wrong", swapped))
    )
    assert sound.remarks == ()
    assert any(remark.startswith("integrity check: swapped phase") for remark in wrong.remarks)
    assert wrong.case.tumour_class == "hcc"


def test_the_header_holds_nothing_but_geometry(tmp_path, oblique, anatomy):
    image, _ = anatomy()
    write_volume(image[0], oblique, tmp_path / "one.nii.gz")
    write_volume(image[0], oblique, tmp_path / "two.nii.gz")
    content = [(tmp_path / name).read_bytes() for name in ("one.nii.gz", "two.nii.gz")]
    assert content[0] == content[1]
    header = nib.Nifti1Header(gzip.decompress(content[0])[:348])
    for name in ("descrip", "aux_file", "db_name", "intent_name"):
        assert header[name].item() == b""
    assert header.get_zooms() == pytest.approx((3, 2.5, 6))
    assert header["sform_code"] == header["qform_code"] == 1
