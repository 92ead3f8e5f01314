from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from scripts.domain.errors import DatasetError
from scripts.domain.phases import NOMINAL_TIMES_S
from scripts.studies.layout import (
    Case,
    read_dataset,
    select,
    training_part,
    validation_part,
    write_dataset_json,
    write_subjects,
)

HEADER = "case,class,split,fold,site,t_pre,t_arterial,t_portal_venous,t_delayed\n"


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"absent: no such folder\. Give"):
        read_dataset(tmp_path / "absent")


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no images\. Put <case>_0000.nii.gz to <case>_0003.nii.gz"):
        read_dataset(tmp_path)


def test_cases_come_with_their_files_and_what_the_table_says(dataset_dir: Path) -> None:
    cases = read_dataset(dataset_dir)
    assert [case.case for case in cases] == [f"liver-0{i}" for i in range(1, 6)]
    second, last = cases[1], cases[4]
    assert (second.tumour_class, second.split, second.fold, second.site) == ("hemangioma", "train", 1, "south")
    assert second.times_s == (0.0, 26.0, 70.0, 180.0)
    assert second.phase_files == tuple(dataset_dir / f"imagesTr/liver-02_000{k}.nii.gz" for k in range(4))
    assert (last.split, last.fold) == ("test", None)
    assert last.label_file == dataset_dir / "labelsTs/liver-05.nii.gz"
    assert last.liver_file == dataset_dir / "liver/liver-05.nii.gz"
    assert last.files == (*last.phase_files, last.label_file, last.liver_file)


def test_missing_files_are_none(dataset_dir: Path) -> None:
    (dataset_dir / "imagesTr/liver-01_0002.nii.gz").unlink()
    (dataset_dir / "labelsTr/liver-01.nii.gz").unlink()
    case = read_dataset(dataset_dir)[0]
    assert [file is None for file in case.phase_files] == [False, False, True, False]
    assert case.label_file is None
    assert len(case.image_files) == 3


def test_an_empty_time_is_the_nominal_one(tmp_path: Path) -> None:
    (tmp_path / "subjects.csv").write_text(HEADER + "a,hcc,train,,x,0,33,,\n")
    assert read_dataset(tmp_path)[0].times_s == (0.0, 33.0, NOMINAL_TIMES_S[2], NOMINAL_TIMES_S[3])


def test_a_table_survives_writing_and_reading(dataset_dir: Path) -> None:
    cases = read_dataset(dataset_dir)
    changed = [replace(cases[0], site='centre "A", Oslo', times_s=(0.0, 31.25, 70.0, 181.5)), *cases[1:]]
    write_subjects(dataset_dir, changed)
    assert read_dataset(dataset_dir) == changed


def test_dataset_json_is_what_nnunet_reads(tmp_path: Path) -> None:
    content = json.loads(write_dataset_json(tmp_path, "Tiny", 4).read_text())
    assert content["channel_names"] == {"0": "pre", "1": "arterial", "2": "portal_venous", "3": "delayed"}
    assert content["labels"] == {"background": 0, "hemangioma": 1, "hcc": 2}
    assert (content["numTraining"], content["file_ending"]) == (4, ".nii.gz")


CASES = [Case(f"train-{fold}", split="train", fold=fold) for fold in range(5)] + [
    Case("val-0", split="val", fold=0),
    Case("val-1", split="val", fold=1),
    Case("test-0", split="test"),
]


def test_an_unknown_split_or_an_empty_part_is_refused() -> None:
    with pytest.raises(DatasetError, match="split 'training' is unknown"):
        select(CASES, split="training")
    with pytest.raises(DatasetError, match=r"none of the 1 cases has split val and fold any\. Fill the columns"):
        validation_part(CASES[:1])
    with pytest.raises(DatasetError, match="fold 7"):
        validation_part(CASES, fold=7)


def test_parts_of_the_fixed_split_and_of_a_fold() -> None:
    assert [case.case for case in training_part(CASES)] == [f"train-{fold}" for fold in range(5)]
    assert [case.case for case in validation_part(CASES)] == ["val-0", "val-1"]
    assert [case.case for case in validation_part(CASES, fold=1)] == ["train-1", "val-1"]
    for fold in range(5):
        inside = {case.case for case in validation_part(CASES, fold=fold)}
        outside = {case.case for case in training_part(CASES, fold=fold)}
        assert inside.isdisjoint(outside)
        assert inside | outside == {case.case for case in CASES if case.split != "test"}
