import copy
import dataclasses
import logging
import subprocess
import warnings

import pydicom
import pytest
import requests
from dicomweb_client import DICOMwebClient

from scripts.domain.errors import StudyError
from scripts.results.dicom import writing
from scripts.results.dicom.source import DicomSource
from scripts.results.dicom.writing import FILES, write_dicom

PLANTED = ("Häßlich", "Jürgen", "PID-4711", "19570203", "ACC-99", "Doctor")


def test_refuses_a_source_without_a_phase_that_the_study_has(finished, tmp_path):
    phases = {name: stack for name, stack in finished.written.source.phases.items() if name != "delayed"}
    with pytest.raises(StudyError, match=r"no DICOM source for the phase\(s\) delayed"):
        write_dicom(
            tmp_path / "out",
            study=finished.written.study,
            result=finished.result,
            mask=finished.mask,
            source=DicomSource(phases),
        )
    assert not (tmp_path / "out").exists()


def test_a_failure_leaves_an_older_result_as_it_was(finished, tmp_path, monkeypatch):
    def fail(*_, **__):
        msg = "disk full"
        raise OSError(msg)

    for name in FILES.values():
        (tmp_path / name).write_bytes(b"older")
    documents = writing._documents(finished.written.study, finished.result, finished.mask, finished.written.source)
    documents["page"].save_as = fail
    monkeypatch.setattr(writing, "_documents", lambda *_: documents)
    with pytest.raises(OSError, match="disk full"):
        write_dicom(
            tmp_path,
            study=finished.written.study,
            result=finished.result,
            mask=finished.mask,
            source=finished.written.source,
        )
    assert {path.name for path in tmp_path.iterdir()} == set(FILES.values())
    assert {path.read_bytes() for path in tmp_path.iterdir()} == {b"older"}


def test_all_belong_to_the_source_study_in_series_of_their_own(finished):
    header = finished.written.source.reference.header
    read = [pydicom.dcmread(path) for path in finished.files.values()]
    for keyword in (
        "StudyInstanceUID",
        "PatientID",
        "PatientName",
        "PatientBirthDate",
        "PatientSex",
        "StudyID",
        "AccessionNumber",
        "StudyDate",
        "StudyTime",
        "StudyDescription",
        "ReferringPhysicianName",
    ):
        assert {str(x[keyword].value) for x in read} == {str(header[keyword].value)}
    assert {str(x.PatientName) for x in read} == {"Häßlich^Jürgen"}
    series = {stack.header.SeriesInstanceUID for stack in finished.written.source.phases.values()}
    assert len(series | {x.SeriesInstanceUID for x in read}) == 4 + 3
    assert [x.SeriesNumber for x in read] == [9001, 9002, 9003]
    for x in read:
        assert "research use only" in x.SeriesDescription
        assert x.Manufacturer == "The MTI-Net bundle authors"
        assert (x.ManufacturerModelName, x.SoftwareVersions) == ("MTI-Net for multi-phase liver MRI", "0.1.0")


def test_patient_is_that_of_a_whole_header_where_one_is_given(finished, tmp_path):
    whole = copy.deepcopy(finished.written.source.reference.header)
    whole.IssuerOfPatientID = "north"
    files = write_dicom(
        tmp_path,
        study=finished.written.study,
        result=finished.result,
        mask=finished.mask,
        source=dataclasses.replace(finished.written.source, header=whole),
    )
    assert {pydicom.dcmread(path).IssuerOfPatientID for path in files.values()} == {"north"}


def test_study_without_a_lesion_gets_no_segmentation(finished_empty):
    assert set(finished_empty.files) == {"measurements", "page"}
    folder = finished_empty.files["page"].parent
    assert {path.name for path in folder.iterdir()} == {"measurements.dcm", "page.dcm"}


def test_an_older_segmentation_goes_where_there_is_no_lesion_any_more(finished_empty, tmp_path):
    (tmp_path / FILES["segmentation"]).write_bytes(b"older")
    write_dicom(
        tmp_path,
        study=finished_empty.written.study,
        result=finished_empty.result,
        mask=finished_empty.mask,
        source=finished_empty.written.source,
    )
    assert {path.name for path in tmp_path.iterdir()} == {"measurements.dcm", "page.dcm"}


def test_odd_values_are_copied_as_they_are_and_named_nowhere(write_study, finish, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    odd = {"PatientName": "OnlyOneName", "PatientBirthDate": "1957", "PatientSex": "w", "StudyTime": "25:61"}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")
        written = write_study(**odd)
        warnings.simplefilter("always")
        files = finish(written).files
    said = caplog.text + "".join(capfd.readouterr()) + "".join(str(w.message) for w in caught)
    for text in (*PLANTED, *odd.values()):
        assert len(text) == 1 or text not in said
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for path in files.values():
            read = pydicom.dcmread(path)
            assert {keyword: str(read[keyword].value) for keyword in odd} == odd


@pytest.mark.parametrize("keyword", ["PatientBirthDate", "AccessionNumber", "StudyTime", "SpecificCharacterSet"])
def test_what_an_anonymiser_took_away_stays_away(write_study, finish, keyword):
    changes = {keyword: None} | ({"PatientName": "Plain^Name"} if keyword == "SpecificCharacterSet" else {})
    for path in finish(write_study(**changes)).files.values():
        assert not pydicom.dcmread(path).get(keyword)


@pytest.mark.parametrize("made", ["finished", "finished_multi_frame", "finished_empty"])
def test_dciodvfy_finds_no_error(request, made, dicom_tool):
    files = request.getfixturevalue(made).files
    program = dicom_tool("dciodvfy")
    for path in files.values():
        ran = subprocess.run([program, path], capture_output=True, text=True, check=False)
        lines = (ran.stdout + ran.stderr).splitlines()
        assert [line for line in lines if line.startswith("Error")] == []
        assert any("IOD" in line or "SR" in line or "Segmentation" in line or "SC" in line for line in lines)


def test_orthanc_takes_all_and_gives_it_back(finished, orthanc):
    session = requests.Session()
    session.trust_env = False
    client = DICOMwebClient(orthanc, session=session)
    sent = [pydicom.dcmread(path) for path in finished.files.values()]
    sources = [pydicom.dcmread(path) for path in sorted(finished.written.folder.iterdir())]
    client.store_instances([*sources, *sent])
    study = sent[0].StudyInstanceUID
    modalities = {x["00080060"]["Value"][0] for x in client.search_for_series(study)}
    assert modalities == {"MR", "SEG", "SR", "OT"}
    for document in sent:
        back = client.retrieve_instance(study, document.SeriesInstanceUID, document.SOPInstanceUID)
        assert back.get("PixelData") == document.get("PixelData")
        assert back.to_json() == document.to_json()


def test_two_runs_differ_in_nothing_but_uids_and_times(finished, tmp_path):
    again = write_dicom(
        tmp_path,
        study=finished.written.study,
        result=finished.result,
        mask=finished.mask,
        source=finished.written.source,
    )
    for name, path in again.items():
        first, second = (pydicom.dcmread(p) for p in (finished.files[name], path))
        for x in (first, second):
            x.walk(_blank)
        assert first == second


def _blank(dataset, element):
    if element.VR in {"UI", "DA", "TM", "DT"}:
        element.value = None


def test_result_says_which_equipment(finished):
    other = dataclasses.replace(finished.result, model={"version": "0.2.0", "weights_sha256": "cd" * 32})
    equipment = writing.equipment_of(other)
    assert equipment.version == "0.2.0"
    assert equipment.serial_number == "cd" * 8
    assert equipment.uid != writing.equipment_of(finished.result).uid
    assert equipment.uid == writing.equipment_of(other).uid
