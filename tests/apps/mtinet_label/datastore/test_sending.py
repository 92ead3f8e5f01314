"""Labels on their way to the PACS: sent after a save, kept while it fails, sent once."""

import time
from dataclasses import replace

import pydicom
import pytest
import requests
from dicomweb_client import DICOMwebClient

from lib.errors import UnavailableError, UnknownError
from lib.labels.sending import SegSender
from lib.labels.store import LabelStore
from lib.studies.dicomweb import DicomwebSource
from lib.studies.pacs import Pacs
from scripts.domain.errors import StudyError

SOON_S = 60


@pytest.fixture
def store(tmp_path) -> LabelStore:
    """An empty one."""
    return LabelStore(tmp_path / "labels")


@pytest.fixture
def source(fake_pacs, written, dicom_study, tmp_path, monkeypatch) -> DicomwebSource:
    """A PACS in memory, the study open."""
    made = DicomwebSource("http://127.0.0.1:9/dicom-web", tmp_path / "cache", register="none")
    made.pacs = fake_pacs(written)
    monkeypatch.setattr(made, "open", lambda case_id: dicom_study)
    return made


@pytest.fixture
def sender_of(source):
    """Start a sender: ``sender_of(store)``; stopped at the end."""
    started = []

    def start(store: LabelStore) -> SegSender:
        started.append(SegSender(store, source))
        started[-1].start()
        return started[-1]

    yield start
    for sender in started:
        sender.stop()


@pytest.fixture
def save(store, dicom_study, draw):
    """Save a drawn label."""

    def make(**given):
        said = {"mask": draw(dicom_study), "study": dicom_study, "diagnosis": "hcc", "reader": "ann"} | given
        return store.save(dicom_study.case_id, **said)

    return make


def test_a_failing_pacs_loses_nothing(store, source, sender_of, save, caplog):
    source.pacs.down = True
    sender = sender_of(store)
    label = save()
    assert sender.wait(SOON_S)
    assert store.latest(label.case_id) == label
    assert store.unsent() == [label]
    assert "not sent to the PACS yet" in caplog.text
    assert label.case_id not in caplog.text
    # The next save brings it along, in its newest version.
    source.pacs.down = False
    newer = save(mask=None, diagnosis="hemangioma")
    assert sender.wait(SOON_S)
    assert store.unsent() == []
    assert [seg.ContentDescription for seg in source.pacs.stored] == [
        f"Reader's mask, version {newer.version}; diagnosis: hemangioma"
    ]


def test_the_next_server_sends_what_this_one_could_not(store, source, sender_of, save):
    label = save()
    assert store.unsent() == [label]
    sender = sender_of(LabelStore(store.folder))
    assert sender.wait(SOON_S)
    assert len(source.pacs.stored) == 1
    assert store.is_sent(label)
    again = sender_of(LabelStore(store.folder))
    assert again.wait(SOON_S)
    assert len(source.pacs.stored) == 1


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("PLANTED^NAME"),
        UnknownError("no such study"),
        UnavailableError("not accepted"),
        StudyError("/PLANTED"),
    ],
)
def test_a_label_that_cannot_be_sent_does_not_stop_the_others(
    store, source, sender_of, save, dicom_study, draw, monkeypatch, caplog, error
):
    # Its identifier is before that of the other, so it is tried first.
    gone = replace(dicom_study, case_id="1.2.0")
    store.save("1.2.0", mask=draw(gone), study=gone, diagnosis="hcc", reader="ann")

    def opened(case_id):
        if case_id == "1.2.0":
            raise error
        return dicom_study

    monkeypatch.setattr(source, "open", opened)
    label = save()
    assert [each.case_id for each in store.unsent()] == ["1.2.0", label.case_id]
    assert sender_of(store).wait(SOON_S)
    assert "PLANTED" not in caplog.text
    assert "1.2.0" not in caplog.text
    assert [each.case_id for each in store.unsent()] == ["1.2.0"]


def test_a_pacs_that_comes_back_gets_the_label_without_another_save(store, source, save):
    source.pacs.down = True
    label = save()
    sender = SegSender(store, source, again_s=0.05)
    sender.start()
    try:
        assert sender.wait(SOON_S)
        assert not store.is_sent(label)
        source.pacs.down = False
        until = time.monotonic() + SOON_S
        while not store.is_sent(label) and time.monotonic() < until:
            time.sleep(0.05)
        assert store.is_sent(label)
    finally:
        sender.stop()


def test_an_empty_mask_is_not_sent(store, source, sender_of, save):
    sender = sender_of(store)
    save(mask=None, diagnosis="none")
    assert sender.wait(SOON_S)
    assert source.pacs.stored == []


def test_from_orthanc_and_back(orthanc, store, written, draw, tmp_path, caplog):
    session = requests.Session()
    session.trust_env = False
    client = DICOMwebClient(orthanc, session=session)
    client.store_instances([pydicom.dcmread(file) for file in written.files])
    source = DicomwebSource(orthanc, tmp_path / "cache", register="none")
    assert [study.case_id for study in source.listing()] == [written.uid]
    study = source.open(source.resolve(written.of_role("portal_venous").uid).case_id)
    assert study.reference == written.of_role("arterial").uid

    label = store.save(written.uid, mask=draw(study), study=study, diagnosis="hcc", reader="ann")
    for _ in range(2):
        sender = SegSender(LabelStore(store.folder), source)
        sender.start()
        assert sender.wait(SOON_S)
        sender.stop()
        assert store.is_sent(label)
        # As if the answer had been lost: the same object goes once more.
        (store.folder / label.case_id / "v0001" / "sent.json").unlink()
    (series,) = client.search_for_series(written.uid, search_filters={"Modality": "SEG"})
    (back,) = client.retrieve_series(written.uid, series["0020000E"]["Value"][0])
    assert back.SegmentSequence[0].SegmentedPropertyTypeCodeSequence[0].CodeMeaning == "Hepatocellular carcinoma"
    assert back.ReferencedSeriesSequence[0].SeriesInstanceUID == study.reference
    # What the server sent is no image of the study: the list and the import are what they were.
    assert Pacs(orthanc).mr_series(written.uid) == {each.uid: len(each.files) for each in written.series}
    assert not any(word in caplog.text for word in (*written.patient.words, written.uid))
