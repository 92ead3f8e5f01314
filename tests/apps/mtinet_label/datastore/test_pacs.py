"""The PACS client: against Orthanc, and against servers that do not behave."""

import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pydicom
import pytest
import requests

from lib.errors import UnavailableError
from lib.studies.pacs import Pacs

STUDY = "1.2.3.4"


@pytest.fixture
def server():
    """A server that answers every request as ``answer(path) -> (status, body)`` says: ``server(answer) -> url``."""
    started = []

    def start(answer) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                status, body = answer(self.path)
                self.send_response(status)
                self.send_header("Content-Type", "application/dicom+json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args):
                pass

        started.append(ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=started[-1].serve_forever, args=(0.02,), daemon=True).start()
        return f"http://127.0.0.1:{started[-1].server_port}/dicom-web"

    yield start
    for each in started:
        each.shutdown()
        each.server_close()


def listed(uid: str, *modalities: str) -> dict:
    return {"0020000D": {"vr": "UI", "Value": [uid]}, "00080061": {"vr": "CS", "Value": list(modalities)}}


def test_nobody_there():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    pacs = Pacs(f"http://name:secret@127.0.0.1:{port}/dicom-web")
    for ask in (pacs.studies, lambda: pacs.mr_series(STUDY), lambda: list(pacs.images(STUDY, "1.2.3.5"))):
        with pytest.raises(UnavailableError, match="does not answer") as refused:
            ask()
        assert "secret" not in str(refused.value)
        assert str(port) not in str(refused.value)


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (500, b"trace", r"an error \(500\)"),
        (401, b"", "MONAI_LABEL_DICOMWEB_USERNAME"),
        (403, b"", "refuses this server"),
        (200, b"<html>", "DICOMweb's way"),
    ],
)
def test_servers_that_do_not_behave(server, status, body, message):
    with pytest.raises(UnavailableError, match=message):
        Pacs(server(lambda path: (status, body))).studies()


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b"[1, null]", b'[{"0020000D": 5}]', b'[{"0020000D": {"Value": {}}}]']
)
def test_answers_that_say_nothing(server, body):
    pacs = Pacs(server(lambda path: (200, body)))
    assert pacs.studies() == []
    assert pacs.mr_series(STUDY) == {}
    assert pacs.study_of("1.2.3.5") is None


@pytest.mark.filterwarnings("ignore:message sent by origin server")
def test_images_that_are_none(server):
    with pytest.raises(UnavailableError, match="DICOMweb's way"):
        list(Pacs(server(lambda path: (200, b"{}"))).images(STUDY, "1.2.3.5"))


def test_a_series_listing_of_a_missing_study(server):
    assert Pacs(server(lambda path: (404, b""))).mr_series(STUDY) == {}


def test_pages_smaller_than_asked_for_are_all_read(server):
    everything = [listed(f"1.2.{number}", "MR", "SEG") for number in range(1, 8)]

    def answer(path: str) -> tuple[int, bytes]:
        offset = int(dict(pair.split("=") for pair in path.split("?")[1].split("&")).get("offset", 0))
        return 200, json.dumps(everything[offset : offset + 3]).encode()

    assert Pacs(server(answer)).studies() == [f"1.2.{number}" for number in range(1, 8)]


def test_a_server_that_ignores_paging_and_filters(server):
    everything = [listed("1.2.9", "CT"), listed("1.2.1", "MR"), listed("1.2.2"), listed("../../1.2", "MR")]
    asked = []

    def answer(path: str) -> tuple[int, bytes]:
        asked.append(path)
        return 200, json.dumps(everything).encode()

    assert Pacs(server(answer)).studies() == ["1.2.1", "1.2.2"]
    assert len(asked) == 2


def test_a_server_that_answers_for_another_series(server):
    other = {"0020000D": {"vr": "UI", "Value": ["1.2.9"]}, "0020000E": {"vr": "UI", "Value": ["1.2.9.1"]}}
    pacs = Pacs(server(lambda path: (200, json.dumps([other]).encode())))
    assert pacs.study_of("1.2.3.5") is None
    assert not pacs.has_study(STUDY)
    assert pacs.study_of("1.2.9.1") == "1.2.9"


def test_with_orthanc(orthanc, write_study, written, caplog):
    other = write_study("the second at Orthanc", style="temporal_positions")
    session = requests.Session()
    session.trust_env = False
    for study in (written, other):
        for file in study.files:
            root = orthanc.removesuffix("/dicom-web")
            session.post(f"{root}/instances", data=file.read_bytes(), timeout=30).raise_for_status()
    pacs = Pacs(orthanc)
    assert pacs.studies() == sorted((written.uid, other.uid))
    assert pacs.has_study(other.uid)
    assert not pacs.has_study("1.2.3")
    assert pacs.mr_series(written.uid) == {series.uid: len(series.files) for series in written.series}
    assert pacs.mr_series("1.2.3") == {}
    delayed = written.of_role("delayed")
    assert pacs.study_of(delayed.uid) == written.uid
    assert pacs.study_of("1.2.3") is None
    images = {str(image.SOPInstanceUID): image for image in pacs.images(written.uid, delayed.uid)}
    sent = [pydicom.dcmread(file) for file in delayed.files]
    assert {uid: image.PixelData for uid, image in images.items()} == {
        str(image.SOPInstanceUID): image.PixelData for image in sent
    }
    assert not any(word in caplog.text for word in (*written.patient.words, written.uid))
