"""The whole path as a department has it: out of a PACS, through `inferring`, and back as DICOM objects."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import highdicom as hd
import nibabel as nib
import numpy as np
import pydicom
import pytest
import requests
from dicomweb_client import DICOMwebClient

WEIGHTS = Path(__file__).resolve().parents[2] / "bundle" / "models" / "model.pt"
OBJECTS = {"segmentation.dcm": "SEG", "measurements.dcm": "SR", "page.dcm": "OT"}


@pytest.fixture
def pacs(orthanc: str) -> DICOMwebClient:
    """An empty PACS."""
    session = requests.Session()
    session.trust_env = False
    return DICOMwebClient(orthanc, session=session)


def _occupied_mm(volume: np.ndarray, affine: np.ndarray) -> np.ndarray:
    points = np.argwhere(volume > 0) @ affine[:3, :3].T + affine[:3, 3]
    return points[np.lexsort(points.round(2).T)]


def _segmented_mm(segmentation: pydicom.Dataset, images: list[pydicom.Dataset]) -> np.ndarray:
    """RAS centres of all segmented pixels, from the positions of the images that the SEG refers to."""
    read = hd.seg.Segmentation.from_dataset(segmentation)
    by_uid = {str(image.SOPInstanceUID): image for image in images}
    uids = [uid for uid in by_uid if uid in {str(row[2]) for row in read.get_source_image_uids()}]
    pixels = read.get_pixels_by_source_instance(uids, combine_segments=True)
    points = []
    for uid, plane in zip(uids, pixels, strict=True):
        image = by_uid[uid]
        orientation = np.array(image.ImageOrientationPatient, float)
        for row, column in np.argwhere(plane > 0):
            step = orientation[:3] * column * image.PixelSpacing[1] + orientation[3:] * row * image.PixelSpacing[0]
            points.append((np.array(image.ImagePositionPatient, float) + step) * (-1, -1, 1))
    points = np.array(points)
    return points[np.lexsort(points.round(2).T)]


def test_out_of_a_pacs_and_back(bundle, dicom_phantom: ModuleType, pacs: DICOMwebClient, tmp_path: Path) -> None:
    subject = dicom_phantom.Subject(shape=(96, 80, 16), tumour_class="hemangioma")
    written = dicom_phantom.misspelt(tmp_path / "scanner", subject=subject, filing=dicom_phantom.Filing(key="pacs"))
    acquired = [pydicom.dcmread(file) for file in written.files]
    pacs.store_instances(acquired)

    exported = tmp_path / "exported"
    exported.mkdir()
    for number, image in enumerate(pacs.retrieve_study(acquired[0].StudyInstanceUID)):
        image.save_as(exported / f"{number}", write_like_original=False)
    out = tmp_path / "out"
    overrides = {"dataset_dir": exported, "output_dir": out, "ckpt_path": WEIGHTS, "dicom_output": "true"}
    finished = bundle.run("inferring", "inference.yaml", overrides | {"register": "none", "backend": "torch"})
    assert finished.code == 0, finished.stderr
    assert "PLANTED" not in finished.stdout + finished.stderr

    (result_file,) = out.glob("*/result.json")
    folder, result = result_file.parent, json.loads(result_file.read_text())
    assert result["lesions"]
    objects = {name: pydicom.dcmread(folder / name) for name in OBJECTS}
    pacs.store_instances(list(objects.values()))
    back = {}
    for name, modality in OBJECTS.items():
        (series,) = pacs.search_for_series(acquired[0].StudyInstanceUID, search_filters={"Modality": modality})
        (back[name],) = pacs.retrieve_series(acquired[0].StudyInstanceUID, series["0020000E"]["Value"][0])

    mask = nib.load(folder / "mask.nii.gz")
    expected = _occupied_mm(np.asarray(mask.dataobj), mask.affine)
    np.testing.assert_allclose(_segmented_mm(back["segmentation.dcm"], acquired), expected, atol=0.02)

    report = hd.sr.Comprehensive3DSR.from_dataset(back["measurements.dcm"])
    groups = report.content.get_volumetric_roi_measurement_groups()
    volumes_ml = [
        measurement.value
        for group in groups
        for measurement in group.get_measurements()
        if measurement.name.meaning == "Volume"
    ]
    assert volumes_ml == pytest.approx([lesion["volume_ml"] for lesion in result["lesions"]], rel=1e-4)
    assert back["page.dcm"].PatientID == acquired[0].PatientID


def test_a_second_analysis_replaces_its_own_import(bundle, dicom_phantom: ModuleType, tmp_path: Path) -> None:
    dicom_phantom.separate_series(tmp_path / "in")
    overrides = {"dataset_dir": tmp_path / "in", "output_dir": tmp_path / "out", "ckpt_path": WEIGHTS}
    overrides |= {"register": "none", "backend": "torch", "figures": "false"}
    for _ in range(2):
        finished = bundle.run("inferring", "inference.yaml", overrides)
        assert finished.code == 0, finished.stderr
    assert len(list((tmp_path / "out").glob("*/result.json"))) == 1


def test_an_ambiguous_study_is_refused(bundle, dicom_phantom: ModuleType, tmp_path: Path) -> None:
    dicom_phantom.ambiguous(tmp_path / "in")
    finished = bundle.run(
        "inferring", "inference.yaml", {"dataset_dir": tmp_path / "in", "output_dir": tmp_path / "out"}
    )
    assert finished.code != 0
    assert "Traceback" not in finished.stderr
    assert "--phases" in finished.error


def test_dicom_results_need_dicom_studies(bundle, cohort: Path, tmp_path: Path) -> None:
    overrides = {"dataset_dir": cohort, "output_dir": tmp_path / "out", "dicom_output": "true"}
    finished = bundle.run("inferring", "inference.yaml", overrides)
    assert finished.code != 0
    assert "dicom_output needs studies that come from DICOM" in finished.error
    assert not (tmp_path / "out").exists()
