from __future__ import annotations

import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from scripts.domain.errors import DatasetError, StudyError
from scripts.domain.phases import NOMINAL_TIMES_S, PHASES
from scripts.studies.sources import find_cases


def _save_volumes(path: Path, count: int) -> None:
    data = np.random.default_rng(0).integers(0, 100, (12, 10, 6, count)).astype(np.int16)
    nib.save(nib.Nifti1Image(data, np.diag([2.0, 3.0, 5.0, 1.0])), path)


def test_nothing_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"absent: no such file or folder\. Give"):
        find_cases(tmp_path / "absent")
    with pytest.raises(DatasetError, match="no study in it"):
        find_cases(tmp_path)


def test_five_volumes_are_refused_with_the_way_to_select_four(tmp_path: Path) -> None:
    _save_volumes(tmp_path / "dynamic.nii.gz", 5)
    with pytest.raises(StudyError) as raised:
        find_cases(tmp_path / "dynamic.nii.gz")
    message = str(raised.value)
    assert "dynamic.nii.gz: found 5 volumes" in message
    assert ", ".join(PHASES) in message
    assert "nib.save(nib.load('dynamic.nii.gz').slicer[..., :4], 'four.nii.gz')" in message
    assert "fslroi dynamic.nii.gz four 0 4" in message


def test_one_volume_alone_is_refused(dataset_dir: Path) -> None:
    with pytest.raises(StudyError, match=r"found 3D image of shape \(96, 80, 20\), but a study is 4 volumes"):
        find_cases(dataset_dir / "imagesTr/liver-01_0001.nii.gz")


def test_a_file_that_is_no_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(StudyError, match=r"notes.txt: not a NIfTI file\. Convert it"):
        find_cases(tmp_path / "notes.txt")


def test_a_fifth_phase_in_a_folder_is_refused(dataset_dir: Path) -> None:
    images = dataset_dir / "imagesTr"
    shutil.copy(images / "liver-01_0000.nii.gz", images / "liver-01_0004.nii.gz")
    with pytest.raises(DatasetError, match=r"liver-01_0004.nii.gz would be a fifth phase or later\. Keep the four"):
        find_cases(images)


def test_a_dataset_folder(dataset_dir: Path) -> None:
    assert [case.case for case in find_cases(dataset_dir)] == [f"liver-0{i}" for i in range(1, 6)]


def test_a_folder_of_numbered_files_with_a_missing_phase(dataset_dir: Path) -> None:
    images = dataset_dir / "imagesTr"
    (images / "liver-02_0003.nii.gz").unlink()
    cases = find_cases(images)
    assert [case.case for case in cases] == [f"liver-0{i}" for i in range(1, 5)]
    assert cases[1].phase_files == (*(images / f"liver-02_000{k}.nii.gz" for k in range(3)), None)
    assert cases[1].times_s == NOMINAL_TIMES_S
    assert cases[1].tumour_class == ""


def test_a_folder_of_named_phases(dataset_dir: Path, tmp_path: Path) -> None:
    folder = tmp_path / "patient-7"
    folder.mkdir()
    for index, phase in enumerate(PHASES[:3]):
        shutil.copy(dataset_dir / f"imagesTr/liver-01_000{index}.nii.gz", folder / f"{phase}.nii.gz")
    nib.save(nib.load(folder / "pre.nii.gz"), folder / "delayed.nii")
    (case,) = find_cases(folder)
    assert case.case == "patient-7"
    assert [file.name for file in case.phase_files] == [
        "pre.nii.gz", "arterial.nii.gz", "portal_venous.nii.gz", "delayed.nii"
    ]  # fmt: skip


def test_one_file_of_four_volumes(tmp_path: Path) -> None:
    _save_volumes(tmp_path / "dynamic.nii.gz", 4)
    (case,) = find_cases(str(tmp_path / "dynamic.nii.gz"))
    assert (case.case, case.volume_file) == ("dynamic", tmp_path / "dynamic.nii.gz")
    assert case.phase_files == (None,) * 4
