from __future__ import annotations

import pytest

from scripts.domain.errors import DatasetError
from scripts.studies.layouts.lld_label_tables import read_label_tables


@pytest.fixture
def release(tmp_path):
    """A release with label tables of the given names and contents."""

    def make(tables, folder="classification_dataset/labels"):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        for name, content in tables.items():
            (tmp_path / folder / name).write_bytes(content.encode())
        return tmp_path

    return make


def test_every_wrong_line_is_named(release):
    root = release({"labels.txt": "MR1 6\nMR2\nMR3 six\n6 MR4 0\n\nnobody 3\n", "val_fold7.txt": "MR1 6\n"})
    with pytest.raises(DatasetError) as raised:
        read_label_tables(root)
    message = str(raised.value)
    assert "5 fault(s) in the label tables" in message
    for line in (2, 3, 4, 6):
        assert f"classification_dataset/labels/labels.txt line {line}: not '<patient> <category>'" in message
    assert "val_fold7.txt: folds are 1 to 5" in message


def test_a_patient_in_two_held_out_splits_is_refused(release):
    root = release({"labels_test.txt": "MR1 6\n", "labels_val.txt": "MR-1 6\n"})
    with pytest.raises(DatasetError, match=r"labels_val.txt line 1: in val here, but in test elsewhere"):
        read_label_tables(root)


def test_a_table_that_is_no_text_is_refused(release):
    root = release({"labels.txt": ""})
    (root / "classification_dataset/labels/labels.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DatasetError, match=r"labels.txt: not readable as text"):
        read_label_tables(root)


def test_no_tables_are_no_fault(tmp_path):
    assert read_label_tables(tmp_path) == {}


def test_splits_and_folds_with_dos_line_ends(release):
    root = release(
        {
            "labels.txt": "MR100 6\r\nMR-200 0\r\n",
            "labels_val_inaccessible.txt": "MR300\t-1\r\n",
            "labels_test.txt": "MR400 3",
            "train_fold1.txt": "MR-200 0\r\n",
            "val_fold1.txt": "MR100 6\r\n",
            "val_fold5.txt": "MR200 0\r\n",
        }
    )
    found = read_label_tables(root)
    assert {digits: (each.category, each.split, each.fold) for digits, each in found.items()} == {
        "100": (6, "train", 0),
        "200": (0, "train", 4),
        "300": (-1, "val", None),
        "400": (3, "test", None),
    }


def test_a_table_of_train_and_val_yields_to_the_ones_of_val(release):
    root = release({"labels_trainval.txt": "MR1 6\nMR2 0\n", "labels_val.txt": "MR2 0\n"}, folder="labels")
    assert {digits: each.split for digits, each in read_label_tables(root).items()} == {"1": "train", "2": "val"}
