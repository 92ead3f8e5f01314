"""`mtinet_clicks` as MONAI Label's clients ask it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from lib.errors import BadRequestError
from lib.infers.interactive import InteractiveTask
from lib.infers.region import RegionTask
from scripts.domain.classes import LABELS

ELSEWHERE = [46, 36, 11]


@pytest.fixture
def task(source, refiner):
    return InteractiveTask(source, refiner.analyser, refiner)


@pytest.fixture
def ask(task):
    """Ask and read the mask; the file is removed as the server does."""

    def asked(**request):
        file, facts = task({"image": "liver-01", **request})
        image = nib.load(file)
        mask = np.asarray(image.dataobj)
        os.unlink(file)
        return mask, image.affine, facts

    return asked


@pytest.fixture
def upload(opened):
    """A rough mask as the server stores an upload."""
    rough = np.zeros((96, 80, 20), dtype=np.uint8)
    rough[56:66, 36:44, 8:12] = LABELS["hcc"]
    handle, name = tempfile.mkstemp(suffix=".nii.gz")
    os.close(handle)
    nib.save(nib.Nifti1Image(rough, nib.load(opened.case.phase_files[1]).affine), name)
    yield Path(name)
    Path(name).unlink(missing_ok=True)


@pytest.mark.parametrize("label", ["/etc/passwd", "../x.nii.gz", "spleen", "/tmp", "a\0b", 5, "/tmp/../etc/passwd"])
def test_a_label_that_is_neither_upload_nor_name_is_refused(ask, label):
    with pytest.raises(BadRequestError, match="neither an uploaded mask"):
        ask(label=label, foreground=[ELSEWHERE])


@pytest.mark.parametrize("label", ["/etc/passwd", "../x.nii.gz", "a\0b", 5])
def test_nor_does_the_region_s_curve_read_what_is_no_upload(source, refiner, label):
    with pytest.raises(BadRequestError, match="neither an uploaded mask"):
        RegionTask(source, None, refiner.analyser)({"image": "liver-01", "label": label})


def test_a_link_in_the_uploads_folder_is_refused(ask, tmp_path, opened):
    link = Path(tempfile.gettempdir()) / f"link-{os.getpid()}.nii.gz"
    link.symlink_to(opened.case.label_file)
    try:
        with pytest.raises(BadRequestError, match="neither an uploaded mask"):
            ask(label=str(link))
    finally:
        link.unlink()


def test_an_empty_mask_alone_is_refused(ask, upload):
    nib.save(nib.Nifti1Image(np.zeros((96, 80, 20), np.uint8), nib.load(upload).affine), upload)
    with pytest.raises(BadRequestError, match="click on one"):
        ask(label=str(upload))


def test_clients_find_it_among_interactive_models(task):
    info = task.info()
    assert info["type"] == "deepedit"
    assert info["labels"] == {"background": 0, "hemangioma": 1, "hcc": 2}
    assert info["dimension"] == 3


def test_without_weights_it_is_not_offered(task, tmp_path):
    task.refiner.weights = tmp_path / "none.pt"
    assert not task.is_valid()


def test_slicer_clicks_on_the_reference_file(ask, opened):
    mask, affine, facts = ask(foreground=[ELSEWHERE], background=[], label="hcc", result_dtype="uint16")
    assert mask.dtype == np.uint8
    assert mask[tuple(ELSEWHERE)] == LABELS["hcc"]
    np.testing.assert_allclose(affine, nib.load(opened.case.phase_files[1]).affine, atol=1e-4)
    assert {lesion["class_by"] for lesion in facts["lesions"]} == {"reader", "network"}
    assert facts["clicks"] == 1
    assert facts["label_names"] == {"hemangioma": 1, "hcc": 2}


def test_ohif_clicks_on_another_phase_and_gets_that_grid(ask):
    mirrored = [96 - 1 - ELSEWHERE[0], ELSEWHERE[1], 20 - 1 - ELSEWHERE[2]]
    shown, _, _ = ask(image="delayed", hcc=[mirrored], background=[])
    reference, _, _ = ask(hcc=[ELSEWHERE])
    assert shown[tuple(mirrored)] == LABELS["hcc"]
    assert np.array_equal(shown[::-1, :, ::-1], reference)


def test_an_uploaded_mask_steers(ask, upload):
    mask, _, facts = ask(label=str(upload))
    assert set(np.unique(mask)) == {0, LABELS["hcc"]}
    assert mask[60, 40, 10] == LABELS["hcc"]
    assert facts["class"] == "hcc"


def test_ohif_gets_nrrd(task):
    file, _ = task({"image": "arterial", "hcc": [ELSEWHERE], "result_extension": ".nrrd"})
    content = Path(file).read_bytes()
    os.unlink(file)
    assert content.startswith(b"NRRD")
    assert len(content.split(b"\n\n", 1)[1]) == 96 * 80 * 20
