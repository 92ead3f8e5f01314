from __future__ import annotations

import logging
import os
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
    generate_uid,
)

from scripts.domain.errors import DatasetError
from scripts.studies.dicom.frames import Scan, Skipped, scan

MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4"
ENHANCED_MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4.1"
ROWS, COLUMNS = 6, 8
NAME = "PLANTED^NAME"


def image(number: int = 1, *, syntax: str = ExplicitVRLittleEndian, frames: int = 1, **tags) -> FileDataset:
    """An MR image with what a scanner writes; a tag of None is left out."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = syntax
    instance = tags.get("SOPInstanceUID") or generate_uid(entropy_srcs=[str(number), str(tags)])
    meta.MediaStorageSOPClassUID = tags.get("SOPClassUID", MR_IMAGE)
    meta.MediaStorageSOPInstanceUID = instance
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.is_little_endian = syntax != ExplicitVRBigEndian
    dataset.is_implicit_VR = syntax == ImplicitVRLittleEndian
    defaults = {
        "SpecificCharacterSet": "ISO_IR 192",
        "SOPClassUID": MR_IMAGE,
        "SOPInstanceUID": instance,
        "Modality": "MR",
        "PatientName": NAME,
        "PatientID": "PLANTED-ID",
        "InstitutionName": "PLANTED-HOSPITAL",
        "StudyInstanceUID": "1.2",
        "SeriesInstanceUID": "1.2.3",
        "SeriesNumber": 7,
        "SeriesDescription": "Leber dynamisch Übersicht",
        "InstanceNumber": number,
        "StudyDate": "20250314",
        "AcquisitionTime": "101500.25",
        "ImagePositionPatient": [1.5, -2.5, 3.0 * number],
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "PixelSpacing": [1.25, 0.75],
        "Rows": ROWS,
        "Columns": COLUMNS,
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 16,
        "BitsStored": 12,
        "HighBit": 11,
        "PixelRepresentation": 0,
        "PixelData": np.arange(frames * ROWS * COLUMNS, dtype="<u2").tobytes(),
    }
    for keyword, value in (defaults | tags).items():
        if value is not None:
            setattr(dataset, keyword, value)
    if "PixelData" in dataset:
        dataset["PixelData"].VR = "OW"
    return dataset


def item(**tags) -> Dataset:
    dataset = Dataset()
    for keyword, value in tags.items():
        setattr(dataset, keyword, value)
    return dataset


def group(**tags) -> Sequence:
    return Sequence([item(**tags)])


def written(dataset: FileDataset, file: Path) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(file, write_like_original=False)
    return file


def only_skipped(folder: Path) -> Skipped:
    found = scan(folder, progress=False)
    assert found.frames == ()
    (skipped,) = found.skipped
    return skipped


def quiet(folder: Path) -> Scan:
    return scan(folder, progress=False)


def test_a_folder_that_is_missing_is_refused(tmp_path):
    with pytest.raises(DatasetError, match=r"no such folder\. Give the folder that holds the DICOM studies"):
        scan(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        ({"Modality": "CT"}, "CT, not MR"),
        ({"Modality": "PLANTED"}, "not MR"),
        ({"Modality": None}, "no Modality: truncated, or no image"),
        ({"StudyInstanceUID": None}, "no StudyInstanceUID"),
        ({"SeriesInstanceUID": None}, "no SeriesInstanceUID"),
        ({"SOPInstanceUID": ""}, "no SOPInstanceUID"),
        ({"Rows": None}, "no image in it, or truncated before it"),
        ({"PixelData": None, "FloatPixelData": b"\0" * 64}, "no image in it"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.4.2", "PixelData": None}, "spectroscopy, no image"),
    ],
)
def test_what_is_no_mr_image_is_skipped_with_the_reason(tmp_path, tags, reason):
    file = written(image(**tags), tmp_path / "image.dcm")
    assert only_skipped(tmp_path) == Skipped(file, reason)


def test_a_dicomdir_is_skipped(tmp_path):
    directory = image(PixelData=None, SOPClassUID="1.2.840.10008.1.3.10")
    directory.DirectoryRecordSequence = Sequence([])
    written(directory, tmp_path / "DICOMDIR")
    assert "DICOMDIR" in only_skipped(tmp_path).reason


@pytest.mark.parametrize("content", [b"", b"hello", b"\0" * 500, b"PK\x03\x04" + b"\1" * 400], ids=range(4))
def test_what_is_no_dicom_is_skipped(tmp_path, content):
    (tmp_path / "notes.txt").write_bytes(content)
    assert only_skipped(tmp_path).reason == "not DICOM"


def test_a_folder_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    file = written(image(), tmp_path / "open" / "image.dcm")
    (tmp_path / "closed").mkdir()
    listed = os.scandir

    def scandir(place):
        if Path(place).name == "closed":
            raise PermissionError(13, "Permission denied", str(place))
        return listed(place)

    monkeypatch.setattr(os, "scandir", scandir)
    found = quiet(tmp_path)
    assert [frame.file for frame in found.frames] == [file]
    reason = "a folder that cannot be read: check the permissions"
    assert found.skipped == (Skipped(tmp_path / "closed", reason),)


@pytest.mark.parametrize("frames", [20_000_000, 2])
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, RLELossless])
def test_a_number_of_frames_that_is_not_there_makes_no_frames(tmp_path, syntax, frames):
    dataset = image(NumberOfFrames=frames, syntax=syntax)
    if syntax == RLELossless:
        dataset.PixelData = encapsulate([bytes(ROWS * COLUMNS)])
        dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
    written(dataset, tmp_path / "image.dcm")
    found = quiet(tmp_path).frames
    # A deflated file's length tells only what is beyond all reason.
    assert len(found) == (2 if syntax == DeflatedExplicitVRLittleEndian and frames == 2 else 1)
    assert found[0].truncated or len(found) == 2


def test_a_number_of_frames_beyond_the_functional_groups_makes_no_frames(tmp_path):
    dataset = enhanced()
    dataset.NumberOfFrames = 20_000_000
    written(dataset, tmp_path / "image")
    assert [frame.truncated for frame in quiet(tmp_path).frames] == [True] * 4


def test_rubbish_behind_a_preamble_is_skipped(tmp_path):
    (tmp_path / "rubbish.dcm").write_bytes(b"\0" * 128 + b"DICM" + np.random.default_rng(3).bytes(3000))
    assert only_skipped(tmp_path).reason in ("damaged header", "no Modality: truncated, or no image")


@pytest.mark.parametrize("kept", [140, 200, 400, 700])
def test_a_file_cut_inside_its_header_is_no_whole_frame(tmp_path, kept):
    file = written(image(), tmp_path / "image.dcm")
    file.write_bytes(file.read_bytes()[:kept])
    found = quiet(tmp_path)
    assert all(frame.truncated for frame in found.frames)
    assert len(found.frames) + len(found.skipped) == 1


@pytest.mark.parametrize("share", [0.98, 0.93])
def test_a_file_cut_inside_its_pixel_data_stays_as_a_truncated_frame(tmp_path, share):
    file = written(image(), tmp_path / "image.dcm")
    content = file.read_bytes()
    (tmp_path / "image.dcm").write_bytes(content[: int(len(content) * share)])
    (frame,) = quiet(tmp_path).frames
    assert frame.truncated


def test_pixel_data_shorter_than_the_matrix_are_truncated(tmp_path):
    written(image(PixelData=bytes(ROWS * COLUMNS)), tmp_path / "image.dcm")
    assert quiet(tmp_path).frames[0].truncated


def test_a_whole_copy_takes_the_place_of_a_truncated_file(tmp_path):
    for whole, cut in (("a", "b"), ("d", "c")):
        file = written(image(ord(whole)), tmp_path / whole)
        (tmp_path / cut).write_bytes(file.read_bytes()[:-10])
    found = quiet(tmp_path)
    assert {frame.file.name: frame.truncated for frame in found.frames} == {"a": False, "d": False}
    assert {skipped.file.name for skipped in found.skipped} == {"b", "c"}


def test_the_same_image_twice_is_one_frame(tmp_path):
    file = written(image(), tmp_path / "a.dcm")
    shutil.copy(file, tmp_path / "b.dcm")
    found = quiet(tmp_path)
    assert [frame.file.name for frame in found.frames] == ["a.dcm"]
    assert found.skipped == (Skipped(tmp_path / "b.dcm", "the same image as another file"),)


def test_one_instance_uid_for_all_slices_loses_none(tmp_path):
    for number in range(4):
        written(image(number, SOPInstanceUID="1.2.3.4"), tmp_path / f"{number}.dcm")
    assert len(quiet(tmp_path).frames) == 4


def test_damaged_values_are_missing_and_nothing_is_printed(tmp_path, capfd, caplog):
    dataset = image(TriggerTime=1)
    file = written(dataset, tmp_path / "private" / "image.dcm")
    content = file.read_bytes().replace(b"101500.25 ", b"PLANTED^XX").replace(b"1.25\\0.75 ", b"PLANTED^YY")
    file.write_bytes(content)
    with warnings.catch_warnings(record=True) as caught, caplog.at_level(logging.DEBUG):
        warnings.simplefilter("always")
        (frame,) = quiet(tmp_path).frames
        str(frame.header.get("AcquisitionTime"))
    assert frame.acquisition_time_s is None
    assert frame.spacing_mm is None
    printed = "".join((*capfd.readouterr(), caplog.text, *(str(warning.message) for warning in caught)))
    assert "PLANTED" not in printed
    assert "private" not in printed


def test_links_are_followed_once(tmp_path):
    elsewhere = tmp_path / "archive"
    written(image(1), elsewhere / "series" / "1.dcm")
    written(image(2), elsewhere / "2.dcm")
    folder = tmp_path / "in"
    written(image(3), folder / "own" / "3.dcm")
    (folder / "study").symlink_to(elsewhere)
    (folder / "again").symlink_to(elsewhere)
    (folder / "own" / "up").symlink_to(folder)
    (elsewhere / "round").symlink_to(elsewhere / "series")
    (folder / "one.dcm").symlink_to(elsewhere / "2.dcm")
    (folder / "lost").symlink_to(tmp_path / "nowhere")
    found = quiet(folder)
    assert sorted(frame.header.InstanceNumber for frame in found.frames) == [1, 2, 3]
    assert {skipped.reason for skipped in found.skipped} == {
        "the same image as another file",
        "cannot be read: check the disk and the permissions",
    }
    assert len(found.skipped) == 2


def test_a_bar_is_shown_when_asked_for(tmp_path, capfd):
    written(image(), tmp_path / "image.dcm")
    scan(tmp_path)
    assert "Reading headers" in capfd.readouterr().err
    scan(tmp_path, progress=False)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    "syntax",
    [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian],
    ids=["explicit", "implicit", "big endian", "deflated"],
)
def test_a_frame_holds_what_the_file_says(tmp_path, syntax):
    tags = {"TemporalPositionIdentifier": 3, "TriggerTime": 812.5, "EchoTime": 1.35, "RescaleSlope": "2.5"}
    file = written(image(4, syntax=syntax, **tags), tmp_path / "deep" / "er" / "image")
    (frame,) = quiet(tmp_path).frames
    assert (frame.file, frame.index, frame.truncated) == (file, 0, False)
    assert frame.position_mm == (1.5, -2.5, 12.0)
    assert frame.orientation == (1, 0, 0, 0, 1, 0)
    assert frame.spacing_mm == (1.25, 0.75)
    assert frame.shape == (ROWS, COLUMNS)
    assert (frame.temporal_position, frame.trigger_time_ms) == (3, 812.5)
    assert frame.acquisition_time_s == 10 * 3600 + 15 * 60 + 0.25
    assert frame.header.SeriesDescription == "Leber dynamisch Übersicht"
    assert (frame.header.EchoTime, frame.header.RescaleSlope) == (1.35, 2.5)


def test_a_file_without_preamble_is_read(tmp_path):
    file = written(image(), tmp_path / "image")
    content = file.read_bytes()
    file.write_bytes(content[content.index(b"\x08\x00\x05\x00CS") :])
    (frame,) = quiet(tmp_path).frames
    assert frame.shape == (ROWS, COLUMNS)
    assert not frame.truncated


def test_only_what_is_used_stays_in_memory(tmp_path):
    for number in range(3):
        dataset = image(number)
        dataset.private_block(0x0029, "SIEMENS CSA HEADER", create=True).add_new(0x10, "OB", bytes(5000))
        written(dataset, tmp_path / f"{number}.dcm")
    headers = [frame.header for frame in quiet(tmp_path).frames]
    assert not any(keyword in header for header in headers for keyword in ("PixelData", "InstitutionName"))
    assert not any(tag.is_private for header in headers for tag in header.keys())  # noqa: SIM118
    names = [header.get_item("PatientName") for header in headers]
    assert names[0] is names[1] is names[2]


def test_lossy_compression_stays_known(tmp_path):
    tags = {
        "LossyImageCompression": "01",
        "LossyImageCompressionRatio": "8",
        "LossyImageCompressionMethod": "ISO_15444_1",
    }
    written(image(**tags), tmp_path / "image")
    (frame,) = quiet(tmp_path).frames
    assert {keyword: str(frame.header[keyword].value) for keyword in tags} == tags


def test_changing_one_header_leaves_the_others(tmp_path):
    for number in range(2):
        written(image(number), tmp_path / f"{number}.dcm")
    first, second = (frame.header for frame in quiet(tmp_path).frames)
    first.PatientName = "x"
    assert second.PatientName == NAME


@pytest.mark.parametrize(
    ("tags", "time_s"),
    [
        ({"AcquisitionTime": "0007"}, 7 * 60),
        ({"AcquisitionTime": "10:15:00"}, 36_900),
        ({"AcquisitionTime": "250000"}, None),
        ({"AcquisitionTime": "000130", "AcquisitionDate": "20250315"}, 86_490),
        ({"AcquisitionTime": "000130", "AcquisitionDate": "19990101"}, 90),
        ({"AcquisitionTime": None, "AcquisitionDateTime": "20250314000130.5+0100"}, 90.5),
        ({"AcquisitionTime": "000130", "AcquisitionDateTime": "20250314000000"}, 90),
        ({"AcquisitionTime": None}, None),
    ],
)
def test_times_of_acquisition(tmp_path, tags, time_s):
    written(image(**tags), tmp_path / "image")
    assert quiet(tmp_path).frames[0].acquisition_time_s == time_s


def enhanced(*, syntax: str = ExplicitVRLittleEndian) -> FileDataset:
    """Two slices of two phases: shared spacing and orientation, everything else by frame."""
    tags = dict.fromkeys(
        ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "AcquisitionTime", "EchoTime")
    )
    dataset = image(frames=4, syntax=syntax, SOPClassUID=ENHANCED_MR_IMAGE, NumberOfFrames=4, **tags)
    dataset.Manufacturer = "Philips"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "DYNAMIC", "NONE"]
    shared = item(
        PixelMeasuresSequence=group(PixelSpacing=[1.25, 0.75], SliceThickness=3.0),
        PlaneOrientationSequence=group(ImageOrientationPatient=[1, 0, 0, 0, 1, 0]),
        MRTimingAndRelatedParametersSequence=group(RepetitionTime=3.7, FlipAngle=12.0),
        MREchoSequence=group(EffectiveEchoTime=1.35),
    )
    dataset.SharedFunctionalGroupsSequence = Sequence([shared])
    frames = []
    for index in range(4):
        phase, k = divmod(index, 2)
        frame = item(
            PlanePositionSequence=group(ImagePositionPatient=[0, 0, 3.0 * k]),
            FrameContentSequence=group(
                TemporalPositionIndex=phase + 1, FrameAcquisitionDateTime=f"202503141015{10 * phase:02d}.5"
            ),
            MRImageFrameTypeSequence=group(FrameType=["ORIGINAL", "PRIMARY", "WATER", "NONE"]),
            ContrastBolusUsageSequence=group(ContrastBolusAgentPhase="ARTERIAL" if phase else "PRE_CONTRAST"),
            CardiacSynchronizationSequence=group(NominalCardiacTriggerDelayTime=100.0 * phase),
            PixelValueTransformationSequence=group(
                RescaleSlope=str(1 + index), RescaleIntercept="-5", RescaleType="US"
            ),
        )
        private = Dataset()
        private.private_block(0x2005, "Philips MR Imaging DD 001", create=True).add_new(0x0E, "FL", 0.5 + index)
        frame.add_new((0x2005, 0x0014), "LO", "Philips MR Imaging DD 005")
        frame.add_new((0x2005, 0x140F), "SQ", Sequence([private]))
        frames.append(frame)
    dataset.PerFrameFunctionalGroupsSequence = Sequence(frames)
    return dataset


def test_the_philips_scale_slope_is_found_in_a_block_that_was_moved(tmp_path):
    dataset = enhanced()
    for group in dataset.PerFrameFunctionalGroupsSequence:
        group.add_new((0x2005, 0x0010), "LO", group[0x2005, 0x0014].value)
        group.add_new((0x2005, 0x100F), "SQ", group[0x2005, 0x140F].value)
        del group[0x2005, 0x0014], group[0x2005, 0x140F]
    written(dataset, tmp_path / "image")
    assert [frame.header[0x2005, 0x100E].value for frame in quiet(tmp_path).frames] == [0.5, 1.5, 2.5, 3.5]


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian], ids=["explicit", "implicit"])
def test_an_enhanced_file_gives_its_frames_with_shared_and_own_values(tmp_path, syntax):
    file = written(enhanced(syntax=syntax), tmp_path / "image")
    frames = quiet(tmp_path).frames
    assert [(frame.file, frame.index) for frame in frames] == [(file, index) for index in range(4)]
    assert [frame.position_mm for frame in frames] == [(0, 0, 0), (0, 0, 3), (0, 0, 0), (0, 0, 3)]
    assert {frame.orientation for frame in frames} == {(1, 0, 0, 0, 1, 0)}
    assert {frame.spacing_mm for frame in frames} == {(1.25, 0.75)}
    assert [frame.temporal_position for frame in frames] == [1, 1, 2, 2]
    assert [frame.trigger_time_ms for frame in frames] == [0, 0, 100, 100]
    assert [frame.acquisition_time_s for frame in frames] == [36_910.5 - 10, 36_900.5, 36_910.5, 36_910.5]


def test_headers_of_enhanced_frames_read_like_those_of_single_frames(tmp_path):
    written(enhanced(), tmp_path / "image")
    headers = [frame.header for frame in quiet(tmp_path).frames]
    assert {(h.RepetitionTime, h.FlipAngle, h.EchoTime, h.SliceThickness) for h in headers} == {(3.7, 12, 1.35, 3)}
    assert [list(h.ImageType) for h in headers] == [["ORIGINAL", "PRIMARY", "WATER", "NONE"]] * 4
    assert [h.ContrastBolusAgentPhase for h in headers] == ["PRE_CONTRAST"] * 2 + ["ARTERIAL"] * 2
    assert [(h.RescaleSlope, h.RescaleIntercept) for h in headers] == [(1 + n, -5) for n in range(4)]
    assert [h[0x2005, 0x100E].value for h in headers] == [0.5, 1.5, 2.5, 3.5]
    assert not any("FunctionalGroups" in element.keyword for header in headers for element in header)


def test_a_truncated_enhanced_file_marks_all_its_frames(tmp_path):
    file = written(enhanced(), tmp_path / "image")
    file.write_bytes(file.read_bytes()[:-20])
    assert [frame.truncated for frame in quiet(tmp_path).frames] == [True] * 4
