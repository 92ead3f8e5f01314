from dataclasses import dataclass
from pathlib import Path

import nrrd as pynrrd
import numpy as np
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from lib.analysis import Analyser
from lib.datastore import StudyDatastore
from lib.errors import BadRequestError, UnknownError
from lib.infers.automatic import AutomaticTask
from lib.infers.region import RegionTask
from lib.labels.store import LabelStore
from lib.routes import study as study_routes
from lib.studies.folder import FolderSource


@dataclass
class Serving:
    """What the routes and tasks need of the app."""

    analyser: Analyser
    store: StudyDatastore

    def datastore(self) -> StudyDatastore:
        return self.store


@pytest.fixture
def serving(dataset_dir: Path, tmp_path: Path, analyser: Analyser) -> Serving:
    labels = LabelStore(tmp_path / "labels")
    return Serving(analyser, StudyDatastore(FolderSource(dataset_dir), labels))


@pytest.fixture
def client(serving: Serving) -> TestClient:
    server = FastAPI()
    server.include_router(study_routes.router(serving))
    return TestClient(server)


def _voxels(content: bytes, folder: Path) -> np.ndarray:
    (folder / "got.nrrd").write_bytes(content)
    return pynrrd.read(str(folder / "got.nrrd"))[0]


@pytest.mark.parametrize("what", ["", "/result", "/page", "/mask", "/label", "/labels", "/label/mask"])
@pytest.mark.parametrize("case", ["liver-99", "..%2f..%2fx", "a%00b", "%2e%2e", "liver-01%2f..%2fliver-02"])
def test_studies_that_are_not_there(client: TestClient, case: str, what: str) -> None:
    assert client.get(f"/mtinet/studies/{case}{what}").status_code in (400, 404)


@pytest.mark.parametrize("series", ["liver-02_0001", "../x", "liver-01_0009"])
def test_series_of_other_studies(client: TestClient, series: str) -> None:
    assert client.get("/mtinet/studies/liver-01/mask", params={"series": series}).status_code in (400, 404)


@pytest.mark.parametrize("query", ["offset=-1", "limit=0", "limit=501", "state=all", "offset=x"])
def test_pages_that_cannot_be(client: TestClient, query: str) -> None:
    assert client.get(f"/mtinet/studies?{query}").status_code == 422


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"diagnosis": "flu"}, "diagnosis"),
        ({"reader": "../x"}, "reader"),
        ({"note": "$import os"}, "note"),
        ({"classes": '{"1": "spleen"}'}, "classes"),
        ({"series": "liver-02_0001"}, "no such series"),
    ],
)
def test_labels_that_cannot_be(
    client: TestClient, serving: Serving, true_mask: np.ndarray, form: dict[str, str], said: str
) -> None:
    answer = client.put("/mtinet/studies/liver-01/label", data=form, files={"mask": true_mask.tobytes(order="F")})
    assert answer.status_code in (400, 404)
    assert said in answer.json()["detail"]
    assert serving.store.labels.saved("liver-01") is None


def test_the_list_in_pages_and_by_state(client: TestClient, true_mask: np.ndarray) -> None:
    client.put("/mtinet/studies/liver-01/label", files={"mask": true_mask.tobytes(order="F")})
    page = client.get("/mtinet/studies?offset=1&limit=2").json()
    assert [study["id"] for study in page["studies"]] == ["liver-02", "liver-03"]
    assert page["total"] == 5
    unlabelled = client.get("/mtinet/studies?state=unlabelled").json()
    assert [study["id"] for study in unlabelled["studies"]] == ["liver-02", "liver-03", "liver-04", "liver-05"]
    assert client.get("/mtinet/studies?state=labelled").json()["studies"][0]["state"] == "labelled"


def test_a_study_names_its_series_by_phase(client: TestClient) -> None:
    said = client.get("/mtinet/studies/liver-01").json()
    assert [series["phase"] for series in said["series"]] == ["pre", "arterial", "portal_venous", "delayed"]
    assert said["reference"] in [series["id"] for series in said["series"]]
    assert said["label"] is None


def test_result_mask_and_page(client: TestClient, serving: Serving, tmp_path: Path) -> None:
    result = client.get("/mtinet/studies/liver-01/result").json()
    assert result["lesions"]
    analysed = serving.analyser.cached(serving.store.source.open("liver-01"))
    assert np.array_equal(_voxels(client.get("/mtinet/studies/liver-01/mask").content, tmp_path), analysed.mask)
    page = client.get("/mtinet/studies/liver-01/page")
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    assert "Research use only" in page.text
    assert "http://" not in page.text
    assert "https://" not in page.text


def test_pages_wait_in_the_line_of_the_analyses(client: TestClient, serving: Serving) -> None:
    """Each holds a thread of the server while it waits, and nobody else would be answered."""
    client.get("/mtinet/studies/liver-01/result")
    serving.analyser.queue.limit = 0
    with serving.analyser.queue.turn():
        answer = client.get("/mtinet/studies/liver-01/page")
    assert answer.status_code == 503
    assert "busy" in answer.json()["detail"]
    assert "Retry-After" in answer.headers


def test_a_saved_label_comes_back(client: TestClient, true_mask: np.ndarray, tmp_path: Path) -> None:
    form = {"diagnosis": "hcc", "reader": "anna", "classes": '{"7": "hcc"}', "note": "small one"}
    drawn = np.where(true_mask > 0, 7, 0).astype(np.uint8)
    answer = client.put("/mtinet/studies/liver-01/label", data=form, files={"mask": drawn.tobytes(order="F")})
    label = answer.json()["label"]
    assert (label["version"], label["diagnosis"], label["reader"]) == (1, "hcc", "anna")
    assert [lesion["class"] for lesion in label["lesions"]] == ["hcc"]
    assert np.array_equal(_voxels(client.get("/mtinet/studies/liver-01/label/mask").content, tmp_path), true_mask)
    changed = client.put("/mtinet/studies/liver-01/diagnosis", json={"diagnosis": "hemangioma"}).json()["label"]
    assert (changed["version"], changed["diagnosis"], changed["has_mask"]) == (2, "hemangioma", True)
    assert client.get("/mtinet/studies/liver-01/label").json() == {"label": changed}
    assert [x["version"] for x in client.get("/mtinet/studies/liver-01/labels").json()["labels"]] == [1, 2]
    assert "mask_file" not in changed


def test_no_label_yet(client: TestClient) -> None:
    assert client.get("/mtinet/studies/liver-01/label").json() == {"label": None}
    assert client.get("/mtinet/studies/liver-01/label/mask").status_code == 404


def test_the_curve_of_a_region(client: TestClient, serving: Serving, true_mask: np.ndarray) -> None:
    said = client.post("/mtinet/studies/liver-01/region", files={"mask": true_mask.tobytes(order="F")}).json()
    assert said["lesions"][0]["rule_class"] == "hcc"
    assert serving.store.labels.saved("liver-01") is None


def test_the_queue_and_its_end(client: TestClient, serving: Serving) -> None:
    assert client.get("/mtinet/queue").json() == {"running": 0, "waiting": 0, "limit": 8, "finished": 0, "refused": 0}
    serving.analyser.queue.limit = 0
    with serving.analyser.queue.turn():
        answer = client.get("/mtinet/studies/liver-02/result")
    assert answer.status_code == 503
    assert "busy" in answer.json()["detail"]
    assert answer.headers["retry-after"] == "5"


@pytest.mark.parametrize("request_", [{}, {"image": 3}, {"image": ""}])
def test_models_want_a_study(serving: Serving, request_: dict) -> None:
    with pytest.raises(BadRequestError, match="name the study"):
        AutomaticTask(serving.store.source, serving.analyser)(request_)


def test_models_want_a_series_of_the_study(serving: Serving) -> None:
    with pytest.raises(UnknownError, match="no such series"):
        AutomaticTask(serving.store.source, serving.analyser)({"image": "liver-01", "series": "liver-02_0001"})


def test_the_automatic_task(serving: Serving) -> None:
    task = AutomaticTask(serving.store.source, serving.analyser)
    file, params = task({"image": "liver-01", "result_extension": ".nrrd", "result_dtype": "uint16"})
    voxels, _ = pynrrd.read(file)
    Path(file).unlink()
    assert voxels.dtype == np.uint8
    assert set(np.unique(voxels)) - {0} == set(params["label_names"].values())
    assert params["page"] == "/mtinet/studies/liver-01/page"
    assert task.info()["type"] == "segmentation"
    assert task.info()["labels"] == {"hemangioma": 1, "hcc": 2}


def test_the_region_task_takes_an_upload_or_the_saved_label(
    serving: Serving, true_mask: np.ndarray, tmp_path: Path
) -> None:
    task = RegionTask(serving.store.source, serving.store.labels, serving.analyser)
    with pytest.raises(BadRequestError, match="no mask of a reader"):
        task({"image": "liver-01"})
    upload = tmp_path / "mask.bin"
    upload.write_bytes(true_mask.tobytes(order="F"))
    file, uploaded = task({"image": "liver-01", "label": str(upload)})
    study = serving.store.source.open("liver-01")
    serving.store.save(study, mask=true_mask, diagnosis="hcc", reader="anna")
    assert file is None
    assert task({"image": "liver-01"})[1] == uploaded
    assert uploaded["lesions"][0]["rule_class"] == "hcc"
