from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from lib.demonstration import orthanc
from lib.demonstration.orthanc import Orthanc
from lib.demonstration.processes import Background, DemonstrationError, free_port, require_free

PYTHON = sys.executable
SERVES = (
    "import http.server as h, sys; "
    "h.HTTPServer(('127.0.0.1', int(sys.argv[1])), h.SimpleHTTPRequestHandler).serve_forever()"
)
SERVE = Path(__file__).resolve().parents[4] / "apps" / "mtinet_label" / "serve.py"


def test_a_taken_port_is_said_before_anything_starts() -> None:
    server = HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    try:
        with pytest.raises(DemonstrationError, match=r"port \d+ is taken; name another one with --port"):
            require_free(server.server_address[1])
    finally:
        server.server_close()


def test_a_process_that_ends_is_noticed_with_its_last_words(tmp_path: Path) -> None:
    command = [PYTHON, "-c", "print('no licence for it'); raise SystemExit(3)"]

    with (
        Background("The thing", command, log=tmp_path / "log.txt") as thing,
        pytest.raises(DemonstrationError, match=r"The thing ended[\s\S]*no licence for it"),
    ):
        thing.wait_for("http://127.0.0.1:9/", seconds=30)


def test_a_process_that_never_answers_is_given_up(tmp_path: Path, is_alive: Callable[[int], bool]) -> None:
    command = [PYTHON, "-c", "import time; time.sleep(60)"]

    with (
        Background("The thing", command, log=tmp_path / "log.txt") as thing,
        pytest.raises(DemonstrationError, match="did not answer within"),
    ):
        thing.wait_for("http://127.0.0.1:9/", seconds=0.5)

    assert not is_alive(thing.pid)


def test_a_process_ends_with_what_it_started(tmp_path: Path, is_alive: Callable[[int], bool]) -> None:
    port = free_port()
    script = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {SERVES!r}, '{port}'])"

    with Background("The thing", [PYTHON, "-c", script], log=tmp_path / "log.txt") as thing:
        thing.wait_for(f"http://127.0.0.1:{port}/", seconds=30)

    assert not is_alive(thing.pid)
    require_free(port)


def test_without_orthanc_the_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orthanc.shutil, "which", lambda *_, **__: None)

    with pytest.raises(DemonstrationError, match="apt-get install orthanc orthanc-dicomweb"):
        Orthanc(tmp_path / "pacs")

    assert not (tmp_path / "pacs").exists()


def test_without_the_dicomweb_plug_in_the_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orthanc.shutil, "which", lambda *_, **__: "/usr/sbin/Orthanc")
    monkeypatch.setattr(orthanc, "_PLUGIN_FOLDERS", ())

    with pytest.raises(DemonstrationError, match="apt-get install orthanc orthanc-dicomweb"):
        Orthanc(tmp_path / "pacs")


@pytest.mark.skipif(shutil.which("Orthanc", path=f"{os.environ['PATH']}:/usr/sbin") is None, reason="no Orthanc")
def test_an_orthanc_holds_what_it_is_given(
    tmp_path: Path, dicom_phantom: object, is_alive: Callable[[int], bool]
) -> None:
    subject = dicom_phantom.Subject(shape=(16, 16, 8))
    written = dicom_phantom.separate_series(tmp_path / "dicom", subject=subject)

    with Orthanc(tmp_path / "pacs") as pacs:
        pacs.wait()
        for _ in range(2):
            pacs.load(sorted((tmp_path / "dicom").rglob("*.dcm")))
        assert pacs.studies() == [written.uid]
    assert not is_alive(pacs.pid)


def test_serve_says_what_is_missing_in_one_line(tmp_path: Path) -> None:
    command = [PYTHON, str(SERVE), "--dicom", "--port", str(free_port()), "--folder", str(tmp_path)]
    command += ["--conf", "ohif", str(tmp_path / "nothing")]

    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    assert ended.returncode == 1
    assert ended.stderr.startswith("error: the OHIF viewer is not unpacked: run `make ohif`")
    assert "Traceback" not in ended.stderr


@pytest.mark.slow
def test_serve_starts_on_a_folder_and_ends_everything(tmp_path: Path, is_alive: Callable[[int], bool]) -> None:
    port = free_port()
    command = [PYTHON, str(SERVE), "--port", str(port), "--folder", str(tmp_path), "--studies", "1"]
    output = tmp_path / "printed.txt"
    with output.open("w") as printed:
        process = subprocess.Popen(command, stdout=printed, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        give_up = time.monotonic() + 300
        while "Ctrl-C" not in output.read_text() and process.poll() is None and time.monotonic() < give_up:
            time.sleep(0.5)
        assert f"http://127.0.0.1:{port}/mtinet/studies/" in output.read_text()
        children = [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
        assert children
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=60)
    assert process.returncode == 0
    assert not any(is_alive(pid) for pid in children)
    require_free(port)
