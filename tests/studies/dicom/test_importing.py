"""The import as a library: its arguments, several studies, and an import into the same folder again."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from scripts.domain.errors import ConfigurationError, DatasetError
from scripts.studies.dicom.importing import ImportOutcome, import_studies


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"register": "affine"}, "register is 'affine'; it must be one of none, rigid, deformable"),
        ({"phases": "arterial=7"}, "phases is not JSON"),
        ({"phases": "[7]"}, "phases is not a mapping"),
        ({"phases": {"aterial": "7"}}, "phases names 'aterial'; the phases are pre, arterial"),
        ({"phases": {"arterial": None}}, "phases gives arterial no series number or UID"),
        ({"phases": {"arterial": " "}}, "phases gives arterial no series number or UID"),
    ],
)
def test_a_wrong_argument_is_refused_before_anything_is_read(
    options: dict, message: str, sent: Callable[..., ImportOutcome], tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        sent(**options)
    assert not (tmp_path / "out").exists()


def test_a_missing_folder_and_a_folder_without_images_are_refused(
    sent: Callable[..., ImportOutcome], tmp_path: Path
) -> None:
    with pytest.raises(DatasetError, match="no such folder"):
        sent()
    (tmp_path / "in").mkdir()
    with pytest.raises(DatasetError, match=r"no MR image in input_dir\. It holds no file"):
        sent()
    (tmp_path / "in" / "notes.txt").write_text("x")
    with pytest.raises(DatasetError, match=r"no MR image in input_dir\. Its files: 1 not DICOM"):
        sent()
    assert not (tmp_path / "out").exists()


def test_an_output_below_the_input_is_refused(study: object) -> None:
    with pytest.raises(ConfigurationError, match="lies in input_dir"):
        import_studies(study.folder, study.folder / "out", register="none")
    assert not (study.folder / "out").exists()


def test_a_series_that_no_study_has_is_refused(study: object, sent: Callable[..., ImportOutcome]) -> None:
    with pytest.raises(ConfigurationError, match="phases gives arterial the series 77, which no study"):
        sent(phases={"arterial": "77"})


@pytest.mark.parametrize("name", ["Case^Salt", "Scanner^Series"])
def test_a_patient_named_like_a_word_of_the_record(
    name: str, dicom_phantom: ModuleType, sent: Callable[..., ImportOutcome], tmp_path: Path
) -> None:
    filing = dicom_phantom.Filing(patient=dicom_phantom.Patient(name=name, patient_id="NONE"))
    dicom_phantom.separate_series(tmp_path / "in", filing=filing)
    (study,) = sent().studies
    record = json.loads((tmp_path / "out" / "import" / study.case.case / "import.json").read_text())
    assert record["case"] == study.case.case
    assert sent().already == (study.case.case,)


@pytest.mark.usefixtures("two_studies")
def test_studies_of_one_patient_in_one_folder(sent: Callable[..., ImportOutcome]) -> None:
    outcome = sent()
    assert outcome.failed == ()
    first, second = (study.case.case for study in outcome.studies)
    assert first != second
    assert first.rpartition("-")[0] == second.rpartition("-")[0]


@pytest.mark.usefixtures("two_studies")
def test_a_second_import_adds_what_is_new_and_touches_nothing_else(
    sent: Callable[..., ImportOutcome], dicom_phantom: ModuleType, tmp_path: Path
) -> None:
    first = sent()
    images = {file: file.stat().st_mtime_ns for file in (tmp_path / "out" / "imagesTs").iterdir()}
    dicom_phantom.trigger_times(tmp_path / "in" / "new", filing=dicom_phantom.Filing(key="third"))
    second = sent()
    assert sorted(second.already) == sorted(study.case.case for study in first.studies)
    assert len(second.studies) == 1
    assert {file: file.stat().st_mtime_ns for file in images} == images
    rows = list(csv.DictReader((tmp_path / "out" / "subjects.csv").open(newline="")))
    assert [row["case"] for row in rows] == [study.case.case for study in (*first.studies, *second.studies)]
    third = sent()
    assert (third.studies, third.failed, len(third.already)) == ((), (), 3)


def test_a_shared_salt_gives_one_name_in_two_datasets(study: object, tmp_path: Path) -> None:
    cases = [
        import_studies(tmp_path / "in", tmp_path / name, register="none", salt_file=tmp_path / "salt", progress=False)
        .studies[0]
        .case.case
        for name in ("a", "b")
    ]
    assert cases[0] == cases[1]
    unrelated = import_studies(tmp_path / "in", tmp_path / "c", register="none", progress=False)
    assert unrelated.studies[0].case.case != cases[0]


def test_identity_is_kept_on_demand(study: object, sent: Callable[..., ImportOutcome], tmp_path: Path) -> None:
    outcome = sent(keep_identity=True)
    case = outcome.studies[0].case.case
    assert case.startswith(f"case-{study.patient.patient_id}-")
    assert outcome.records[0]["identity"]["patient_name"] == study.patient.name
    assert study.patient.patient_id in (tmp_path / "out" / "import_report.html").read_text()
