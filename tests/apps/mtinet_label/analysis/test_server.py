"""The real server in a process of its own, driven by MONAI Label's own client, as 3D Slicer does."""

import json
import shutil
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import nrrd as pynrrd
import numpy as np
import pytest
from bench import at_once, infer, running_server
from monailabel.client import MONAILabelClient
from monailabel.client.client import MONAILabelClientException

CASES = ("liver-01", "liver-02", "liver-03", "liver-04", "liver-05")


@pytest.fixture(scope="module")
def served(_dataset_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("server")
    studies = Path(shutil.copytree(_dataset_template, folder / "studies"))
    with running_server(studies, folder) as (address, _):
        yield address


def _get(address: str) -> dict:
    with urllib.request.urlopen(address) as answer:
        return json.load(answer)


@pytest.mark.parametrize(
    ("model", "image", "params"),
    [
        ("mtinet", "/etc/hostname", {}),
        ("mtinet", "../../etc/hostname", {}),
        ("mtinet", "liver-99", {}),
        ("nothing", "liver-01", {}),
        ("mtinet", "liver-01", {"image": "/etc/hostname"}),
        ("mtinet", "liver-01", {"result_extension": ".exe"}),
        ("mtinet", "liver-01", {"_target_": "os.system"}),
    ],
)
def test_what_cannot_be_asked(served: str, model: str, image: str, params: dict) -> None:
    with pytest.raises(MONAILabelClientException) as refused:
        MONAILabelClient(served).infer(model, image, params)
    assert "Status: 4" in refused.value.msg
    assert "Traceback" not in refused.value.msg


def test_models_trainer_and_strategies_are_there(served: str) -> None:
    info = MONAILabelClient(served).info()
    assert {"mtinet", "region_curve"} <= info["models"].keys()
    assert info["models"]["mtinet"]["type"] == "segmentation"
    assert info["models"]["mtinet"]["labels"] == {"hemangioma": 1, "hcc": 2}
    assert "mtinet" in info["trainers"]
    assert {"random", "uncertainty", "consistency", "diverse"} == info["strategies"].keys()


def test_the_server_does_nothing_by_itself(served: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as nothing:
        urllib.request.urlopen(f"{served}/scoring/")
    assert nothing.value.code == 404
    assert _get(f"{served}/mtinet/queue")["running"] == 0


def test_clients_at_once_get_what_one_gets(served: str) -> None:
    many = at_once(served, [*CASES, *CASES[:3]])
    client = MONAILabelClient(served)
    alone = [infer(client, case) for case in [*CASES, *CASES[:3]]]
    assert all(one.get("subject") for one in many)
    assert [one.get("lesions") for one in many] == [one["lesions"] for one in alone]
    # The second time the cache answered.
    assert _get(f"{served}/mtinet/queue")["refused"] == 0


def test_a_round_of_annotation(served: str, tmp_path: Path) -> None:
    client = MONAILabelClient(served, tmpdir=str(tmp_path))
    file, params = client.infer("mtinet", "liver-02", {"result_extension": ".nrrd", "result_dtype": "uint8"})
    voxels, _ = pynrrd.read(file)
    assert voxels.any()
    assert list(params["label_names"].values()) == sorted(set(np.unique(voxels)) - {0})
    drawn = tmp_path / "drawn.nii.gz"
    affine = np.asarray(_get(f"{served}/mtinet/studies/liver-02")["series"][1]["affine"])
    nib.save(nib.Nifti1Image((voxels > 0).astype(np.uint8), affine), drawn)
    client.save_label(
        "liver-02", str(drawn), "final", {"label_info": [{"name": "hcc", "idx": 1}], "diagnosis": "hcc", "reader": "an"}
    )
    label = _get(f"{served}/mtinet/studies/liver-02/label")["label"]
    assert (label["diagnosis"], label["reader"]) == ("hcc", "an")
    assert {lesion["class"] for lesion in label["lesions"]} == {"hcc"}
    back = nib.load(client.download_label("liver-02", "final"))
    assert np.array_equal(np.asarray(back.dataobj), (voxels > 0) * 2)
    said = client.infer("region_curve", "liver-02", {})[1]
    assert json.loads(said)["lesions"][0]["reader_class"] == "hcc"


@pytest.mark.slow
def test_nothing_that_was_saved_is_lost_when_the_server_is_killed(
    dataset_dir: Path, tmp_path: Path, oblique_affine: np.ndarray
) -> None:
    mask = np.zeros((96, 80, 20), np.uint8)
    mask[40:50, 30:40, 8:12] = 2
    drawn = tmp_path / "drawn.nii.gz"
    nib.save(nib.Nifti1Image(mask, oblique_affine), drawn)
    answered: list[str] = []
    with running_server(dataset_dir, tmp_path) as (address, process):

        def save_on_and_on() -> None:
            client = MONAILabelClient(address)
            for number in range(10_000):
                try:
                    client.save_label("liver-01", str(drawn), "final", {"note": f"number {number}"})
                except Exception:
                    return
                answered.append(f"number {number}")
                if number == 5:
                    enough.set()

        enough = threading.Event()
        saver = threading.Thread(target=save_on_and_on)
        saver.start()
        assert enough.wait(120)
        process.kill()
        saver.join()
    with running_server(dataset_dir, tmp_path) as (address, _):
        notes = [label["note"] for label in _get(f"{address}/mtinet/studies/liver-01/labels")["labels"]]
        latest = _get(f"{address}/mtinet/studies/liver-01/label")["label"]
    assert set(answered) <= set(notes)
    assert latest["note"] in (answered[-1], f"number {len(answered)}")
    assert latest["has_mask"]
