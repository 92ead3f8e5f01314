"""Readers' masks as DICOM SEG: where the pixels lie, how they are coded, who said it."""

import re
import subprocess
from dataclasses import replace
from io import BytesIO

import highdicom as hd
import nibabel as nib
import numpy as np
import pydicom
import pytest

from lib.errors import UnavailableError
from lib.labels.coded_seg import sop_instance_uid, store_seg, write_seg
from lib.labels.store import LabelStore
from lib.studies.dicom_cache import StudyCache
from scripts.domain.errors import StudyError
from scripts.results.dicom.codes import FINDINGS


@pytest.fixture
def label_of(tmp_path, draw):
    """Save a drawn label of a study: ``label_of(study, **given)``."""
    store = LabelStore(tmp_path / "labels")

    def save(study, **given):
        said = {"mask": draw(study), "study": study, "diagnosis": "hcc", "reader": "Jürgen H"} | given
        return store.save(study.case_id, **said)

    return save


def world_mm(seg: pydicom.Dataset, number: int) -> np.ndarray:
    """RAS world of a segment's pixels, from the SEG's own geometry, sorted."""
    with BytesIO() as file:
        seg.save_as(file, write_like_original=False)
        read = hd.seg.Segmentation.from_dataset(pydicom.dcmread(BytesIO(file.getvalue())), copy=False)
    shared = read.SharedFunctionalGroupsSequence[0]
    cosines = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, dtype=float)
    between_rows, between_columns = shared.PixelMeasuresSequence[0].PixelSpacing
    frames = read.pixel_array.reshape(-1, read.Rows, read.Columns)
    points = []
    for pixels, group in zip(frames, read.PerFrameFunctionalGroupsSequence, strict=True):
        if group.SegmentIdentificationSequence[0].ReferencedSegmentNumber == number:
            corner = np.array(group.PlanePositionSequence[0].ImagePositionPatient, dtype=float)
            row, column = np.argwhere(pixels).T[..., None]
            points.append(corner + column * between_columns * cosines[:3] + row * between_rows * cosines[3:])
    found = np.concatenate(points) * (-1.0, -1.0, 1.0)
    return found[np.lexsort(found.round(2).T)]


def expected_mm(study, mask: np.ndarray, value: int) -> np.ndarray:
    affine = study.grid(study.reference).affine
    points = np.argwhere(mask == value) @ affine[:3, :3].T + affine[:3, 3]
    return points[np.lexsort(points.round(2).T)]


def test_a_study_that_is_not_dicom(label_of, folder_study):
    with pytest.raises(StudyError, match="not come from DICOM"):
        write_seg(label_of(folder_study), folder_study)


def test_a_label_without_a_lesion(label_of, dicom_study):
    label = label_of(dicom_study, mask=None, diagnosis="none")
    with pytest.raises(StudyError, match="no lesion"):
        write_seg(label, dicom_study)


def test_a_mask_on_another_grid(label_of, dicom_study):
    label = label_of(dicom_study)
    image = nib.load(label.mask_file)
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj)[:, :, 1:], image.affine), label.mask_file)
    with pytest.raises(StudyError, match="grid"):
        write_seg(label, dicom_study)


def test_pixels_lie_where_they_were_drawn(label_of, dicom_study, draw):
    seg = write_seg(label_of(dicom_study), dicom_study)
    mask = draw(dicom_study)
    for number, value in ((1, 2), (2, 1)):
        np.testing.assert_allclose(world_mm(seg, number), expected_mm(dicom_study, mask, value), atol=0.02)


def test_who_said_what_and_how(label_of, dicom_study, written):
    label_of(dicom_study)
    label = label_of(dicom_study, mask=None, diagnosis="hemangioma")
    seg = write_seg(label, dicom_study)
    assert [str(segment.SegmentLabel) for segment in seg.SegmentSequence] == ["Lesion 1: HCC", "Lesion 2: hemangioma"]
    types = [segment.SegmentedPropertyTypeCodeSequence[0] for segment in seg.SegmentSequence]
    coded = [(code.CodeValue, code.CodingSchemeDesignator) for code in types]
    assert coded == [(FINDINGS[name].value, "SCT") for name in ("hcc", "hemangioma")]
    for segment in seg.SegmentSequence:
        assert segment.SegmentAlgorithmType == "MANUAL"
        assert "SegmentAlgorithmName" not in segment
        assert segment.AnatomicRegionSequence[0].CodeMeaning == "Liver"
        assert segment.TrackingID.endswith("version 2")
    assert len({segment.TrackingUID for segment in seg.SegmentSequence}) == 2
    assert str(seg.ContentCreatorName) == "Jurgen H^"
    assert seg.ContentDescription == "Reader's mask, version 2; diagnosis: hemangioma"
    assert seg.StudyInstanceUID == written.uid
    assert str(seg.PatientID) == written.patient.patient_id
    (series,) = seg.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == dicom_study.reference
    assert not re.search("spleen|78961009", str(seg), re.IGNORECASE)


def test_descriptions_fit_their_attributes(label_of, dicom_study):
    label = replace(label_of(dicom_study, reader="", diagnosis="hemangioma"), version=123456)
    seg = write_seg(label, dicom_study)
    assert len(seg.ContentDescription) <= 64
    assert str(seg.ContentCreatorName) == "Reader^"


def test_writing_again_makes_the_same_object(label_of, dicom_study):
    label = label_of(dicom_study)
    first, second = write_seg(label, dicom_study), write_seg(label, dicom_study)
    assert first.SOPInstanceUID == second.SOPInstanceUID == sop_instance_uid(label)
    assert first.SeriesInstanceUID == second.SeriesInstanceUID
    newer = label_of(dicom_study, mask=None, diagnosis="hemangioma")
    assert sop_instance_uid(newer) != sop_instance_uid(label)


@pytest.mark.parametrize("style", ["enhanced_multi_frame", "temporal_positions"])
def test_other_styles(label_of, write_study, read_series, draw, tmp_path, style):
    written = write_study("to be drawn on", style=style)
    cache = StudyCache(tmp_path / "cache", register="none")
    cache.add(written.uid, read_series(written))
    study = cache.load(written.uid)
    seg = write_seg(label_of(study), study)
    np.testing.assert_allclose(world_mm(seg, 1), expected_mm(study, draw(study), 2), atol=0.02)
    true = written.phases["arterial"]
    named = {
        (
            group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID,
            group.DerivationImageSequence[0].SourceImageSequence[0].get("ReferencedFrameNumber"),
        )
        for group in seg.PerFrameFunctionalGroupsSequence
    }
    uids = {str(pydicom.dcmread(file, stop_before_pixels=True).SOPInstanceUID) for file in true.series.files}
    assert {uid for uid, _ in named} <= uids
    assert len(named) == len(
        {tuple(g.PlanePositionSequence[0].ImagePositionPatient) for g in seg.PerFrameFunctionalGroupsSequence}
    )


def test_an_independent_validator_finds_no_error(label_of, dicom_study, dicom_tool, tmp_path):
    write_seg(label_of(dicom_study), dicom_study).save_as(tmp_path / "seg.dcm", write_like_original=False)
    checked = subprocess.run(
        [dicom_tool("dciodvfy"), tmp_path / "seg.dcm"], capture_output=True, text=True, check=False
    )
    assert "Error" not in checked.stderr
    assert "Error" not in checked.stdout


def test_nobody_to_store_it(label_of, dicom_study):
    with pytest.raises(UnavailableError):
        store_seg("http://127.0.0.1:9/dicom-web", write_seg(label_of(dicom_study), dicom_study))
