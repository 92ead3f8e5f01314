from __future__ import annotations

from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest

from lib.errors import BadRequestError
from lib.labels.store import LabelStore
from lib.trainers.dataset import build, held_out_rank, original_dataset
from scripts.domain.errors import DatasetError
from scripts.studies.integrity import check_dataset
from scripts.studies.layout import read_dataset


@pytest.fixture
def built(source, label_store, tmp_path):
    def make(**options):
        return build(tmp_path / "training", source=source, labels=label_store, **options)

    return make


def by_case(folder):
    return {case.case: case for case in read_dataset(folder)}


def test_one_labelled_study_is_too_few(built, label_as_reader):
    label_as_reader("liver-01")
    with pytest.raises(BadRequestError, match="1 of 1 labelled studies can be used and have a lesion"):
        built()


def test_a_study_without_a_lesion_is_no_second_one(built, label_as_reader):
    label_as_reader("liver-01", "liver-04", diagnosis=None)
    with pytest.raises(BadRequestError, match="1 of 2 labelled"):
        built()


def test_original_data_that_are_no_dataset_are_refused(tmp_path):
    with pytest.raises(DatasetError, match="no such folder"):
        original_dataset(str(tmp_path / "nothing"))
    assert original_dataset("") == []


def test_readers_masks_make_a_sound_dataset(built, label_as_reader, true_label):
    label_as_reader("liver-01", "liver-02", "liver-03", "liver-04")
    made = built()
    assert check_dataset(made.folder) == []
    assert made.cases["corrected"] + made.cases["held_out"] == 4
    assert made.cases["original"] == 0
    cases = by_case(made.folder)
    assert {name: case.tumour_class for name, case in cases.items()} == {
        "liver-01": "hcc",
        "liver-02": "hemangioma",
        "liver-03": "hcc",
        "liver-04": "none",
    }
    for name, case in cases.items():
        np.testing.assert_array_equal(np.asarray(nib.load(case.label_file).dataobj), true_label(name))


def test_images_are_linked_and_not_copied(built, label_as_reader, source):
    label_as_reader("liver-01", "liver-02")
    case = by_case(built().folder)["liver-01"]
    assert all(file.is_symlink() for file in case.phase_files)
    assert [file.resolve() for file in case.phase_files] == [
        f.resolve() for f in source.open("liver-01").case.phase_files
    ]
    assert case.times_s == source.open("liver-01").case.times_s


def test_the_readers_diagnosis_decides_the_class_of_every_voxel(built, label_as_reader, label_store, source):
    label_as_reader("liver-01", "liver-03")
    label_store.save("liver-01", mask=None, study=source.open("liver-01"), diagnosis="hemangioma", reader="reader")
    case = by_case(built().folder)["liver-01"]
    assert case.tumour_class == "hemangioma"
    assert set(np.unique(np.asarray(nib.load(case.label_file).dataobj))) == {0, 1}


def test_a_study_is_held_out_by_its_name_alone(built, label_as_reader):
    label_as_reader("liver-01", "liver-02", "liver-03", "liver-04")
    held_out = {name for name, case in by_case(built().folder).items() if case.split == "val"}
    assert held_out
    by_name = {name for name in ("liver-01", "liver-02", "liver-03", "liver-04") if held_out_rank(name) < 0.2}
    assert held_out == by_name or (not by_name & {"liver-01", "liver-02", "liver-03"} and len(held_out - by_name) == 1)


def test_a_study_that_weights_once_learned_from_is_never_held_out(source, label_store, label_as_reader, tmp_path):
    label_as_reader("liver-01", "liver-02", "liver-03")
    held_out = set()
    for number in range(3):
        made = build(tmp_path / str(number), source=source, labels=label_store, learned=held_out)
        found = {name for name, case in by_case(made.folder).items() if case.split == "val"}
        assert found
        assert not found & held_out
        assert set(made.learned) == {"liver-01", "liver-02", "liver-03"} - found
        held_out |= found
        if len(held_out) == 3:
            break
    with pytest.raises(BadRequestError, match="learned from every labelled study"):
        build(tmp_path / "all", source=source, labels=label_store, learned={"liver-01", "liver-02", "liver-03"})


def test_original_studies_that_weights_learned_from_are_not_held_out_either(built, label_as_reader, dataset_dir):
    label_as_reader("liver-01", "liver-02")
    original = [replace(case, case=f"other-{case.case}") for case in read_dataset(dataset_dir)]
    made = built(original=original, learned={"other-liver-03"})
    splits = {name: case.split for name, case in by_case(made.folder).items()}
    assert (splits["other-liver-03"], splits["other-liver-04"]) == ("train", "val")


def test_about_one_study_in_five_is_held_out():
    assert 0.15 < np.mean([held_out_rank(f"case-{i}") < 0.2 for i in range(1000)]) < 0.25


def test_of_two_studies_with_a_lesion_one_is_held_out(built, label_as_reader):
    label_as_reader("liver-01", "liver-02")
    assert sorted(case.split for case in by_case(built().folder).values()) == ["train", "val"]


def test_original_studies_are_mixed_in_and_never_those_of_the_test_split(built, label_as_reader, dataset_dir):
    label_as_reader("liver-01", "liver-02")
    original = [replace(case, case=f"other-{case.case}") for case in read_dataset(dataset_dir)]
    made = built(original=original)
    names = set(by_case(made.folder))
    assert {"liver-01", "liver-02", "other-liver-01", "other-liver-03", "other-liver-04"} <= names
    assert "other-liver-05" not in names


def test_original_studies_keep_their_split_and_are_limited(built, label_as_reader, dataset_dir):
    label_as_reader("liver-01", "liver-02")
    original = [replace(case, case=f"other-{case.case}") for case in read_dataset(dataset_dir)]
    made = built(original=original, original_cases=1)
    others = [case for name, case in by_case(made.folder).items() if name.startswith("other")]
    assert sorted(case.split for case in others) == ["train", "val"]
    assert made.cases["original"] <= 2


def test_a_corrected_study_takes_the_originals_place(built, label_as_reader, dataset_dir, label_store, source):
    label_as_reader("liver-01", "liver-02")
    smaller = np.zeros(source.open("liver-01").grid(None).shape, dtype=np.uint8)
    smaller[60:64, 44:48, 11:13] = 2
    label_store.save("liver-01", mask=smaller, study=source.open("liver-01"), diagnosis=None, reader="reader")
    case = by_case(built(original=read_dataset(dataset_dir)).folder)["liver-01"]
    np.testing.assert_array_equal(np.asarray(nib.load(case.label_file).dataobj), smaller)


def test_labels_that_came_with_the_studies_count_as_original(source, tmp_path):
    labels = LabelStore(tmp_path / "state" / "labels", dataset=source.cases)
    made = build(tmp_path / "training", source=source, labels=labels)
    cases = by_case(made.folder)
    assert set(cases) == {"liver-01", "liver-02", "liver-03", "liver-04"}
    assert cases["liver-03"].split == "val"
    assert made.cases == {"corrected": 0, "original": 2, "held_out": 2}


def test_a_study_with_a_fault_is_left_out_and_the_others_are_not(built, label_as_reader, dataset_dir):
    label_as_reader("liver-01", "liver-02", "liver-03")
    arterial, delayed = (dataset_dir / "imagesTr" / f"liver-02_000{phase}.nii.gz" for phase in (1, 3))
    delayed.write_bytes(arterial.read_bytes()[:200])
    made = built()
    assert set(by_case(made.folder)) == {"liver-01", "liver-03"}
    assert list(made.left_out) == ["liver-02"]
    assert "/" not in made.left_out["liver-02"]
