"""Studies in a folder: what is found, what its names mean, and how new files show."""

import os
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from lib.errors import UnknownError
from lib.studies import folder as folder_module
from lib.studies.folder import FolderSource
from lib.studies.study import Address
from scripts.domain.errors import ConfigurationError, DatasetError, StudyError

ALL = ["liver-01", "liver-02", "liver-03", "liver-04", "liver-05"]


def cases(source: FolderSource) -> list[str]:
    return [study.case_id for study in source.listing()]


def settle(folder: Path) -> None:
    """Give every folder an old time of change, as after a quiet minute."""
    for path in (folder, *folder.rglob("*")):
        if path.is_dir() or path.suffix == ".csv":
            os.utime(path, (1_700_000_000, 1_700_000_000))


def flat(dataset_dir: Path, tmp_path: Path, *names: str) -> Path:
    folder = tmp_path / "flat"
    folder.mkdir(exist_ok=True)
    for name in names:
        for file in dataset_dir.glob(f"images*/{name}_*.nii.gz"):
            shutil.copy(file, folder)
    return folder


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(ConfigurationError, match="no such folder"):
        FolderSource(tmp_path / "nowhere")


def test_a_broken_table_stops_the_start(dataset_dir):
    table = dataset_dir / "subjects.csv"
    table.write_text(table.read_text().replace("hcc", "cyst"))
    with pytest.raises(DatasetError, match="unknown class"):
        FolderSource(dataset_dir)


@pytest.mark.parametrize(
    "image_id",
    [
        "liver-99",
        "",
        "..",
        "../liver-01",
        "/etc/passwd",
        "liver-01/../liver-02",
        "liver-01_0004",
        "liver-01_0000.nii.gz",
    ],
)
def test_names_that_mean_nothing(dataset_dir, image_id):
    source = FolderSource(dataset_dir)
    with pytest.raises(UnknownError) as refused:
        source.resolve(image_id)
    assert str(dataset_dir) not in str(refused.value)
    with pytest.raises(UnknownError):
        source.open(image_id)


@pytest.mark.parametrize("damage", [b"no nifti", b""])
def test_an_unreadable_file_is_named_by_its_phase_only(dataset_dir, damage):
    (dataset_dir / "imagesTr" / "liver-01_0002.nii.gz").write_bytes(damage)
    with pytest.raises(StudyError, match="liver-01: the portal_venous file cannot be read") as refused:
        FolderSource(dataset_dir).open("liver-01")
    assert str(dataset_dir) not in str(refused.value)


def test_a_four_dimensional_phase_is_refused(dataset_dir):
    file = dataset_dir / "imagesTr" / "liver-01_0002.nii.gz"
    nib.save(nib.Nifti1Image(np.zeros((4, 4, 4, 2), np.int16), np.eye(4)), file)
    with pytest.raises(StudyError, match="4 dimensions"):
        FolderSource(dataset_dir).open("liver-01")


def test_a_dataset_lists_its_table(dataset_dir):
    assert cases(FolderSource(dataset_dir)) == ALL


def test_without_a_table_no_label_is_opened(dataset_dir):
    (dataset_dir / "subjects.csv").unlink()
    for file in dataset_dir.glob("labels*/*"):
        file.write_bytes(b"opening this fails")
    source = FolderSource(dataset_dir)
    assert cases(source) == ALL
    assert source.cases()["liver-05"].label_file is not None


def test_a_case_without_an_image_is_left_out(dataset_dir):
    for file in dataset_dir.glob("imagesTr/liver-02_*"):
        file.unlink()
    assert "liver-02" not in cases(FolderSource(dataset_dir))


def test_flat_folders_and_single_studies(dataset_dir, tmp_path):
    assert cases(FolderSource(flat(dataset_dir, tmp_path, "liver-01", "liver-05"))) == ["liver-01", "liver-05"]
    single = tmp_path / "one-study"
    single.mkdir()
    for phase, name in enumerate(("pre", "arterial", "portal_venous", "delayed")):
        shutil.copy(dataset_dir / "imagesTr" / f"liver-01_{phase:04d}.nii.gz", single / f"{name}.nii.gz")
    study = FolderSource(single).open("one-study")
    assert study.reference == "arterial"
    assert set(study.series) == {"pre", "arterial", "portal_venous", "delayed"}


def test_any_phase_means_its_study(dataset_dir):
    source = FolderSource(dataset_dir)
    assert source.resolve("liver-03") == Address("liver-03")
    assert source.resolve("liver-03_0003") == Address("liver-03", "liver-03_0003")


def test_a_case_goes_before_a_file_of_its_name(dataset_dir, tmp_path):
    folder = flat(dataset_dir, tmp_path, "liver-01")
    shutil.copy(folder / "liver-01_0001.nii.gz", folder / "liver-01_0001_0001.nii.gz")
    source = FolderSource(folder)
    assert source.resolve("liver-01_0001") == Address("liver-01_0001")
    assert source.resolve("liver-01_0000") == Address("liver-01", "liver-01_0000")


def test_an_open_study(dataset_dir, oblique_affine):
    study = FolderSource(dataset_dir).open("liver-05")
    assert study.case_id == study.case.case == "liver-05"
    assert study.reference == "liver-05_0001"
    assert study.phase_of["liver-05_0002"] == "portal_venous"
    assert study.case.times_s == (0.0, 29.0, 70.0, 180.0)
    assert study.imported is None
    assert FolderSource(dataset_dir).is_local("liver-05")
    grid = study.grid("liver-05_0003")
    assert grid.shape == (96, 80, 20)
    np.testing.assert_allclose(grid.affine, oblique_affine, atol=1e-4)


def test_what_is_analysed_knows_no_label(dataset_dir):
    source = FolderSource(dataset_dir)
    assert source.cases()["liver-01"].label_file is not None
    study = source.open("liver-01")
    assert study.case.label_file is None
    assert study.case.liver_file is not None


def test_without_an_arterial_phase_the_first_one_is_the_reference(dataset_dir):
    (dataset_dir / "imagesTr" / "liver-01_0001.nii.gz").unlink()
    study = FolderSource(dataset_dir).open("liver-01")
    assert study.reference == "liver-01_0000"


def test_new_and_removed_files_show(dataset_dir, tmp_path):
    folder = flat(dataset_dir, tmp_path, "liver-01")
    settle(folder)
    source = FolderSource(folder)
    assert cases(source) == ["liver-01"]
    flat(dataset_dir, tmp_path, "liver-02")
    assert cases(source) == ["liver-01", "liver-02"]
    for file in folder.glob("liver-01_*"):
        file.unlink()
    assert cases(source) == ["liver-02"]
    with pytest.raises(UnknownError):
        source.open("liver-01")


def test_an_empty_folder_can_fill_up(dataset_dir, tmp_path):
    (tmp_path / "flat").mkdir()
    source = FolderSource(tmp_path / "flat")
    assert cases(source) == []
    flat(dataset_dir, tmp_path, "liver-04")
    assert cases(source) == ["liver-04"]


def test_nothing_is_listed_while_nothing_changes(dataset_dir, monkeypatch):
    settle(dataset_dir)
    source = FolderSource(dataset_dir)
    monkeypatch.setattr(folder_module, "read_dataset", lambda root: pytest.fail("the table was read again"))
    assert cases(source) == ALL


def test_a_folder_that_changed_just_now_is_looked_at_again(dataset_dir, monkeypatch):
    os.utime(dataset_dir)
    source = FolderSource(dataset_dir)
    monkeypatch.setattr(folder_module, "read_dataset", lambda root: [])
    # A second change within the clock's tick would leave the same time of change.
    assert cases(source) == []


def test_a_table_that_breaks_later_keeps_the_list(dataset_dir, caplog):
    source = FolderSource(dataset_dir)
    table = dataset_dir / "subjects.csv"
    whole = table.read_text()
    table.write_text("half")
    assert cases(source) == ALL
    assert str(dataset_dir) not in caplog.text
    assert "subjects.csv cannot be read" in caplog.text
    table.write_text("\n".join(whole.splitlines()[:3]) + "\n")
    assert cases(source) == ["liver-01", "liver-02"]


def test_refresh_looks_whatever_the_times_say(dataset_dir, tmp_path):
    folder = flat(dataset_dir, tmp_path, "liver-01")
    settle(folder)
    source = FolderSource(folder)
    flat(dataset_dir, tmp_path, "liver-02")
    settle(folder)
    assert cases(source) == ["liver-01"]
    source.refresh()
    assert cases(source) == ["liver-01", "liver-02"]
