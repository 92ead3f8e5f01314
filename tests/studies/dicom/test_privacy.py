from __future__ import annotations

import logging
import stat
import warnings
from pathlib import Path

import pytest
from pydicom import config
from pydicom.dataset import Dataset

from scripts.domain.errors import ConfigurationError
from scripts.studies.dicom.privacy import (
    REMOVED,
    Salt,
    Sweep,
    case_id,
    identity,
    patient_id,
    quiet_libraries,
    same_patient,
)


def header_of(**elements: object) -> Dataset:
    header = Dataset()
    values = {"StudyInstanceUID": "1.2.826.0.1.3680043.8.498.77", "PatientID": "MRN-4711"} | elements
    for keyword, value in values.items():
        setattr(header, keyword, value)
    return header


# Wrong input first.


@pytest.mark.parametrize("content", [b"", b"secret\n", b"ab" * 31, "ü".encode() * 40])
def test_a_file_that_is_no_salt_is_refused(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "salt"
    file.write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"salt: not a salt of this importer .* Give the file"):
        Salt.read(file)
    assert file.read_bytes() == content


def test_a_salt_is_never_replaced(tmp_path: Path) -> None:
    salt = Salt.new()
    salt.write(tmp_path / "salt")
    with pytest.raises(ConfigurationError, match="cannot be written"):
        Salt.new().write(tmp_path / "salt")
    assert Salt.read(tmp_path / "salt").fingerprint == salt.fingerprint
    assert [file.name for file in tmp_path.iterdir()] == ["salt"]


def test_a_salt_is_for_its_owner_and_survives_the_disk(tmp_path: Path) -> None:
    salt = Salt.new()
    salt.write(tmp_path / "project" / ".salt")
    assert stat.S_IMODE((tmp_path / "project" / ".salt").stat().st_mode) == 0o600
    again = Salt.read(tmp_path / "project" / ".salt")
    assert again.digest("patient", "7") == salt.digest("patient", "7")
    assert Salt.new().digest("patient", "7") != salt.digest("patient", "7")


def test_a_digest_does_not_run_words_together() -> None:
    salt = Salt.new()
    assert salt.digest("ab", "c") != salt.digest("a", "bc")


def test_ids_group_the_studies_of_a_patient_and_say_nothing_else() -> None:
    salt = Salt.new()
    first = case_id(salt, study_uid="1.2.3", patient_id="MRN-4711")
    second = case_id(salt, study_uid="1.2.4", patient_id="MRN-4711")
    other = case_id(salt, study_uid="1.2.3", patient_id="MRN-4712")
    assert first == case_id(salt, study_uid="1.2.3", patient_id="MRN-4711")
    assert len({first, second, other}) == 3
    assert first.rpartition("-")[0] == second.rpartition("-")[0] != other.rpartition("-")[0]
    assert first != case_id(Salt.new(), study_uid="1.2.3", patient_id="MRN-4711")
    assert "4711" not in first


def test_studies_without_a_patient_id_are_not_one_patient() -> None:
    salt = Salt.new()
    first, second = (case_id(salt, study_uid=uid, patient_id="") for uid in ("1.2.3", "1.2.4"))
    assert first.rpartition("-")[0] != second.rpartition("-")[0]


@pytest.mark.parametrize(
    ("given", "start"), [("MRN-4711", "case-MRN-4711-"), ("../A b/7^x", "case-A-b-7-x-"), ("Ä", "case-")]
)
def test_a_kept_identity_can_name_a_file(given: str, start: str) -> None:
    case = case_id(Salt.new(), study_uid="1.2.3", patient_id=given, keep_identity=True)
    assert case.startswith(start)
    assert not set(case) & set("/ ^Ä")


def test_the_first_patient_id_counts() -> None:
    assert patient_id([header_of(PatientID=""), header_of(PatientID=" 12 ")]) == "12"
    assert patient_id([header_of(PatientID="")]) == ""


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ({"PatientID": "1"}, {"PatientID": "2"}, False),
        ({"PatientBirthDate": "19500101"}, {"PatientBirthDate": "19500102"}, False),
        ({"PatientID": "", "PatientName": "Doe^Jane"}, {"PatientID": "", "PatientName": "Roe^Jane"}, False),
        ({"PatientName": "Doe^Jane"}, {"PatientName": "DOE JANE^^"}, True),
        ({"PatientName": "Doe^Jane"}, {"PatientName": "Married^Jane"}, True),
        ({"PatientID": "", "PatientBirthDate": ""}, {"PatientBirthDate": "19500101"}, True),
    ],
)
def test_what_makes_two_patients(first: dict, second: dict, expected: bool) -> None:
    assert same_patient([header_of(**first), header_of(**second)]) is expected


def test_identity_is_what_finds_the_study_again() -> None:
    kept = identity(header_of(PatientName="Doe^Jane", AccessionNumber="A-77"))
    assert kept == {
        "patient_id": "MRN-4711",
        "patient_name": "Doe^Jane",
        "study_instance_uid": "1.2.826.0.1.3680043.8.498.77",
        "study_date": "",
        "accession_number": "A-77",
    }


def test_libraries_are_silent_inside_and_as_before_outside(caplog: pytest.LogCaptureFixture) -> None:
    mode = config.settings.reading_validation_mode
    level = logging.getLogger("pydicom").level
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with quiet_libraries():
            warnings.warn("Invalid value for VR PN: 'Doe^Jane'", stacklevel=1)
            logging.getLogger("pydicom").error("Doe^Jane")
            logging.getLogger("pydicom.encoders").error("Doe^Jane")
        warnings.warn("heard", stacklevel=1)
    assert [str(each.message) for each in caught] == ["heard"]
    assert caplog.text == ""
    assert config.settings.reading_validation_mode == mode
    assert logging.getLogger("pydicom").level == level


def test_a_sweep_takes_names_numbers_descriptions_and_paths_out() -> None:
    header = header_of(
        PatientName="Doe-Smith^Jane",
        PatientBirthDate="19510203",
        SeriesInstanceUID="1.2.3.4",
    )
    file = Path("/data/doe jane/series 4/im 0001")
    text = "doe's MRN-4711 born 19510203, SMITH in /data/doe jane/series 4/im 0001 (1.2.3.4): series 7"
    swept = Sweep.of([header], [file]).content({"text": [text, 4], "pair": ("Jane", None)})
    assert swept == {
        "text": [
            f"{REMOVED}'s {REMOVED} born {REMOVED}, {REMOVED} in {REMOVED} ({REMOVED}): series 7",
            4,
        ],
        "pair": [REMOVED, None],
    }


def test_a_sweep_leaves_the_numbers_of_series_alone() -> None:
    """Advice names series by them, and some systems number a study as they number its series."""
    header = header_of(StudyID="1001", AccessionNumber="1002", SeriesNumber=1001)
    assert Sweep.of([header]).text("series 1001 of 1002") == f"series 1001 of {REMOVED}"


def test_a_sweep_leaves_ordinary_words_alone() -> None:
    header = header_of(PatientName="Li^Art", PatientID="7", StudyID="1", SeriesDescription="arterial")
    text = "series 7, slice 1 of 20: arterial by its time"
    assert Sweep.of([header]).text(text) == text
    assert Sweep().text(text) == text


def test_a_value_that_cannot_be_converted_is_no_value() -> None:
    class Broken(Dataset):
        def get(self, *_: object) -> object:
            raise ValueError

    assert patient_id([Broken()]) == ""
    assert Sweep.of([Broken()]).text("as it is") == "as it is"
