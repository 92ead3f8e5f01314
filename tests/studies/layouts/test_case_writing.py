from __future__ import annotations

from functools import partial

import numpy as np

from scripts.studies.layouts.case_writing import write_case
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
