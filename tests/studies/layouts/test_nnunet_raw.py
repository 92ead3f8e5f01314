"""nnU-Net raw folders as nnU-Net users have them, without our table: nothing needs to be imported."""

from __future__ import annotations

import json

import numpy as np
import pytest

from scripts.domain.errors import DatasetError
from scripts.domain.phases import NOMINAL_TIMES_S
from scripts.studies.integrity import check_dataset
from scripts.studies.layout import read_dataset, training_part, validation_part
from scripts.studies.reading import read_study
from scripts.studies.sources import find_cases


@pytest.fixture
def raw(tmp_path, anatomy, save, oblique):
    """A raw folder of nnU-Net v2: two training cases, one test case with images only, its own dataset.json."""
    root = tmp_path / "Dataset042_Liver"
    for case, folder, value in (("LIV_001", "Tr", 2), ("LIV_002", "Tr", 1), ("LIV_003", "Ts", None)):
        image, lesion = anatomy(int(case[-1]))
        for channel, volume in enumerate(image):
            save(volume, root / f"images{folder}" / f"{case}_{channel:04d}.nii.gz", oblique)
        if value is not None:
            save(lesion * np.uint8(value), root / f"labels{folder}" / f"{case}.nii.gz", oblique)
    content = {
        "channel_names": {"0": "pre", "1": "arterial", "2": "portal_venous", "3": "delayed"},
        "labels": {"background": 0, "hemangioma": 1, "hcc": 2},
        "numTraining": 2,
        "file_ending": ".nii.gz",
    }
    (root / "dataset.json").write_text(json.dumps(content))
    return root


def test_channels_in_another_order_are_found_by_the_check(raw):
    content = json.loads((raw / "dataset.json").read_text())
    content["channel_names"] = {"0": "arterial", "1": "pre", "2": "portal_venous", "3": "delayed"}
    (raw / "dataset.json").write_text(json.dumps(content))
    assert any("channel_names" in str(fault) for fault in check_dataset(raw))


def test_it_is_read_as_it_is(raw):
    for cases in (read_dataset(raw), find_cases(raw)):
        assert [(case.case, case.tumour_class, case.split) for case in cases] == [
            ("LIV_001", "hcc", "train"),
            ("LIV_002", "hemangioma", "train"),
            ("LIV_003", "", "test"),
        ]
        assert all(case.times_s == NOMINAL_TIMES_S and case.fold is None for case in cases)
    assert check_dataset(raw) == []
    study = read_study(cases[0])
    assert study.available == (True,) * 4
    assert set(np.unique(study.label)) == {0, 2}


def test_training_needs_a_table_for_its_validation_split(raw):
    cases = read_dataset(raw)
    assert len(training_part(cases)) == 2
    with pytest.raises(DatasetError, match="none of the 3 cases has split val"):
        validation_part(cases)
