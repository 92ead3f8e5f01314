"""The datastore as MONAI Label's own endpoints and clients use it."""

import gzip
import io
import json
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from monailabel.endpoints import datastore as endpoints
from monailabel.interfaces.datastore import DefaultLabelTag

from lib.datastore import StudyDatastore, datastore_for
from lib.errors import AppError, BadRequestError, UnknownError
from lib.labels.store import LabelStore
from lib.settings import Settings
from lib.studies.dicomweb import DicomwebSource
from scripts.domain.errors import ConfigurationError

ALL = ["liver-01", "liver-02", "liver-03", "liver-04", "liver-05"]
TRAVERSALS = ["../../etc/passwd", "/etc/passwd", "..", "", "liver-01/../liver-02", "liver-01\x00", "%2e%2e", "a\\b"]


@pytest.fixture
def store(dataset_dir, tmp_path) -> StudyDatastore:
    """Over the tiny dataset, whose own labels do not count."""
    settings = Settings(state=str(tmp_path / "state"), count_dataset_labels=False)
    return datastore_for(str(dataset_dir), settings)


@pytest.fixture
def mask_file(folder_study, draw, tmp_path) -> str:
    """The drawn mask of ``liver-01`` as a client's file."""
    file = tmp_path / "upload.nii.gz"
    nib.save(nib.Nifti1Image(draw(folder_study), folder_study.grid(None).affine), file)
    return str(file)


@pytest.fixture
def client(store, monkeypatch) -> TestClient:
    """MONAI Label's unmodified datastore endpoints over it."""
    app = SimpleNamespace(datastore=lambda: store, on_save_label=lambda image, label: None)
    monkeypatch.setattr(endpoints, "app_instance", lambda: app)
    server = FastAPI()
    server.include_router(endpoints.router)
    return TestClient(server)


@pytest.mark.parametrize("image_id", [*TRAVERSALS, "liver-99"])
def test_identifiers_that_mean_no_study(store, mask_file, image_id, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    for ask in (
        store.get_image,
        store.get_image_uri,
        store.get_image_info,
        store.get_labels_by_image_id,
        lambda i: store.get_label_by_image_id(i, "final"),
        lambda i: store.get_label(i, "final"),
        lambda i: store.get_label_uri(i, "final"),
        lambda i: store.get_label_info(i, "final"),
        lambda i: store.save_label(i, mask_file, "final", {}),
        lambda i: store.remove_label(i, "final"),
        lambda i: store.update_image_info(i, {"strategy": {}}),
        lambda i: store.update_label_info(i, "final", {"diagnosis": "hcc"}),
    ):
        with pytest.raises(UnknownError) as refused:
            ask(image_id)
        assert str(tmp_path) not in str(refused.value)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("tag", ["../../..", "Final", "final/..", "", "v1", "final\x00"])
def test_tags_that_there_are_not(store, mask_file, tag, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    for ask in (
        lambda: store.get_label_by_image_id("liver-01", tag),
        lambda: store.get_label("liver-01", tag),
        lambda: store.get_label_uri("liver-01", tag),
        lambda: store.get_label_info("liver-01", tag),
        lambda: store.save_label("liver-01", mask_file, tag, {}),
        lambda: store.remove_label("liver-01", tag),
        lambda: store.update_label_info("liver-01", tag, {"diagnosis": "hcc"}),
    ):
        with pytest.raises(BadRequestError, match="final or original"):
            ask()
    assert sorted(tmp_path.rglob("*")) == before


def test_studies_are_neither_uploaded_nor_removed(store, mask_file):
    with pytest.raises(BadRequestError, match="not uploaded"):
        store.add_image("x", mask_file, {})
    with pytest.raises(BadRequestError, match="not removed"):
        store.remove_image("liver-01")
    assert store.list_images() == ALL


@pytest.mark.parametrize(
    "info",
    [
        {"path": "/etc/passwd"},
        {"StudyInstanceUID": "1.2.3"},
        {"strategy": "random"},
        {"strategy": {"../x": {"ts": 1}}},
        {"strategy": {"random": 1}},
        {"strategy": {"random": {"ts": "now"}}},
        {"strategy": {"random": {"ts": float("nan")}}},
        {"strategy": {"random": {"ts": 1, "client_id": "a\nb"}}},
        {"strategy": {"random": {"ts": 1, "client_id": {}}}},
    ],
)
def test_what_cannot_be_said_of_a_study(store, info):
    with pytest.raises(BadRequestError):
        store.update_image_info("liver-01", info)
    assert store.get_image_info("liver-01") == {"name": "liver-01"}


@pytest.mark.parametrize("info", [{}, {"diagnosis": 3}, {"diagnosis": "cyst"}, {"diagnosis": "hcc", "reader": ["x"]}])
def test_what_cannot_be_said_of_a_label(store, info):
    with pytest.raises(BadRequestError):
        store.update_label_info("liver-01", "final", info)
    with pytest.raises(BadRequestError):
        store.update_label_info("liver-01", "original", {"diagnosis": "hcc"})
    assert store.labels.latest("liver-01") is None


def test_a_studies_folder_that_is_not_there(tmp_path):
    with pytest.raises(ConfigurationError):
        datastore_for(str(tmp_path / "nowhere"), Settings(state=str(tmp_path / "state")))


def test_addresses_are_dicomweb_sources(tmp_path):
    store = datastore_for("http://127.0.0.1:9/dicom-web/", Settings(state=str(tmp_path), register="none"))
    assert isinstance(store.source, DicomwebSource)
    assert store.source.url == "http://127.0.0.1:9/dicom-web"
    store.sender.stop()


def test_viewers_get_the_reference_phase(store, dataset_dir):
    assert store.get_image_uri("liver-01") == str(dataset_dir / "imagesTr" / "liver-01_0001.nii.gz")
    assert store.get_image_uri("liver-01_0003") == str(dataset_dir / "imagesTr" / "liver-01_0003.nii.gz")
    assert store.get_image("liver-05").read() == (dataset_dir / "imagesTs" / "liver-05_0001.nii.gz").read_bytes()


def test_a_saved_label_counts_at_once(store, mask_file, folder_study, draw):
    assert store.get_label_uri("liver-01", "final") == ""
    assert store.get_label("liver-01", "final") is None
    assert store.get_label_info("liver-01", "final") == {}
    assert store.save_label("liver-01", mask_file, "final", {"diagnosis": "hcc", "reader": "ann"}) == "liver-01"
    assert store.get_labeled_images() == store.get_labeled_images("final") == ["liver-01"]
    assert store.get_unlabeled_images() == ALL[1:]
    assert store.get_labels_by_image_id("liver-01_0002") == {"final": "liver-01"}
    assert store.get_label_by_image_id("liver-01", DefaultLabelTag.FINAL) == "liver-01"
    saved = nib.load(store.get_label_uri("liver-01", "final"))
    np.testing.assert_array_equal(np.asarray(saved.dataobj), draw(folder_study))
    info = store.get_label_info("liver-01", "final")
    assert (info["version"], info["diagnosis"], info["reader"]) == (1, "hcc", "ann")
    assert [lesion["class"] for lesion in info["lesions"]] == ["hcc", "hemangioma"]
    assert store.status() == {"total": 5, "completed": 1, "label_tags": {"final": 1}, "train": []}


def test_the_models_own_output_is_never_a_label(store, mask_file):
    store.save_label("liver-01", mask_file, "original", {"params": {"class": "hcc"}})
    assert store.get_labels_by_image_id("liver-01") == {"original": "liver-01"}
    assert Path(store.get_label_uri("liver-01", "original")).is_file()
    assert store.get_label_info("liver-01", "original") == {"tag": "original"}
    assert store.get_labeled_images() == store.get_labeled_images("original") == []
    assert store.get_unlabeled_images("original") == ALL
    assert store.datalist() == []
    assert store.status()["completed"] == 0
    assert set(store.json()["objects"]["liver-01"]["labels"]) == {"original"}
    store.remove_label("liver-01", "original")
    assert store.json()["objects"]["liver-01"]["labels"] == {}
    assert store.get_label_uri("liver-01", "original") == ""


def test_a_diagnosis_is_a_new_version(store, mask_file):
    store.save_label("liver-01", mask_file, "final", {})
    store.update_label_info("liver-01", "final", {"diagnosis": "hemangioma", "user": "ben"})
    info = store.get_label_info("liver-01", "final")
    assert (info["version"], info["diagnosis"], info["reader"]) == (2, "hemangioma", "ben")
    assert len(info["lesions"]) == 2


def test_a_diagnosis_alone_is_no_file(store, mask_file):
    store.update_label_info("liver-01", "final", {"diagnosis": "hcc"})
    assert store.get_label_info("liver-01", "final")["diagnosis"] == "hcc"
    assert store.get_label_uri("liver-01", "final") == ""
    assert store.json()["objects"]["liver-01"]["labels"] == store.get_labels_by_image_id("liver-01") == {}
    store.save_label("liver-01", mask_file, "final", {})
    objects = store.json()["objects"]
    assert set(objects["liver-01"]["labels"]) == set(store.get_labels_by_image_id("liver-01")) == {"final"}
    assert objects["liver-01"]["labels"]["final"]["info"] == store.get_label_info("liver-01", "final")


def test_many_archives_at_once(store, mask_file):
    store.save_label("liver-01", mask_file, "final", {"diagnosis": "hcc"})
    with ThreadPoolExecutor(4) as clients:
        files = list(clients.map(lambda _: store.get_dataset_archive(None), range(8)))
    with zipfile.ZipFile(files[0]) as archive:
        assert archive.testzip() is None


def test_training_gets_phases_mask_and_diagnosis(store, mask_file, dataset_dir):
    store.save_label("liver-01", mask_file, "final", {"diagnosis": "hcc"})
    (item,) = store.datalist()
    assert item["image"] == str(dataset_dir / "imagesTr" / "liver-01_0001.nii.gz")
    assert list(item["images"]) == ["pre", "arterial", "portal_venous", "delayed"]
    assert item["label"] == store.get_label_uri("liver-01", "final")
    assert (item["case"], item["diagnosis"]) == ("liver-01", "hcc")


def test_a_removed_label_does_not_count(store, mask_file):
    store.save_label("liver-01", mask_file, "final", {})
    store.remove_label("liver-01", "final")
    assert store.get_labeled_images() == []
    with pytest.raises(UnknownError):
        store.remove_label("liver-01", "final")


def test_labels_outlive_the_server(store, mask_file, dataset_dir, tmp_path):
    store.save_label("liver-02", mask_file, "final", {"diagnosis": "hcc"})
    again = datastore_for(str(dataset_dir), Settings(state=str(tmp_path / "state"), count_dataset_labels=False))
    assert again.get_labeled_images() == ["liver-02"]
    counting = datastore_for(str(dataset_dir), Settings(state=str(tmp_path / "state")))
    assert counting.get_labeled_images() == ALL
    assert counting.get_label_info("liver-02", "final")["version"] == 1
    assert counting.get_label_info("liver-01", "final")["reader"] == "dataset"


def test_the_whole_list_opens_no_mask_of_the_dataset(dataset_dir, tmp_path):
    for file in dataset_dir.glob("labels*/*"):
        file.write_bytes(b"opening this fails")
    store = datastore_for(str(dataset_dir), Settings(state=str(tmp_path / "state")))
    objects = store.json()["objects"]
    assert [objects[case]["labels"]["final"]["info"] for case in ALL] == [{"version": 0}] * 5
    assert store.status()["completed"] == 5


def test_who_was_offered_what(store):
    said = store.get_image_info("liver-01")
    # As MONAI Label's endpoint does it: it writes into what it got.
    said["strategy"] = {"random": {"ts": 12.0, "client_id": "slicer-1"}}
    assert store.get_image_info("liver-01") == {"name": "liver-01"}
    store.update_image_info("liver-01", {"strategy": said["strategy"], "user": "admin"})
    got = store.get_image_info("liver-01")
    assert got["strategy"] == {"random": {"ts": 12, "client_id": "slicer-1"}}
    got["strategy"]["random"]["ts"] = 99
    assert store.get_image_info("liver-01")["strategy"]["random"]["ts"] == 12


def test_name_and_description(store):
    store.set_name("ours")
    store.set_description("of the ward")
    assert (store.name(), store.description()) == ("ours", "of the ward")
    assert store.json()["name"] == "ours"


def test_an_archive_of_what_is_labelled(store, mask_file):
    with pytest.raises(UnknownError, match="no labelled study"):
        store.get_dataset_archive(None)
    store.save_label("liver-01", mask_file, "final", {"diagnosis": "hcc"})
    store.save_label("liver-02", mask_file, "final", {})
    with zipfile.ZipFile(store.get_dataset_archive(None)) as archive:
        assert len(archive.namelist()) == 2 * 6
        assert json.loads(archive.read("label/liver-01.json"))["diagnosis"] == "hcc"
    with zipfile.ZipFile(store.get_dataset_archive(1)) as archive:
        assert [name for name in archive.namelist() if name.endswith("json")] == ["label/liver-01.json"]


def test_refresh_finds_new_studies(store, dataset_dir):
    table = dataset_dir / "subjects.csv"
    table.write_text("\n".join(table.read_text().splitlines()[:-1]) + "\n")
    store.refresh()
    assert store.list_images() == ALL[:-1]


def test_monai_labels_own_endpoints(client, mask_file, dataset_dir):
    assert client.get("/datastore/").json()["total"] == 5
    image = client.get("/datastore/image", params={"image": "liver-01"})
    assert image.content == (dataset_dir / "imagesTr" / "liver-01_0001.nii.gz").read_bytes()
    assert client.head("/datastore/label", params={"image": "liver-01", "tag": "final"}).status_code == 404
    params = {"diagnosis": "hcc", "reader": "ann", "label_info": [{"name": "hcc", "idx": 1}, {"name": "hcc", "idx": 2}]}
    answer = client.put(
        "/datastore/label",
        params={"image": "liver-01", "tag": "final"},
        data={"params": json.dumps(params)},
        files={"label": ("label.nii.gz", Path(mask_file).read_bytes())},
    )
    assert answer.json() == {"image": "liver-01", "label": "liver-01"}
    label = client.get("/datastore/label", params={"label": "liver-01", "tag": "final"})
    mask = nib.Nifti1Image.from_bytes(gzip.decompress(label.content))
    assert set(np.unique(np.asarray(mask.dataobj))) == {0, 2}
    info = client.get("/datastore/label/info", params={"label": "liver-01", "tag": "final"}).json()
    assert info["diagnosis"] == "hcc"
    objects = client.get("/datastore/", params={"output": "all"}).json()["objects"]
    assert objects["liver-01"]["labels"]["final"]["info"]["reader"] == "ann"
    assert objects["liver-02"]["labels"] == {}
    (item,) = client.get("/datastore/", params={"output": "train"}).json()
    assert item["case"] == "liver-01"
    archive = client.get("/datastore/dataset")
    assert "label/liver-01.nii.gz" in zipfile.ZipFile(io.BytesIO(archive.content)).namelist()
    assert client.delete("/datastore/label", params={"id": "liver-01", "tag": "final"}).status_code == 200
    assert client.get("/datastore/").json()["completed"] == 0


def test_endpoints_raise_what_has_a_status(client):
    for path, params, status in (
        ("/datastore/image", {"image": "../../etc/passwd"}, 404),
        ("/datastore/label", {"label": "liver-01", "tag": "../.."}, 400),
    ):
        with pytest.raises(AppError) as refused:
            client.get(path, params=params)
        assert refused.value.status == status


def test_dicom_studies(fake_pacs, written, dicom_study, draw, tmp_path):
    source = DicomwebSource("http://127.0.0.1:9/dicom-web", tmp_path / "cache", register="none")
    source.pacs = fake_pacs(written)
    store = StudyDatastore(source, LabelStore(tmp_path / "labels"))
    try:
        assert store.get_image_info(written.uid) == {"name": written.uid, "StudyInstanceUID": written.uid}
        assert "images" not in source.pacs.asked
        delayed = written.of_role("delayed").uid
        assert Path(store.get_image_uri(written.uid)).name == f"{written.uid}_0001.nii.gz"
        assert Path(store.get_image_uri(delayed)).name == f"{written.uid}_0003.nii.gz"
        info = store.get_image_info(delayed)
        assert (info["StudyInstanceUID"], info["SeriesInstanceUID"]) == (written.uid, dicom_study.reference)
        assert not any(word in json.dumps(info) for word in written.patient.words)
        study = source.open(written.uid)
        store.save(study, mask=draw(study), diagnosis="hcc", reader="ann")
        assert store.sender.wait(60)
        assert store.get_label_info(written.uid, "final")["dicom_seg"] == "sent"
        source.pacs.down = True
        store.save(study, mask=None, diagnosis="hemangioma", reader="ann")
        assert store.sender.wait(60)
        assert store.get_label_info(written.uid, "final")["dicom_seg"] == "not sent yet"
        assert [str(seg.StudyInstanceUID) for seg in source.pacs.stored] == [written.uid]
    finally:
        store.sender.stop()
