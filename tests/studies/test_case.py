from __future__ import annotations

from pathlib import Path

from scripts.studies.case import Case, images_folder, labels_folder, mask_file_name, phase_file_name


def test_files_are_those_that_are_there() -> None:
    case = Case("a", phase_files=(None, Path("1"), None, Path("3")), liver_file=Path("l"))
    assert case.image_files == (Path("1"), Path("3"))
    assert case.files == (Path("1"), Path("3"), Path("l"))
    assert Case("a", volume_file=Path("4d")).image_files == (Path("4d"),)


def test_names_follow_the_layout() -> None:
    assert [images_folder(split) for split in ("train", "val", "test")] == ["imagesTr", "imagesTr", "imagesTs"]
    assert [labels_folder(split) for split in ("train", "val", "test")] == ["labelsTr", "labelsTr", "labelsTs"]
    assert phase_file_name("a", 3) == "a_0003.nii.gz"
    assert mask_file_name("a") == "a.nii.gz"
