"""The phantom as DICOM in three styles, read by the importer's own reader, and a result written back into it."""

import highdicom as hd
import nibabel as nib
import numpy as np
import pydicom
import pytest

from scripts.domain.phases import PHASES
from scripts.domain.study import Study
from scripts.results.dicom.source import DicomSource, SourceFrame, SourceStack
from scripts.results.dicom.writing import write_dicom
from scripts.studies.dicom.frames import scan
from scripts.studies.dicom.pixels import read_volume
from scripts.studies.dicom.stacks import stacks_of


def as_source(stack) -> SourceStack:
    return SourceStack(tuple(SourceFrame(frame.header, frame.index) for frame in stack.frames), stack.affine)


@pytest.mark.parametrize(
    ("style", "plane"),
    [("philips_series", "coronal"), ("untagged_repeats", "sagittal"), ("enhanced_multi_frame", "axial")],
)
def test_lesion_goes_back_to_where_the_phantom_has_it(dicom_phantom, analysed, sort_points, tmp_path, style, plane):
    subject = dicom_phantom.Subject(shape=(40, 32, 24), plane=plane, tilt_deg=(7.0, -5.0, 11.0))
    filing = dicom_phantom.Filing(reversed_slices=True, shuffled=True)
    (tmp_path / "in").mkdir()
    written = dicom_phantom.STYLES[style](tmp_path / "in", subject=subject, filing=filing)
    stacks = stacks_of(scan(tmp_path / "in", progress=False).frames)
    chosen = {
        name: next(s for s in stacks if (s.series_uid, s.part_index) == (true.series.uid, true.part))
        for name, true in written.phases.items()
    }
    canonical = [
        nib.as_closest_canonical(nib.Nifti1Image(read_volume(chosen[name]), chosen[name].affine)) for name in PHASES
    ]
    label = nib.as_closest_canonical(nib.Nifti1Image(subject.label.array.astype(np.uint8), subject.label.affine))
    study = Study(
        case="case_01",
        image=np.stack([np.asarray(volume.dataobj, dtype=np.float32) for volume in canonical]),
        affine=canonical[1].affine,
        available=(True,) * 4,
        times_s=(0.0, 30.0, 70.0, 180.0),
        offset=100.0,
        scale=50.0,
    )
    result, mask = analysed(study, np.asarray(label.dataobj))
    assert result.lesions
    source = DicomSource({name: as_source(stack) for name, stack in chosen.items()})
    files = write_dicom(tmp_path / "out", study=study, result=result, mask=mask, source=source)

    read = hd.seg.segread(str(files["segmentation"]))
    shared = read.SharedFunctionalGroupsSequence[0]
    cosines = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, dtype=float)
    between_rows, between_columns = shared.PixelMeasuresSequence[0].PixelSpacing
    # pydicom drops the axis of a single frame.
    frames = read.pixel_array.reshape(-1, read.Rows, read.Columns)
    points = []
    for pixels, group in zip(frames, read.PerFrameFunctionalGroupsSequence, strict=True):
        corner = np.array(group.PlanePositionSequence[0].ImagePositionPatient, dtype=float)
        row, column = np.argwhere(pixels).T[..., None]
        points.append(corner + column * between_columns * cosines[:3] + row * between_rows * cosines[3:])
    expected = np.argwhere(mask) @ study.affine[:3, :3].T + study.affine[:3, 3]
    true = np.argwhere(subject.label.array) @ subject.label.affine[:3, :3].T + subject.label.affine[:3, 3]
    found = sort_points(np.concatenate(points) * (-1.0, -1.0, 1.0))
    np.testing.assert_allclose(found, sort_points(expected), atol=0.011)
    # Every voxel that was kept lies on one of the phantom's own lesion voxels.
    distance_mm = np.linalg.norm(found[:, None] - true[None], axis=-1).min(axis=1)
    assert distance_mm.max() < 0.02
    assert read.StudyInstanceUID == written.uid
    assert {x.SeriesInstanceUID for x in read.ReferencedSeriesSequence} == {written.phases["arterial"].series.uid}
    assert str(pydicom.dcmread(files["measurements"]).PatientID) == written.patient.patient_id
