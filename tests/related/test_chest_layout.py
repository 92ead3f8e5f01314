"""The chest data contract: every fault is named."""

import shutil

import pytest

from scripts.domain.errors import DatasetError
from scripts.related.chest_layout import read_chest, write_tables


@pytest.fixture
def broken(chest_dir, tmp_path):
    return shutil.copytree(chest_dir, tmp_path / "cohort")


def replace(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_a_folder_without_the_tables_is_refused(tmp_path):
    with pytest.raises(DatasetError, match=r"no chest dataset.*make_chest_phantom"):
        read_chest(tmp_path)


@pytest.mark.parametrize(
    ("table", "old", "new", "reason"),
    [
        ("subjects.csv", "nodule,train", "cyst,train", "class 'cyst' is none of normal, nodule, ground_glass"),
        ("subjects.csv", "nodule,train", "nodule,both", "split 'both' is none of train"),
        ("subjects.csv", "nodule,train,1", "nodule,train,7", "fold 7 is none of 0 to 4"),
        ("subjects.csv", "nodule,train,1", "nodule,train,x", "line 3: fold is 'x', neither empty nor a whole number"),
        ("subjects.csv", "nodule,train,1", "nodule,train,", "train and val have a fold, test has none"),
        ("subjects.csv", "chest-3-2,", "chest-3-1,", "chest-3-1 is listed twice"),
        ("subjects.csv", "split", "part", "subjects.csv: no column split"),
        ("slices.csv", "chest-3-1,2,normal", "chest-3-1,3,normal", "chest-3-1: slices.csv misses a slice of it"),
        ("slices.csv", "chest-3-1,2,normal", "chest-3-1,2,cyst", "a class in slices.csv is none of"),
        ("subjects.csv", "chest-3-2,nodule", "chest-3-2,normal", "chest-3-2: its slices in slices.csv are of another"),
        ("slices.csv", "nodule", "normal", "slices.csv calls a slice normal that has a lesion in lesions.csv"),
        ("lesions.csv", "chest-3-2,", "chest-3-2,-", "slice is '-"),
        ("lesions.csv", ",nodule,", ",cyst,", "a class in lesions.csv is none of"),
    ],
)
def test_a_fault_in_a_table_is_named(table, old, new, reason, broken):
    replace(broken / table, old, new)
    with pytest.raises(DatasetError, match=reason):
        read_chest(broken)


@pytest.mark.parametrize("name", ["images/chest-3-4.nii.gz", "lesions/chest-3-4.nii.gz"])
def test_a_missing_file_is_named(name, broken):
    (broken / name).unlink()
    with pytest.raises(DatasetError, match=f"chest-3-4: no file .*{name}"):
        read_chest(broken)


def test_a_missing_table_is_named(broken):
    (broken / "slices.csv").unlink()
    with pytest.raises(DatasetError, match=r"no file slices\.csv"):
        read_chest(broken)


def test_what_is_written_is_read_again(broken):
    cases = read_chest(broken)
    write_tables(broken, cases)
    assert read_chest(broken) == cases
    assert any(case.lesions for case in cases)
