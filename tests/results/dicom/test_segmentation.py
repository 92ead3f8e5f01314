import json
import subprocess

import highdicom as hd
import nibabel as nib
import numpy as np
import pydicom
import pytest

from scripts.domain.errors import StudyError
from scripts.results.dicom import codes
from scripts.results.dicom.equipment import equipment_of
from scripts.results.dicom.segmentation import segmentation, to_frames, track_lesions
from scripts.results.dicom.source import SourceStack


@pytest.fixture(params=["single-frame", "multi-frame"])
def either(request, finished, finished_multi_frame):
    """A result from single-frame images, then one from an enhanced image."""
    return finished if request.param == "single-frame" else finished_multi_frame


def lps_points(segmentation: hd.seg.Segmentation, number: int) -> np.ndarray:
    """World coordinates of a segment's voxels, frame by frame from its own geometry."""
    shared = segmentation.SharedFunctionalGroupsSequence[0]
    cosines = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, dtype=float)
    between_rows, between_columns = shared.PixelMeasuresSequence[0].PixelSpacing
    points = []
    for pixels, group in zip(segmentation.pixel_array, segmentation.PerFrameFunctionalGroupsSequence, strict=True):
        if group.SegmentIdentificationSequence[0].ReferencedSegmentNumber != number:
            continue
        position = np.array(group.PlanePositionSequence[0].ImagePositionPatient, dtype=float)
        for row, column in np.argwhere(pixels):
            points.append(position + column * between_columns * cosines[:3] + row * between_rows * cosines[3:])
    return np.array(points)


def test_refuses_a_grid_that_is_not_the_slices(write_study):
    written = write_study()
    with pytest.raises(StudyError, match="is not that of the reference phase's slices"):
        to_frames(written.label[1:], written.study.affine, written.source.reference)
    shifted = written.study.affine.copy()
    shifted[:3, 3] += 0.5
    with pytest.raises(StudyError, match="without resampling"):
        to_frames(written.label, shifted, written.source.reference)


def test_refuses_a_grid_that_is_rotated_a_little(write_study):
    written = write_study()
    reference = written.source.reference
    turned = reference.affine.copy()
    turned[:3, 0] += 0.02 * turned[:3, 1]
    with pytest.raises(StudyError, match="is not that of the reference phase's slices"):
        to_frames(written.label, written.study.affine, SourceStack(reference.frames, turned))


def test_refuses_a_mask_that_is_not_the_results(write_study, analysed):
    written = write_study()
    result, mask = analysed(written.study, written.label)
    with pytest.raises(StudyError, match="Give the study's own mask"):
        track_lesions(written.study, result, mask[:-1])
    with pytest.raises(StudyError, match="made with this result"):
        track_lesions(written.study, result, np.where(mask == mask.max(), 0, mask))
    grown = mask.copy()
    grown[np.argwhere(mask)[0][0] - 1] = mask[np.argwhere(mask)[0][0]]
    with pytest.raises(StudyError, match="their volumes differ"):
        track_lesions(written.study, result, grown)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("orientation", ["axial", "sagittal", "coronal", "head down"])
def test_every_voxel_goes_back_to_its_slice(write_study, orientation, reverse):
    written = write_study(orientation, reverse=reverse)
    assert written.study.affine[0, 0] > 0
    signal = written.volumes[1].transpose(2, 1, 0)
    for image in (written.study.image[1], written.label):
        frames = to_frames(image, written.study.affine, written.source.reference)
        assert frames.shape == (10, 20, 24)
        values = np.unique(frames)
        expected = signal[::-1] if reverse else signal
        for value in values:
            (stored,) = np.unique(expected[frames == value])
            assert np.count_nonzero(expected == stored) == np.count_nonzero(frames == value)


@pytest.mark.parametrize("orientation", ["coronal", "head down"])
def test_every_voxel_goes_back_to_its_place(write_study, analysed, expected_points_mm, sort_points, orientation):
    written = write_study(orientation, reverse=True)
    result, mask = analysed(written.study, written.label)
    lesions = track_lesions(written.study, result, mask)
    made = segmentation(written.study, lesions, written.source, equipment_of(result))
    for number, name in ((1, "hcc"), (2, "hemangioma")):
        np.testing.assert_allclose(sort_points(lps_points(made, number)), expected_points_mm(written, name), atol=0.011)


def test_a_file_holds_every_voxel_in_its_place(either, expected_points_mm, sort_points):
    read = hd.seg.segread(str(either.files["segmentation"]))
    for number, name in ((1, "hcc"), (2, "hemangioma")):
        expected = expected_points_mm(either.written, name)
        np.testing.assert_allclose(sort_points(lps_points(read, number)), expected, atol=0.011)


def test_voxels_are_those_of_the_source_images(finished):
    files = {
        pydicom.dcmread(f, specific_tags=["SOPInstanceUID"]).SOPInstanceUID: f
        for f in finished.written.folder.iterdir()
    }
    uids = [frame.header.SOPInstanceUID for frame in finished.written.source.reference.frames]
    read = hd.seg.segread(str(finished.files["segmentation"]))
    pixels = read.get_pixels_by_source_instance(uids, ignore_spatial_locations=False)
    assert pixels.shape == (10, 20, 24, 2)
    source = np.stack([pydicom.dcmread(files[uid]).pixel_array for uid in uids])
    assert set(source[pixels[..., 0] > 0]) == {300}
    assert set(source[pixels[..., 1] > 0]) == {120}
    assert set(source[pixels.max(axis=-1) == 0]) == {150}


def test_frames_of_a_multi_frame_source_are_named(finished_multi_frame):
    read = hd.seg.segread(str(finished_multi_frame.files["segmentation"]))
    header = finished_multi_frame.written.source.reference.header
    (source,) = read.SourceImageSequence
    assert source.ReferencedSOPInstanceUID == header.SOPInstanceUID
    assert list(source.ReferencedFrameNumber) == list(range(2, 41, 4))
    (series,) = read.ReferencedSeriesSequence
    assert [x.ReferencedSOPInstanceUID for x in series.ReferencedInstanceSequence] == [header.SOPInstanceUID]
    for group in read.PerFrameFunctionalGroupsSequence:
        number = group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedFrameNumber
        position = header.PerFrameFunctionalGroupsSequence[number - 1].PlanePositionSequence[0].ImagePositionPatient
        assert [float(x) for x in position] == [float(x) for x in group.PlanePositionSequence[0].ImagePositionPatient]


def test_segments_are_coded(finished):
    read = hd.seg.segread(str(finished.files["segmentation"]))
    assert read.SegmentationType == "BINARY"
    descriptions = read.SegmentSequence
    assert [d.SegmentLabel for d in descriptions] == ["Lesion 1: HCC", "Lesion 2: hemangioma"]
    for description in descriptions:
        assert description.segmented_property_category == codes.CATEGORY
        assert description.algorithm_type == hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC
        algorithm = description.SegmentationAlgorithmIdentificationSequence[0]
        assert algorithm.AlgorithmFamilyCodeSequence[0].CodeValue == "123110"
        assert algorithm.AlgorithmVersion == "0.1.0"
        assert finished.result.model["weights_sha256"] in algorithm.AlgorithmParameters
    assert [d.segmented_property_type.value for d in descriptions] == ["25370001", "2099007"]
    assert len({d.TrackingUID for d in descriptions}) == 2


def test_a_lesion_of_unknown_class_is_a_neoplasm(write_study, analysed):
    written = write_study()
    result, mask = analysed(written.study, written.label, heads=False)
    lesions = track_lesions(written.study, result, mask)
    description = segmentation(written.study, lesions, written.source, equipment_of(result)).SegmentSequence[0]
    assert description.segmented_property_type.value == "108369006"
    assert description.SegmentLabel == "Lesion 1: class unknown"


def test_lies_in_the_frame_of_reference_of_its_images(either):
    read, header = pydicom.dcmread(either.files["segmentation"]), either.written.source.reference.header
    assert read.FrameOfReferenceUID == header.FrameOfReferenceUID
    assert {x.SeriesInstanceUID for x in read.ReferencedSeriesSequence} == {header.SeriesInstanceUID}
    assert float(read.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SpacingBetweenSlices) == 5.0
    assert float(read.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SliceThickness) == 4.5


def test_dcmqi_reads_the_same_voxels(either, expected_points_mm, sort_points, dicom_tool, tmp_path):
    command = [
        dicom_tool("segimage2itkimage"),
        *("--inputDICOM", either.files["segmentation"], "--outputDirectory", tmp_path, "--outputType", "nii"),
    ]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    segments = [attributes[0] for attributes in json.loads((tmp_path / "meta.json").read_text())["segmentAttributes"]]
    assert [s["SegmentedPropertyTypeCodeSequence"]["CodeValue"] for s in segments] == ["25370001", "2099007"]
    for number, name in ((1, "hcc"), (2, "hemangioma")):
        image = nib.load(tmp_path / f"{number}.nii.gz")
        ras = np.argwhere(np.asarray(image.dataobj) > 0) @ image.affine[:3, :3].T + image.affine[:3, 3]
        expected = expected_points_mm(either.written, name)
        np.testing.assert_allclose(sort_points(ras * (-1.0, -1.0, 1.0)), expected, atol=0.011)
