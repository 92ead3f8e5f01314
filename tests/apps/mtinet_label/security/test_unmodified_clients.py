"""What passes the guard: MONAI Label's own client, unmodified, as Slicer drives it, and OHIF's requests."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from monailabel.client import MONAILabelClient
from monailabel.client.client import MONAILabelClientException


@pytest.fixture
def slicer(guarded_server: Any, tmp_path: Path) -> MONAILabelClient:
    return MONAILabelClient(f"http://127.0.0.1:{guarded_server.port}", str(tmp_path), "user-xyz")


@pytest.fixture
def mask_file(nifti_bytes: bytes, tmp_path: Path) -> str:
    file = tmp_path / "drawn by (jane).nii.gz"
    file.write_bytes(nifti_bytes)
    return str(file)


def test_slicer_runs_models(slicer: MONAILabelClient, mask_file: str) -> None:
    offered = slicer.info()["models"]["mtinet"]["config"]
    clicks = {"label": "hcc", "foreground": [[3, 2, 1]], "background": [], "slice": None, "roi": [0, 5, 0, 4, 0, 3]}
    params = {**offered, **clicks, "result_extension": ".nrrd", "result_dtype": "uint8"}

    drawn, by_clicks = slicer.infer("mtinet", "liver-01", params)
    _, by_mask = slicer.infer("mtinet", "liver-01", {"selected_label_name": "hcc"}, label_in=mask_file)

    assert Path(drawn).read_bytes() == b"mask"
    assert {"foreground", "background", "roi", "client_id", "threshold"} <= set(by_clicks["asked"])
    assert "label" not in by_clicks["asked"]
    assert json.loads(by_mask)["endings"] == [".nii", ".gz"]


def test_slicer_saves_a_label_and_gets_it_back(slicer: MONAILabelClient, mask_file: str, nifti_bytes: bytes) -> None:
    segments = [{"name": "hemangioma", "idx": 1}, {"name": "hcc", "idx": 2}]
    saved = slicer.save_label("liver-02", mask_file, params={"label_info": segments, "diagnosis": "hcc"})

    assert saved["label"] == "liver-02"
    assert "final" in slicer.datastore()["objects"]["liver-02"]["labels"]
    assert Path(slicer.download_label("liver-02", "final")).read_bytes() == nifti_bytes


def test_slicer_asks_for_the_next_sample(slicer: MONAILabelClient) -> None:
    assert slicer.next_sample("first", {})["id"] == "liver-01"


def test_slicer_trains_and_stops(slicer: MONAILabelClient) -> None:
    started = slicer.train_start("mtinet", {"epochs": 1})
    slicer.train_stop()
    assert started["request"]["epochs"] == 1
    with pytest.raises(MONAILabelClientException, match="device"):
        slicer.train_start("mtinet", {"device": "cpu"})


def test_ohif_runs_a_model(guarded_server: Any, form: Callable[..., tuple[bytes, str]]) -> None:
    params = {"result_extension": ".nrrd", "result_dtype": "uint8", "result_compress": False}
    params |= {"restore_label_idx": False, "background": [], "hcc": [[3, 2, 1]]}
    body, content_type = form({"params": json.dumps(params)})
    answer = guarded_server.ask(
        "POST",
        "/infer/mtinet?image=liver-01&output=image",
        body,
        {"Content-Type": content_type, "Origin": f"http://127.0.0.1:{guarded_server.port}"},
    )
    assert (answer.status, answer.body) == (200, b"mask")


@pytest.mark.parametrize(
    "what", ["", "ohif", "monai-label", "app-config.js", "3933.bundle.92d0a0e9bc7e6861b7c9.js", "assets/favicon.ico"]
)
def test_ohif_pages_are_served(guarded_server: Any, what: str) -> None:
    answer = guarded_server.ask("GET", f"/ohif/{what}?StudyInstanceUIDs=1.2.3&StudyInstanceUIDs=1.2.4")
    assert answer.status == 200


@pytest.mark.parametrize(
    "read",
    [
        "studies?limit=101&offset=0&includefield=00081030&includefield=00080060&PatientName=*a*",
        "studies/1.2.3/series/1.2.4/metadata",
        "studies/1.2.3/series/1.2.4/instances/1.2.5/frames/1",
    ],
)
def test_reads_of_the_pacs_pass_to_their_route(guarded_server: Any, read: str) -> None:
    """The throw-away app has no such route: FastAPI's own words, not the guard's."""
    answer = guarded_server.ask("GET", f"/mtinet/dicom-web/{read}")
    assert (answer.status, answer.json["detail"]) == (404, "Not Found")
