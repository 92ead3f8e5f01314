"""What `inferring` opens: wrong input first, and that nothing that was there is lost by it."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from scripts.domain.errors import ConfigurationError, DatasetError, StudyError
from scripts.studies.opening import holds_dicom, open_studies

DICOM = b"\0" * 128 + b"DICM" + b"\0" * 60
WITHOUT_PREAMBLE = b"\x08\x00\x05\x00" + b"\0" * 60


@pytest.fixture
def export(tmp_path):
    """A folder with something that begins like DICOM."""
    folder = tmp_path / "export" / "a" / "b"
    folder.mkdir(parents=True)
    (folder / "IM1").write_bytes(DICOM)
    return tmp_path / "export"


@pytest.fixture
def earlier(tmp_path):
    """The output of an earlier run, with an import in it."""
    imported = tmp_path / "out" / "imported"
    (imported / "import" / "case-1").mkdir(parents=True)
    (imported / "subjects.csv").write_text("earlier")
    return tmp_path / "out"


def test_a_single_dicom_file_is_told_from_a_nifti_file(export, tmp_path):
    with pytest.raises(DatasetError, match=r"a single DICOM file\. Give the folder"):
        open_studies(export / "a" / "b" / "IM1", tmp_path / "out")


@pytest.mark.parametrize("arguments", [{"register": "rigd"}, {"phases": "{"}, {"phases": {"late": "3"}}])
def test_a_wrong_argument_leaves_an_earlier_import(export, earlier, arguments):
    with pytest.raises(ConfigurationError):
        open_studies(export, earlier, **arguments)
    assert (earlier / "imported" / "subjects.csv").read_text() == "earlier"
    assert [path.name for path in earlier.iterdir() if path.name.startswith(".imported")] == []


def test_an_export_without_a_study_leaves_an_earlier_import(export, earlier):
    with pytest.raises((DatasetError, StudyError)):
        open_studies(export, earlier)
    assert (earlier / "imported" / "subjects.csv").read_text() == "earlier"


@pytest.mark.parametrize("work", ["labelsTr", "labelsTs"])
def test_a_readers_work_is_never_replaced(export, earlier, work):
    (earlier / "imported" / work).mkdir()
    with pytest.raises(ConfigurationError, match="holds other things than an import"):
        open_studies(export, earlier)
    assert (earlier / "imported" / work).is_dir()


def test_a_new_import_takes_the_place_of_the_earlier_one(export, earlier, monkeypatch):
    asked = {}

    def imports(path, folder, **options):
        asked.update(options, path=path)
        Path(folder).mkdir()
        (Path(folder) / "subjects.csv").write_text("new")
        study = SimpleNamespace(case=SimpleNamespace(case="case-2"))
        return SimpleNamespace(studies=[study], failed=[])

    monkeypatch.setattr("scripts.studies.dicom.importing.import_studies", imports)
    monkeypatch.setattr("scripts.studies.dicom.import_report.outcome_table", lambda _: "")
    opened = open_studies(export, earlier, keep_identity="true", salt_file="other")
    assert list(opened.from_dicom) == ["case-2"]
    assert (earlier / "imported" / "subjects.csv").read_text() == "new"
    assert not (earlier / ".imported-before").exists()
    assert asked["keep_identity"] is True
    assert asked["salt_file"] == "other"


def test_dicom_is_found_at_any_depth_behind_many_strangers_and_without_a_preamble(tmp_path):
    deep = tmp_path / "viewer" / "images" / "0"
    deep.mkdir(parents=True)
    for number in range(300):
        (tmp_path / "viewer" / f"{number}.dll").write_bytes(b"MZ")
    assert not holds_dicom(tmp_path)
    (deep / "IM").write_bytes(WITHOUT_PREAMBLE)
    assert holds_dicom(tmp_path)


def test_a_folder_with_nifti_files_is_no_export(tmp_path):
    (tmp_path / "IM").write_bytes(DICOM)
    (tmp_path / "a_0000.nii.gz").write_bytes(b"")
    assert not holds_dicom(tmp_path)
