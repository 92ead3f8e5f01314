from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from scripts.domain.errors import DatasetError
from scripts.domain.phases import NOMINAL_TIMES_S
from scripts.studies.layout import read_dataset


def test_a_fifth_phase_without_a_table_is_refused(dataset_dir: Path) -> None:
    (dataset_dir / "subjects.csv").unlink()
    shutil.copy(dataset_dir / "imagesTr/liver-01_0000.nii.gz", dataset_dir / "imagesTr/liver-01_0004.nii.gz")
    with pytest.raises(DatasetError, match=r"liver-01_0004.nii.gz would be a fifth phase"):
        read_dataset(dataset_dir)


def test_without_a_table_class_and_split_come_from_the_files(dataset_dir: Path) -> None:
    (dataset_dir / "subjects.csv").unlink()
    (dataset_dir / "labelsTr/liver-03.nii.gz").unlink()
    cases = read_dataset(dataset_dir)
    assert [case.tumour_class for case in cases] == ["hcc", "hemangioma", "", "none", "hemangioma"]
    assert [case.split for case in cases] == ["train"] * 4 + ["test"]
    assert {case.fold for case in cases} == {None}
    assert {case.times_s for case in cases} == {NOMINAL_TIMES_S}


def test_an_unreadable_label_leaves_the_class_open(dataset_dir: Path) -> None:
    (dataset_dir / "subjects.csv").unlink()
    (dataset_dir / "labelsTr/liver-01.nii.gz").write_bytes(b"no image")
    assert read_dataset(dataset_dir)[0].tumour_class == ""
