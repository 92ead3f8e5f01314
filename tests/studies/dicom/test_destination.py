from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from scripts.domain.errors import ConfigurationError, DatasetError
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


def test_without_a_study_the_disk_is_as_before(tmp_path: Path) -> None:
    destination = Destination(tmp_path / "out")
    with destination.aside():
        pass
    assert (tmp_path / "out" / ".salt").is_file()
    destination.close()
    assert not (tmp_path / "out").exists()
    (tmp_path / "empty").mkdir()
    Destination(tmp_path / "empty").close()
    assert list((tmp_path / "empty").iterdir()) == []


def test_a_study_that_cannot_be_taken_over_leaves_nothing(tmp_path: Path) -> None:
    destination = Destination(tmp_path / "out")
    with destination.aside() as prepared:
        (Path(prepared) / "case-1_0000.nii.gz").write_text("x")
        with pytest.raises(FileNotFoundError):
            destination.add(Path(prepared), "case-1", site="", times_s=TIMES_S)
    assert names_below(tmp_path / "out") == [".salt"]
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
    first, second = csv.DictReader(table.open(newline=""))
    assert (first["class"], first["split"], first["fold"], first["comment"]) == ("hcc", "train", "2", "biopsy, twice")
    assert (second["case"], second["class"], second["comment"]) == ("case-2", "", "")
    destination.close()
    assert json.loads((tmp_path / "dataset.json").read_text())["numTraining"] == 1


def test_what_an_interrupted_import_left_is_replaced(tmp_path: Path) -> None:
    destination = Destination(tmp_path)
    add(destination, "case-1")
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
