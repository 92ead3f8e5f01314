from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from scripts.domain.errors import ConfigurationError, DatasetError
from scripts.domain.folder_lock import FolderLock
from scripts.studies.dicom.destination import Destination
from scripts.studies.dicom.privacy import Salt

TIMES_S = (None, 25.5, 70.0, 180.0)


def add(destination: Destination, case: str, *, figure: bool = False) -> tuple[Path, ...]:
    with destination.aside() as prepared:
        folder = Path(prepared)
        for phase in range(4):
            (folder / f"{case}_000{phase}.nii.gz").write_text(f"{case} {phase}")
        (folder / "import.json").write_text(json.dumps({"case": case, "salt": destination.salt.fingerprint}))
        if figure:
            (folder / "registration_pre.jpg").write_text("picture")
        return destination.add(folder, case, site="Siemens 3T", times_s=TIMES_S)


def names_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


# Wrong input first.


def test_a_folder_of_other_things_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(ConfigurationError, match=r"holds other things than a dataset with subjects\.csv"):
        Destination(tmp_path)
    with pytest.raises(ConfigurationError, match="is a file"):
        Destination(tmp_path / "thesis.tex")
    assert names_below(tmp_path) == ["thesis.tex"]


def test_a_broken_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "subjects.csv").write_text("case,class\n")
    with pytest.raises(DatasetError, match="lacks the column"):
        Destination(tmp_path)


def test_a_lost_salt_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    add(Destination(folder), "case-1")
    (folder / ".salt").unlink()
    with pytest.raises(ConfigurationError, match=r"with a salt that is not in it.*--salt_file"):
        Destination(folder)


def test_another_salt_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    add(Destination(folder), "case-1")
    Salt.new().write(tmp_path / "salt")
    with pytest.raises(ConfigurationError, match="with another salt than that of"):
        Destination(folder, salt_file=tmp_path / "salt")


def test_two_imports_into_one_folder_at_once_are_refused(tmp_path: Path) -> None:
    first = Destination(tmp_path / "out")
    for _ in range(2):
        with pytest.raises(
            ConfigurationError, match=r"another import is writing to output_dir .*out\. Wait until it ends"
        ):
            Destination(tmp_path / "out")
    add(first, "case-1")
    first.close()
    second = Destination(tmp_path / "out")
    add(second, "case-2")
    second.close()
    assert [row["case"] for row in csv.DictReader((tmp_path / "out" / "subjects.csv").open(newline=""))] == [
        "case-1",
        "case-2",
    ]
    assert not (tmp_path / "out" / ".lock").exists()


def test_a_lock_that_was_given_up_keeps_nobody_out(tmp_path: Path) -> None:
    """What waits for a lock may get that of a file which its holder has just taken away."""
    held = FolderLock(tmp_path)
    (tmp_path / ".lock").unlink()
    other = FolderLock(tmp_path)
    with pytest.raises(ConfigurationError, match="another import"):
        FolderLock(tmp_path)
    held.release()
    other.release()
    FolderLock(tmp_path).release()
    assert list(tmp_path.iterdir()) == []


def test_a_salt_that_another_import_made_meanwhile_is_not_overruled(tmp_path: Path) -> None:
    """Two folders, one new salt file."""
    first, second = (Destination(tmp_path / name, salt_file=tmp_path / "salt") for name in "ab")
    add(first, "case-1")
    with pytest.raises(
        ConfigurationError, match=r"another import has made this salt meanwhile\. Start this import again"
    ):
        second.aside()
    second.close()
    first.close()
    assert (tmp_path / "salt").is_file()
    assert not (tmp_path / "b").exists()


def test_an_unwritable_disk_is_said_without_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Path, *_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "mkdir", fail)
    with pytest.raises(ConfigurationError) as caught:
        Destination(tmp_path / "PLANTED" / "out")
    said = "output_dir cannot be written: Permission denied. Free space or give another folder"
    assert str(caught.value) == said


@pytest.mark.parametrize("salt", [".salt", "../project.salt"])
def test_an_import_that_was_killed_in_its_first_study_costs_nothing(tmp_path: Path, salt: str) -> None:
    folder = tmp_path / "out"
    for name in (".importing-x1/case-1_0000.nii.gz", "imagesTs/case-1_0000.nii.gz", "import/case-1/import.json"):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text("from before")
    for name in (".lock", ".4711.subjects.csv", ".4711..salt"):
        (folder / name).write_text("from before")
    Salt.new().write(folder / salt)
    salt_file = None if salt == ".salt" else folder / salt
    destination = Destination(folder, salt_file=salt_file)
    add(destination, "case-1")
    destination.close()
    images = [f"imagesTs/case-1_000{phase}.nii.gz" for phase in range(4)]
    own = [".salt"] if salt == ".salt" else []
    assert names_below(folder) == [*own, "dataset.json", *images, "import/case-1/import.json", "subjects.csv"]
    assert (folder / "imagesTs" / "case-1_0000.nii.gz").read_text() == "case-1 0"


def test_images_without_a_table_and_without_a_salt_are_somebody_elses(tmp_path: Path) -> None:
    (tmp_path / "imagesTs").mkdir()
    with pytest.raises(ConfigurationError, match="holds other things"):
        Destination(tmp_path)
    (tmp_path / "imagesTs").rmdir()
    (tmp_path / ".salt").write_text("x")
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(ConfigurationError, match="holds other things"):
        Destination(tmp_path)
    assert names_below(tmp_path) == [".salt", "thesis.tex"]


def test_without_a_study_the_disk_is_as_before(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "new" / "out", tmp_path / "empty"):
        destination = Destination(folder)
        with destination.aside():
            pass
        assert (folder / ".salt").is_file()
        destination.close()
    assert list(tmp_path.iterdir()) == [tmp_path / "empty"]
    assert list((tmp_path / "empty").iterdir()) == []


def test_a_refused_folder_is_as_before(tmp_path: Path) -> None:
    (tmp_path / ".salt").write_text("no salt")
    with pytest.raises(ConfigurationError, match="not a salt"):
        Destination(tmp_path)
    assert names_below(tmp_path) == [".salt"]
    with pytest.raises(ConfigurationError, match="not a salt"):
        Destination(tmp_path / "new", salt_file=tmp_path / ".salt")
    assert names_below(tmp_path) == [".salt"]
    assert not (tmp_path / "new").exists()


def test_a_study_that_cannot_be_taken_over_leaves_nothing(tmp_path: Path) -> None:
    destination = Destination(tmp_path / "out")
    with destination.aside() as prepared:
        (Path(prepared) / "case-1_0000.nii.gz").write_text("x")
        with pytest.raises(FileNotFoundError):
            destination.add(Path(prepared), "case-1", site="", times_s=TIMES_S)
    assert names_below(tmp_path / "out") == [".lock", ".salt"]
    assert destination.cases == set()


def test_a_study_comes_whole_with_its_row_last(tmp_path: Path) -> None:
    destination = Destination(tmp_path)
    files = add(destination, "case-1", figure=True)
    add(destination, "case-2")
    destination.close()
    images = [f"imagesTs/case-{case}_000{phase}.nii.gz" for case in (1, 2) for phase in range(4)]
    about = ["import/case-1/import.json", "import/case-1/registration_pre.jpg", "import/case-2/import.json"]
    assert names_below(tmp_path) == [".salt", "dataset.json", *images, *about, "subjects.csv"]
    assert [file.read_text() for file in files] == [f"case-1 {phase}" for phase in range(4)]
    assert (tmp_path / "subjects.csv").read_text() == (
        "case,class,split,fold,site,t_pre,t_arterial,t_portal_venous,t_delayed\n"
        "case-1,,test,,Siemens 3T,,25.5,70,180\n"
        "case-2,,test,,Siemens 3T,,25.5,70,180\n"
    )
    assert [(record["case"], about) for record, about in destination.records()] == [
        (case, tmp_path / "import" / case) for case in ("case-1", "case-2")
    ]


def test_what_a_user_wrote_into_the_table_stays(tmp_path: Path) -> None:
    add(Destination(tmp_path), "case-1")
    table = tmp_path / "subjects.csv"
    rows = list(csv.DictReader(table.open(newline="")))
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, [*rows[0], "comment"])
        writer.writeheader()
        writer.writerow(rows[0] | {"class": "hcc", "split": "train", "fold": "2", "comment": "biopsy, twice"})
    destination = Destination(tmp_path)
    assert destination.cases == {"case-1"}
    add(destination, "case-2")
    destination.close()
    first, second = csv.DictReader(table.open(newline=""))
    assert (first["class"], first["split"], first["fold"], first["comment"]) == ("hcc", "train", "2", "biopsy, twice")
    assert (second["case"], second["class"], second["comment"]) == ("case-2", "", "")
    assert json.loads((tmp_path / "dataset.json").read_text())["numTraining"] == 1


def test_what_a_user_wrote_during_the_import_stays(tmp_path: Path) -> None:
    destination = Destination(tmp_path)
    add(destination, "case-1")
    table = tmp_path / "subjects.csv"
    table.write_text(table.read_text().replace("case-1,,test", "case-1,hcc,test"))
    add(destination, "case-2")
    destination.close()
    rows = list(csv.DictReader(table.open(newline="")))
    assert [(row["case"], row["class"]) for row in rows] == [("case-1", "hcc"), ("case-2", "")]


def test_what_an_interrupted_import_left_is_replaced(tmp_path: Path) -> None:
    destination = Destination(tmp_path)
    add(destination, "case-1")
    destination.close()
    (tmp_path / "imagesTs" / "case-2_0000.nii.gz").write_text("from before")
    (tmp_path / "import" / "case-2").mkdir()
    (tmp_path / "import" / "case-2" / "registration_pre.jpg").write_text("from before")
    again = Destination(tmp_path)
    add(again, "case-2")
    assert (tmp_path / "imagesTs" / "case-2_0000.nii.gz").read_text() == "case-2 0"
    assert not (tmp_path / "import" / "case-2" / "registration_pre.jpg").exists()


def test_a_salt_file_is_shared_between_folders(tmp_path: Path) -> None:
    first = Destination(tmp_path / "a", salt_file=tmp_path / "project.salt")
    add(first, "case-1")
    second = Destination(tmp_path / "b", salt_file=tmp_path / "project.salt")
    assert second.salt.fingerprint == first.salt.fingerprint
    assert not (tmp_path / "a" / ".salt").exists()
    second.close()
    assert (tmp_path / "project.salt").is_file()
