from __future__ import annotations

import csv

import nibabel as nib
import numpy as np
import pytest

from scripts.domain.errors import ConfigurationError, DatasetError
from scripts.domain.phases import NOMINAL_TIMES_S, PHASES
from scripts.studies.integrity import check_dataset
from scripts.studies.layout import read_dataset
from scripts.studies.layouts.csv_paths import convert_csv


@pytest.fixture
def table(tmp_path, anatomy, save, oblique):
    """``table(rows, name)``: a CSV in a folder with the NIfTI files of the subjects p0, p1 and p2."""
    folder = tmp_path / "studies"
    for number in range(3):
        image, lesion = anatomy(number)
        for phase, volume in zip(PHASES, image, strict=True):
            save(volume, folder / f"p{number}" / f"{phase}.nii.gz", oblique)
        save(lesion, folder / f"p{number}" / "label.nii.gz", oblique)

    def written(rows, name="studies.csv", columns=None):
        path = folder / name
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, columns or list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        return path

    return written


def row(number, **more):
    return {"case": f"s{number}"} | {phase: f"p{number}/{phase}.nii.gz" for phase in PHASES} | more


# Wrong input first.


def test_no_table_is_refused(tmp_path):
    for table in (None, tmp_path / "absent.csv", tmp_path):
        with pytest.raises(DatasetError, match=r"no such file. Give the CSV with the columns case, pre, arterial"):
            convert_csv(table, tmp_path / "out")


def test_an_output_folder_in_use_is_refused(table, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine").write_text("mine")
    with pytest.raises(ConfigurationError, match="is not an empty folder"):
        convert_csv(table([row(0)]), tmp_path / "out")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "lacks the column"),
        ("case;pre;arterial;portal_venous;delayed\n", "not separated by commas"),
        ("case,pre,artrial,portal_venous,delayed\n", "lacks the column.*arterial.*\n.*does not know.*artrial"),
        ("case,pre,arterial,portal_venous,delayed,lable\n", "does not know the column.*lable"),
        ("case,case,pre,arterial,portal_venous,delayed\n", "case twice"),
        ("case,pre,arterial,portal_venous,delayed\n,,,,\n", "lists no case"),
        (b"case,pre,arterial,portal_venous,delayed\nM\xfcller,,,,\n", "not a UTF-8 comma-separated table"),
    ],
)
def test_a_table_that_is_none_is_refused(tmp_path, content, words):
    file = tmp_path / "t.csv"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DatasetError, match=words):
        convert_csv(file, tmp_path / "out")


def test_all_faults_of_a_table_come_at_once_with_their_lines(table, tmp_path):
    (tmp_path / "studies/MUELLER_HANS").mkdir()
    (tmp_path / "studies/MUELLER_HANS/scan.dcm").write_text("")
    (tmp_path / "studies/notes.txt").write_text("")
    rows = [
        row(0, **{"class": "hcc", "split": "train"}),
        row(1, **{"case": "s/1", "class": "HCC", "split": "testing", "fold": "7", "t_pre": "soon"}),
        row(2, **{"arterial": "p2/MUELLER.nii.gz", "label": "notes.txt"}),
        {"case": "s4", "pre": "MUELLER_HANS", "arterial": "MUELLER_HANS/scan.dcm", "t_arterial": "300"},
        row(2, delayed="p0/delayed.nii.gz", portal_venous="p0/delayed.nii.gz"),
        {"case": "s6"},
    ]
    path = table(rows, columns=["case", *PHASES, "label", "class", "split", "fold", "t_pre", "t_arterial"])
    with pytest.raises(DatasetError) as raised:
        convert_csv(path, tmp_path / "out")
    lines = str(raised.value).splitlines()
    assert lines[0].endswith(f"{len(lines) - 1} fault(s), nothing is written")
    for expected in (
        "line 2: split train without a label",
        "line 3: case id 's/1' cannot name a file",
        "line 3: unknown class 'HCC'",
        "line 3: unknown split 'testing'",
        "line 3: fold '7' is not 0-4",
        "line 3: t_pre 'soon' is not a number",
        "line 4: arterial: no such file",
        "line 4: label: not called .nii.gz or .nii",
        "line 5: pre: a folder or DICOM, not a NIfTI file. DICOM is imported by import_dicom.",
        "line 5: arterial: a folder or DICOM",
        "line 5: the times do not increase (pre 0 s, arterial 300 s",
        "line 6: the same file for two phases",
        "line 6: the same case as line 4",
        "line 6: the same image file as line 2",
        "line 7: names no image",
        "split: empty in line(s) 4, 5, 6, 7, filled in the others",
    ):
        assert any(line.startswith(expected) for line in lines), expected
    assert "MUELLER" not in str(raised.value)
    assert not (tmp_path / "out").exists()


def test_a_cell_too_many_is_refused(table, tmp_path):
    path = table([row(0)])
    path.write_text(path.read_text().strip() + ",surplus\n")
    with pytest.raises(DatasetError, match="line 2: more cells than columns"):
        convert_csv(path, tmp_path / "out")


def test_bad_files_leave_their_case_out(table, tmp_path, imported, save, oblique, anatomy):
    image, lesion = anatomy()
    damaged = tmp_path / "studies/p1/delayed.nii.gz"
    damaged.write_bytes(damaged.read_bytes()[:500])
    save(lesion * np.uint8(5) + (image[0] > 180), tmp_path / "studies/p2/label.nii.gz", oblique)
    rows = [
        row(0, label="p0/label.nii.gz"),
        row(1, label="p1/label.nii.gz"),
        row(2, label="p2/label.nii.gz"),
    ]
    convert_csv(table(rows), tmp_path / "out")
    found = imported(tmp_path / "out")
    assert [name for name, each in found.items() if each["taken"] == "yes"] == ["s0"]
    assert found["s1"]["remarks"].startswith("delayed: truncated gzip")
    assert found["s2"]["remarks"].startswith("label: holds the values 0, 1, 5. Use 0 background, 1 hemangioma")


def test_a_missing_phase_leaves_its_case_out(table, tmp_path, imported):
    convert_csv(table([row(0), row(1, delayed="")]), tmp_path / "out")
    assert imported(tmp_path / "out")["s1"]["remarks"] == "lacks the phase(s) delayed."


# Behaviour.


def test_everything_a_row_can_say(table, tmp_path, anatomy, oblique):
    rows = [
        row(
            0,
            **{"label": "p0/label.nii.gz", "liver": "p0/label.nii.gz", "class": "hcc", "split": "train", "fold": "3"},
            **{"site": "north", "t_pre": "-10", "t_arterial": "22.5", "t_portal_venous": "65", "t_delayed": ""},
        ),
        row(1, **{"label": str(tmp_path / "studies/p1/label.nii.gz"), "class": "hemangioma", "split": "val"}),
        row(2, **{"class": "hcc", "split": "test"}),
    ]
    convert_csv(table(rows, columns=list(rows[0])), tmp_path / "out")
    first, second, third = read_dataset(tmp_path / "out")
    assert (first.case, first.tumour_class, first.split, first.fold) == ("s0", "hcc", "train", 3)
    assert (first.site, first.times_s) == ("north", (-10.0, 22.5, 65.0, 180.0))
    assert second.times_s == NOMINAL_TIMES_S
    assert (second.split, third.split, third.label_file) == ("val", "test", None)
    for number, (case, value) in enumerate(((first, 2), (second, 1))):
        image, lesion = anatomy(number)
        for phase, file in enumerate(case.phase_files):
            np.testing.assert_array_equal(np.asarray(nib.load(file).dataobj), image[phase])
            np.testing.assert_allclose(nib.load(file).affine, oblique, atol=1e-5)
        # A mask of ones with the class in the row, whatever that class is.
        np.testing.assert_array_equal(np.asarray(nib.load(case.label_file).dataobj), lesion * value)
    assert np.asarray(nib.load(first.liver_file).dataobj).max() == 1
    assert check_dataset(tmp_path / "out") == []


def test_without_a_class_the_labels_values_tell(table, tmp_path, save, oblique, anatomy):
    _, lesion = anatomy(1)
    save(lesion * np.uint8(2), tmp_path / "studies/p1/label.nii.gz", oblique)
    convert_csv(table([row(n, label=f"p{n}/label.nii.gz") for n in range(2)]), tmp_path / "out")
    assert [case.tumour_class for case in read_dataset(tmp_path / "out")] == ["hemangioma", "hcc"]


def test_excels_bom_line_ends_and_capitals(table, tmp_path):
    path = table([row(0, label="p0/label.nii.gz")])
    text = path.read_text().replace("case,pre", "Case, Pre").replace("\n", "\r\n")
    path.write_bytes(b"\xef\xbb\xbf" + text.encode() + b",,,,,\r\n")
    convert_csv(path, tmp_path / "out")
    assert [case.case for case in read_dataset(tmp_path / "out")] == ["s0"]
