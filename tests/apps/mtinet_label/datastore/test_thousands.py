"""Three thousand studies, in a PACS and in a folder: listed and chosen from, and none is fetched or opened for it."""

import json
import os
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import nibabel as nib
import numpy as np
import pytest

from lib.activelearning.random import Random
from lib.datastore import datastore_for
from lib.settings import Settings

MANY = 3000
LONG_S = 20.0
"""Idle, everything below takes 5 s; a machine may be busy, but nothing may grow with the square of the studies."""


@pytest.fixture
def pacs():
    """A DICOMweb server of studies that can only be listed: its address, and what it was asked for."""
    uids = [f"1.2.3.{number}" for number in range(1, MANY + 1)]
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            query = parse_qs(urlsplit(self.path).query)
            start = int(query.get("offset", ["0"])[0])
            page = uids[start : start + int(query["limit"][0])] if "limit" in query else []
            studies = [{"0020000D": {"vr": "UI", "Value": [uid]}, "00080061": {"Value": ["MR"]}} for uid in page]
            body = json.dumps(studies).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/dicom+json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/dicom-web", asked
    server.shutdown()
    server.server_close()


def everything_a_list_is_asked_for(store) -> None:
    start = time.monotonic()
    assert len(store.list_images()) == len(set(store.list_images())) == MANY
    assert store.status()["total"] == len(store.json()["objects"]) == MANY
    assert Random(seed=1)({}, store)["id"] in store.get_unlabeled_images()
    for case_id in store.list_images():
        assert store.get_image_info(case_id)["name"] == case_id
    assert time.monotonic() - start < LONG_S


def test_a_pacs(pacs, tmp_path):
    address, asked = pacs
    store = datastore_for(address, Settings(state=str(tmp_path)))
    everything_a_list_is_asked_for(store)
    store.sender.stop()
    # Pages of 500, and the empty one that ends the list; no series, no image.
    assert len(asked) == MANY // 500 + 1
    assert all(urlsplit(path).path == "/dicom-web/studies" for path in asked)
    assert list((tmp_path / "studies" / "deformable").iterdir()) == []


def test_a_folder(tmp_path, monkeypatch):
    images = tmp_path / "data" / "imagesTr"
    images.mkdir(parents=True)
    nib.save(nib.Nifti1Image(np.ones((4, 4, 4), np.int16), np.eye(4)), tmp_path / "phase.nii.gz")
    for number in range(MANY):
        for phase in range(4):
            os.link(tmp_path / "phase.nii.gz", images / f"c{number:05}_{phase:04}.nii.gz")
    for folder in (images, images.parent):
        os.utime(folder, (1.0, 1.0))

    def opened(*_):
        raise AssertionError("a file was opened")

    monkeypatch.setattr(nib, "load", opened)
    everything_a_list_is_asked_for(datastore_for(str(images.parent), Settings(state=str(tmp_path / "state"))))
