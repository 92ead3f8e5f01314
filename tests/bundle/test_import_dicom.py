"""`import_dicom` as users type it: one command from a folder of DICOM files to a dataset that `inferring` takes."""

from __future__ import annotations

import gzip
import json
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest

CONFIG = "import_dicom.yaml"

# Said where the files are planted; what is tested runs in processes of its own.
pytestmark = pytest.mark.filterwarnings("ignore:Invalid value for VR")


def contents(folder: Path) -> str:
    """Names and contents of everything that was written, also unpacked."""
    texts = []
    for file in (path for path in folder.rglob("*") if path.is_file()):
        content = file.read_bytes()
        if content[:2] == b"\x1f\x8b":
            content += gzip.decompress(content)
        texts += [str(file.relative_to(folder)), content.decode("latin-1")]
    return "\n".join(texts).upper()


def assert_nothing_planted(text: str, words: tuple[str, ...]) -> None:
    found = [word for word in words if word.upper() in text.upper()]
    assert found == []


@pytest.fixture(scope="module")
def patient(dicom_phantom: ModuleType) -> object:
    """Whose every identifying word is in no dictionary."""
    return dicom_phantom.Patient(name="PLANTEDSURNAME^PLANTEDGIVEN")


@pytest.fixture(scope="module")
def sent(dicom_phantom: ModuleType, patient: object, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two good studies, one that nothing tells apart, one spoilt, and strangers; folders named after the patient."""
    folder = tmp_path_factory.mktemp("in")
    named = folder / "PLANTEDSURNAME PLANTEDGIVEN"
    filing, bad = partial(dicom_phantom.Filing, patient=patient), dicom_phantom.bad_input
    dicom_phantom.misspelt(named / "1", filing=filing(key="one", nested=True, shuffled=True))
    good = dicom_phantom.enhanced_multi_frame(named / "2", filing=filing(key="two"))
    bad.edit(good.files, SeriesDescription="dyn mDIXON PLANTEDNOTE", StudyDescription="PLANTEDNOTE")
    dicom_phantom.ambiguous(folder / "PLANTED-ID-77", filing=filing(key="three"))
    spoilt = dicom_phantom.separate_series(folder / "PLANTED", filing=filing(key="four"))
    bad.edit(spoilt.files, PatientBirthDate="PLANTED DATE", SeriesDescription="PLANTEDNOTE t1 vibe dyn")
    bad.edit(spoilt.of_role("delayed").files, AcquisitionTime="PLANTED TIME")
    bad.truncate(spoilt.of_role("arterial").files[4])
    bad.add_strangers(folder / "PLANTED")
    return folder


@pytest.fixture(scope="module")
def imported(bundle, sent: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[object, Path]:
    """The command and what it wrote."""
    folder = tmp_path_factory.mktemp("imported") / "out"
    overrides = {"input_dir": sent, "output_dir": folder, "register": "none"}
    return bundle.run("import_dicom", CONFIG, overrides), folder


# Wrong input first.


def test_a_missing_folder_is_refused(bundle, tmp_path):
    finished = bundle.run("import_dicom", CONFIG, {"input_dir": tmp_path / "nowhere", "output_dir": tmp_path / "out"})
    assert finished.code != 0
    assert finished.error.startswith("error: ")
    assert "no such folder" in finished.error
    assert "Traceback" not in finished.stdout + finished.stderr
    assert not (tmp_path / "out").exists()


def test_a_forgotten_folder_is_asked_for(bundle, tmp_path):
    finished = bundle.run("import_dicom", CONFIG, {"output_dir": tmp_path / "out"})
    assert finished.code != 0
    assert "--input_dir" in finished.error


def test_no_study_at_all_is_an_error_with_the_candidates(bundle, dicom_phantom, patient, tmp_path):
    filing = dicom_phantom.Filing(patient=patient)
    dicom_phantom.ambiguous(tmp_path / "in" / "PLANTED", filing=filing)
    finished = bundle.run("import_dicom", CONFIG, {"input_dir": tmp_path / "in", "output_dir": tmp_path / "out"})
    assert finished.code != 0
    assert finished.error.startswith("error: none of 1 studies could be imported: ")
    assert "--phases" in finished.error
    assert "Traceback" not in finished.stdout + finished.stderr
    assert "likely phase" in finished.stdout
    assert not (tmp_path / "out").exists()
    assert_nothing_planted(finished.stdout + finished.stderr, patient.words)


# Then what it does.


def test_good_studies_are_imported_whatever_lies_beside_them(imported):
    finished, folder = imported
    assert finished.code == 0, finished.stderr
    assert "Imported 2 of 4 studies" in finished.stdout
    assert "Not imported" in finished.stdout
    assert "Traceback" not in finished.stdout + finished.stderr
    assert len(list((folder / "imagesTs").glob("case-*_000?.nii.gz"))) == 8
    assert not list(folder.glob(".importing*"))
    records = [json.loads(file.read_text()) for file in folder.glob("import/*/import.json")]
    assert len({record["case"].rpartition("-")[0] for record in records}) == 1
    assert len(records) == 2


def test_nothing_of_the_patient_is_written_or_printed(imported, patient):
    finished, folder = imported
    assert_nothing_planted(contents(folder), patient.words)
    assert_nothing_planted(finished.stdout + finished.stderr, patient.words)


def test_typed_again_it_adds_nothing_and_says_so(imported, bundle, sent):
    _, folder = imported
    before = {file: file.stat().st_mtime_ns for file in (folder / "imagesTs").iterdir()}
    finished = bundle.run("import_dicom", CONFIG, {"input_dir": sent, "output_dir": folder, "register": "none"})
    assert finished.code == 0, finished.stderr
    assert "Imported before and left as they are: case-" in finished.stdout
    assert {file: file.stat().st_mtime_ns for file in before} == before


def test_phases_typed_by_the_user(bundle, dicom_phantom, tmp_path):
    dicom_phantom.ambiguous(tmp_path / "in")
    phases = '{"pre": "5", "arterial": 6, "portal_venous": "7", "delayed": "9"}'
    overrides = {"input_dir": tmp_path / "in", "output_dir": tmp_path / "out", "register": "none", "phases": phases}
    finished = bundle.run("import_dicom", CONFIG, overrides)
    assert finished.code == 0, finished.stderr
    (record,) = (json.loads(file.read_text()) for file in (tmp_path / "out").glob("import/*/import.json"))
    assert [phase["series_number"] for phase in record["phases"].values()] == [5, 6, 7, 9]


def test_inferring_takes_what_it_wrote(imported, bundle, trained, quick, tmp_path):
    _, folder = imported
    overrides = {"dataset_dir": folder, "output_dir": tmp_path / "results", "ckpt_path": trained / "model.pt"}
    finished = bundle.run("inferring", "inference.yaml", quick | overrides)
    assert finished.code == 0, finished.stderr
    assert len(list((tmp_path / "results").glob("case-*/result.json"))) == 2
