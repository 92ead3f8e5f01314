"""The generator itself: its files are read back with plain pydicom, and volumes rebuilt by code of their own."""

from __future__ import annotations

import shutil
import subprocess
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from scripts.domain.phases import PHASES

# TriggerTime is for cardiac gating; scanners write it for dynamics nevertheless, and that is what the style is about.
KNOWN_ERRORS = ("Element=<TriggerTime>",)

SINGLE_FRAME_STYLES = (
    "separate_series",
    "temporal_positions",
    "trigger_times",
    "acquisition_times",
    "untagged_repeats",
    "philips_series",
    "misspelt",
)


def _real_world(dataset: Dataset, pixels: np.ndarray, slope: float, intercept: float) -> np.ndarray:
    """Stored pixels to values; Philips' scale slope where there is one (formula of Chenevert et al. 2014)."""
    value = pixels * slope + intercept
    if (0x2005, 0x100E) in dataset:
        value = value / (slope * dataset[0x2005, 0x100E].value)
    return value


def _points(corner: list[float], axes: list[float], spacing: list[float], shape: tuple[int, int]) -> np.ndarray:
    """``(rows, columns, 3)`` RAS world of pixels, PS3.3 C.7.6.2.1.1."""
    rows, columns = np.indices(shape)
    along_row, along_column = np.array(axes, float).reshape(2, 3)
    lps = (
        np.array(corner, float)
        + columns[..., None] * float(spacing[1]) * along_row
        + rows[..., None] * float(spacing[0]) * along_column
    )
    return lps * (-1, -1, 1)


def _planes(files: tuple[Path, ...]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Values and RAS world points ``(rows, columns, 3)`` of each frame, in stored order."""
    planes = []
    for file in files:
        dataset = pydicom.dcmread(file)
        if "PerFrameFunctionalGroupsSequence" not in dataset:
            values = _real_world(
                dataset,
                dataset.pixel_array.astype(float),
                float(dataset.get("RescaleSlope", 1)),
                float(dataset.get("RescaleIntercept", 0)),
            )
            points = _points(
                dataset.ImagePositionPatient, dataset.ImageOrientationPatient, dataset.PixelSpacing, values.shape
            )
            planes.append((values, points))
            continue
        shared = dataset.SharedFunctionalGroupsSequence[0]
        axes = shared.PlaneOrientationSequence[0].ImageOrientationPatient
        spacing = shared.PixelMeasuresSequence[0].PixelSpacing
        for frame, pixels in zip(dataset.PerFrameFunctionalGroupsSequence, dataset.pixel_array, strict=True):
            scale = frame.PixelValueTransformationSequence[0]
            private = frame[0x2005, 0x100F].value[0] if (0x2005, 0x100F) in frame else Dataset()
            values = _real_world(
                private, pixels.astype(float), float(scale.RescaleSlope), float(scale.RescaleIntercept)
            )
            corner = frame.PlanePositionSequence[0].ImagePositionPatient
            planes.append((values, _points(corner, axes, spacing, values.shape)))
    return planes


def _repeats(planes: list[tuple[np.ndarray, np.ndarray]]) -> list[list[tuple[np.ndarray, np.ndarray]]]:
    """Split into parts by the how-manieth time a position occurs."""
    seen, parts = defaultdict(int), defaultdict(list)
    for plane in planes:
        corner = tuple(np.round(plane[1][0, 0], 3))
        parts[seen[corner]].append(plane)
        seen[corner] += 1
    return list(parts.values())


def _assert_same(planes: list[tuple[np.ndarray, np.ndarray]], volume) -> None:
    """Every pixel lies where the volume has the same value, and nothing is missing."""
    assert len(planes) == volume.array.shape[2]
    to_voxel = np.linalg.inv(volume.affine)
    for values, points in planes:
        index = points @ to_voxel[:3, :3].T + to_voxel[:3, 3]
        np.testing.assert_allclose(index, np.rint(index), atol=1e-4)
        column, row, slice_ = np.rint(index).astype(int).transpose(2, 0, 1)
        np.testing.assert_allclose(values, volume.array[column, row, slice_], atol=1e-3)


def _headers(study) -> list[Dataset]:
    return [pydicom.dcmread(file, stop_before_pixels=True) for file in study.files]


@pytest.fixture(scope="module")
def styles(dicom_phantom: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> dict:
    """Each style once, as it is by default."""
    folder = tmp_path_factory.mktemp("styles")
    return {name: write(folder / name) for name, write in dicom_phantom.STYLES.items()}


@pytest.mark.parametrize("style", [*SINGLE_FRAME_STYLES, "enhanced_multi_frame"])
def test_every_style_holds_the_four_phases_where_it_says(styles: dict, style: str):
    study = styles[style]
    assert tuple(study.phases) == PHASES
    for phase in study.phases.values():
        parts = _repeats(_planes(phase.series.files))
        assert len(parts) == len(phase.series.plan.parts)
        _assert_same(parts[phase.part], phase.volume)


@pytest.mark.parametrize("style", [*SINGLE_FRAME_STYLES, "enhanced_multi_frame"])
def test_decoded_values_are_those_of_the_phantom(styles: dict, style: str):
    study = styles[style]
    for name, volume in study.subject.phases().items():
        decoded = study.phases[name].volume
        np.testing.assert_allclose(decoded.array, volume.array, atol=1.2)
        np.testing.assert_array_equal(decoded.affine, volume.affine)


def test_the_phantom_is_the_bundles_own(styles: dict):
    study = styles["separate_series"]
    phantom = study.subject.phantom
    index = (3, 20, 5)
    world = phantom.affine @ (*index, 1)
    for name, expected in zip(PHASES, phantom.image, strict=True):
        values, points = zip(*_planes(study.phases[name].series.files), strict=True)
        nearest = np.argmin(np.linalg.norm(np.array(points) - world[:3], axis=-1))
        assert np.array(values).flat[nearest] == expected[index]


@pytest.mark.parametrize(
    "geometry",
    [
        {"plane": "axial"},
        {"plane": "sagittal"},
        {"plane": "coronal"},
        {"plane": "axial", "tilt_deg": (14.0, -9.0, 6.0)},
        {"plane": "sagittal", "tilt_deg": (5.0, 11.0, -8.0)},
    ],
    ids=str,
)
@pytest.mark.parametrize("style", ["separate_series", "enhanced_multi_frame"])
def test_marker_lies_where_the_subject_says(dicom_phantom: ModuleType, tmp_path: Path, geometry: dict, style: str):
    subject = dicom_phantom.Subject(marker=True, shape=(20, 16, 10), **geometry)
    filing = dicom_phantom.Filing(reversed_slices=True, shuffled=True, nested=True)
    study = dicom_phantom.STYLES[style](tmp_path, subject=subject, filing=filing)
    for phase in study.phases.values():
        for planes in _repeats(_planes(phase.series.files)):
            brightest = max(planes, key=lambda plane: plane[0].max())
            found_mm = brightest[1].reshape(-1, 3)[np.argmax(brightest[0])]
            np.testing.assert_allclose(found_mm, subject.marker_mm, atol=1e-3)


def test_marker_is_off_centre_and_differs_between_planes(dicom_phantom: ModuleType):
    subject = dicom_phantom.Subject(shape=(20, 16, 10))
    for size, index in zip((20, 16, 10), subject.marker_index, strict=True):
        assert abs(index - (size - 1) / 2) > 1
    points = [dicom_phantom.Subject(shape=(20, 16, 10), plane=plane).marker_mm for plane in ("sagittal", "coronal")]
    assert not np.allclose(*points)


def test_shift_moves_the_anatomy_but_not_the_grid(dicom_phantom: ModuleType):
    still = dicom_phantom.Subject().phases()["delayed"]
    step_mm = np.abs(dicom_phantom.Subject().phantom.affine[2, 2])
    shifted = dicom_phantom.Subject(shifts_mm={"delayed": (0.0, 0.0, step_mm)}).phases()
    np.testing.assert_array_equal(shifted["delayed"].affine, still.affine)
    np.testing.assert_allclose(shifted["delayed"].array[:, :, 1:], still.array[:, :, :-1], atol=1e-6)
    np.testing.assert_array_equal(shifted["pre"].array, dicom_phantom.Subject().phases()["pre"].array)


@pytest.mark.parametrize("syntax", ["explicit", "implicit", "big_endian", "jpeg_ls", "jpeg_2000", "rle"])
@pytest.mark.parametrize("style", ["separate_series", "enhanced_multi_frame"])
def test_transfer_syntaxes_hold_the_same_values(dicom_phantom: ModuleType, tmp_path: Path, syntax: str, style: str):
    subject = dicom_phantom.Subject(shape=(36, 32, 8))
    filing = dicom_phantom.Filing(transfer_syntax=syntax)
    study = dicom_phantom.STYLES[style](tmp_path, subject=subject, filing=filing)
    meta = pydicom.dcmread(study.files[0], stop_before_pixels=True).file_meta
    assert meta.TransferSyntaxUID == dicom_phantom.TRANSFER_SYNTAXES[syntax]
    for phase in study.phases.values():
        _assert_same(_repeats(_planes(phase.series.files))[phase.part], phase.volume)


def test_only_what_a_style_names_tells_its_phases_apart(styles: dict):
    keywords = ("TemporalPositionIdentifier", "TriggerTime", "AcquisitionTime", "AcquisitionNumber", "ContentTime")
    varying = {
        style: {k for k in keywords if len({str(header.get(k)) for header in _headers(styles[style])}) > 1}
        for style in ("temporal_positions", "trigger_times", "acquisition_times", "untagged_repeats")
    }
    assert "TemporalPositionIdentifier" in varying["temporal_positions"]
    assert varying["trigger_times"] == {"TriggerTime", "AcquisitionNumber"}
    assert varying["acquisition_times"] == {"AcquisitionTime", "AcquisitionNumber", "ContentTime"}
    assert varying["untagged_repeats"] == set()


def test_temporal_position_alone(dicom_phantom: ModuleType, tmp_path: Path):
    headers = _headers(dicom_phantom.temporal_positions(tmp_path, acquisition_times=False))
    assert {header.TemporalPositionIdentifier for header in headers} == {1, 2, 3, 4}
    assert len({header.AcquisitionTime for header in headers}) == 1


def test_interleaved_repeats_change_only_the_order(dicom_phantom: ModuleType, tmp_path: Path):
    study = dicom_phantom.untagged_repeats(tmp_path, interleaved=True)
    planes = _planes(study.series[0].files)
    corners = [tuple(points[0, 0]) for _, points in planes]
    assert len(set(corners[:4])) == 1
    for phase in study.phases.values():
        _assert_same(_repeats(planes)[phase.part], phase.volume)


def test_contrast_attributes_follow_the_bolus(styles: dict):
    for header in _headers(styles["separate_series"]):
        after = header.SeriesNumber > 7
        assert ("ContrastBolusAgent" in header) is after
        if after:
            assert header.AcquisitionTime > header.ContrastBolusStartTime
    times = {name: phase.time_s for name, phase in styles["separate_series"].phases.items()}
    assert times == {"pre": -75.0, "arterial": 32.0, "portal_venous": 70.0, "delayed": 180.0}


def test_slices_run_against_the_normal_on_request(dicom_phantom: ModuleType, tmp_path: Path):
    def heights(**settings) -> list[float]:
        filing = dicom_phantom.Filing(**settings)
        study = dicom_phantom.separate_series(tmp_path / str(settings), filing=filing)
        files = study.series[0].files
        return [float(pydicom.dcmread(file, stop_before_pixels=True).ImagePositionPatient[2]) for file in files]

    assert heights() == sorted(heights())
    assert heights(reversed_slices=True) == sorted(heights(), reverse=True)


def test_shuffled_names_tell_nothing(dicom_phantom: ModuleType, tmp_path: Path):
    filing = dicom_phantom.Filing(shuffled=True, nested=True)
    study = dicom_phantom.separate_series(tmp_path, filing=filing)
    assert len(set(study.files)) == 56
    assert len({file.parent for file in study.files}) > 5
    by_name = sorted(study.files, key=lambda file: file.name)
    series = [pydicom.dcmread(file, stop_before_pixels=True).SeriesNumber for file in by_name]
    assert series != sorted(series)


def test_identity_is_planted_in_every_file(styles: dict):
    for study in (styles["misspelt"], styles["enhanced_multi_frame"]):
        for header in _headers(study):
            assert header.PatientName == "PLANTED^NAME"
            assert header.PatientID == "PLANTED-ID-77"
            assert header.PatientBirthDate == "19510203"
            assert header.AccessionNumber == "PLANTEDACC"
            assert "PLANTED" in str(header.ReferringPhysicianName)
    assert "19510203" in styles["misspelt"].patient.words


def test_uids_are_unique_valid_and_stable(dicom_phantom: ModuleType, styles: dict, tmp_path: Path):
    headers = _headers(styles["misspelt"])
    instances = [header.SOPInstanceUID for header in headers]
    assert len(set(instances)) == len(instances)
    assert all(pydicom.uid.UID(instance).is_valid for instance in instances)
    assert len({header.StudyInstanceUID for header in headers}) == 1
    assert len({header.FrameOfReferenceUID for header in headers}) == 1
    again = _headers(dicom_phantom.misspelt(tmp_path))
    assert [header.SOPInstanceUID for header in again] == instances
    assert {s.uid for s in styles["separate_series"].series}.isdisjoint(header.SeriesInstanceUID for header in headers)


def test_decoys_are_what_they_claim(styles: dict, dicom_phantom: ModuleType):
    study = styles["misspelt"]
    roles = {series.plan.role: _first(series) for series in study.series}
    assert set(roles) == {"dynamic", *dicom_phantom.DECOYS}
    assert len({series.plan.number for series in study.series}) == len(study.series)
    for role in ("subtraction", "mip", "mpr", "dixon_fat"):
        assert roles[role].ImageType[0] == "DERIVED"
    assert "FS" not in roles["in_phase"].ScanOptions
    assert "IN_PHASE" in roles["in_phase"].ImageType
    assert "OPP_PHASE" in roles["opposed_phase"].ImageType
    assert roles["dwi"].ScanningSequence == "EP"
    assert roles["t2"].EchoTime > 80
    assert len(study.of_role("aborted").files) < len(study.of_role("portal_venous").files) / 2
    orientations = {
        tuple(map(float, pydicom.dcmread(file).ImageOrientationPatient)) for file in study.of_role("localiser").files
    }
    assert len(orientations) == 3
    twins = [pydicom.dcmread(study.of_role(role).files[4]) for role in ("duplicate", "arterial")]
    assert twins[0].PixelData == twins[1].PixelData
    assert twins[0].SeriesInstanceUID != twins[1].SeriesInstanceUID
    heights = [max(plane[1][0, 0, 2] for plane in _planes(study.of_role(role).files)) for role in ("pelvis", "delayed")]
    assert heights[0] < heights[1] - 200


def _first(series) -> Dataset:
    return pydicom.dcmread(series.files[0], stop_before_pixels=True)


def test_subtraction_and_hepatobiliary_look_like_it(styles: dict):
    study = styles["misspelt"]
    before, arterial = (study.phases[name].volume.array for name in ("pre", "arterial"))
    np.testing.assert_allclose(study.of_role("subtraction").volumes[0].array, (arterial - before).clip(0), atol=1.0)
    liver = study.subject.liver.array > 0
    signal = {role: study.of_role(role).volumes[0].array[liver].mean() for role in ("hepatobiliary", "delayed", "pre")}
    assert signal["hepatobiliary"] > signal["delayed"] > signal["pre"]


@pytest.mark.parametrize("language", ["german", "french", "spanish", "italian", "chinese", "japanese", "english"])
def test_descriptions_survive_their_character_set(dicom_phantom: ModuleType, tmp_path: Path, language: str):
    subject = dicom_phantom.Subject(shape=(16, 14, 8))
    study = dicom_phantom.misspelt(tmp_path, subject=subject, language=language, decoys=("hepatobiliary",))
    words = dicom_phantom.DESCRIPTIONS[language]
    for role in (*PHASES, "hepatobiliary"):
        assert _first(study.of_role(role)).SeriesDescription == words[role]


def test_other_character_sets(dicom_phantom: ModuleType, tmp_path: Path):
    filing = dicom_phantom.Filing(character_set=("", "ISO 2022 IR 87"))
    subject = dicom_phantom.Subject(shape=(16, 14, 8))
    study = dicom_phantom.misspelt(tmp_path, subject=subject, filing=filing, language="japanese", decoys=())
    assert _first(study.of_role("arterial")).SeriesDescription == "動脈相"
    assert "動脈相".encode() not in study.of_role("arterial").files[0].read_bytes()


def test_ambiguous_series_differ_in_nothing_that_helps(dicom_phantom: ModuleType, tmp_path: Path):
    study = dicom_phantom.ambiguous(tmp_path)
    assert study.phases == {}
    ignored = {"SOPInstanceUID", "SeriesInstanceUID", "SeriesNumber", "PixelData"}
    ignored |= {"SmallestImagePixelValue", "LargestImagePixelValue"}
    contents = set()
    for series in study.series:
        header = pydicom.dcmread(series.files[3])
        assert "AcquisitionTime" not in header
        assert "ContrastBolusAgent" not in header
        contents.add(str({e.keyword: str(e.value) for e in header if e.keyword not in ignored}))
    assert len(study.series) == 5
    assert len(contents) == 1
    means = [series.volumes[0].array.mean() for series in study.series]
    assert max(means) - min(means) < 0.01 * means[0]


def test_enhanced_frames_may_come_in_any_order(dicom_phantom: ModuleType, tmp_path: Path):
    study = dicom_phantom.enhanced_multi_frame(tmp_path, filing=dicom_phantom.Filing(shuffled=True))
    dataset = pydicom.dcmread(study.files[0])
    frames = [group.FrameContentSequence[0] for group in dataset.PerFrameFunctionalGroupsSequence]
    positions = np.array([frame.TemporalPositionIndex for frame in frames])
    assert (np.diff(positions) < 0).any()
    planes = np.empty(len(frames), object)
    planes[:] = _planes(study.files)
    for phase in study.phases.values():
        _assert_same(list(planes[positions == phase.part + 1]), phase.volume)
    times = {frame.TemporalPositionIndex: frame.FrameAcquisitionDateTime for frame in frames}
    assert sorted(times.values()) == [times[index] for index in (1, 2, 3, 4)]


@pytest.mark.parametrize("settings", [{"one_file": False}, {"told_by": ()}, {"scale_slope": 0.7}], ids=str)
def test_enhanced_variants(dicom_phantom: ModuleType, tmp_path: Path, settings: dict):
    study = dicom_phantom.enhanced_multi_frame(tmp_path, **settings)
    assert len(study.files) == (4 if "one_file" in settings else 1)
    for phase in study.phases.values():
        _assert_same(_repeats(_planes(phase.series.files))[phase.part], phase.volume)


def test_large_series_is_complete_and_decodable(dicom_phantom: ModuleType, tmp_path: Path):
    study = dicom_phantom.large_series(tmp_path, slices=30, phases=4)
    headers = _headers(study)
    assert len(headers) == 120
    assert len({header.SOPInstanceUID for header in headers}) == 120
    assert [int(header.InstanceNumber) for header in headers] == list(range(1, 121))
    for position in (1, 2, 3, 4):
        heights = [
            float(header.ImagePositionPatient[2]) for header in headers if header.TemporalPositionIdentifier == position
        ]
        np.testing.assert_allclose(np.diff(heights), 2.0)
        assert len(heights) == 30
    assert pydicom.dcmread(study.files[77]).pixel_array.shape == (512, 512)
    assert sum(file.stat().st_size for file in study.files) < 1e6


@pytest.mark.parametrize("style", [*SINGLE_FRAME_STYLES, "enhanced_multi_frame"])
def test_dciodvfy_reports_no_errors(styles: dict, style: str, dicom_tool: Callable[[str], str]):
    dciodvfy = dicom_tool("dciodvfy")
    for series in styles[style].series:
        finished = subprocess.run([dciodvfy, series.files[0]], capture_output=True, text=True, errors="replace")
        lines = (finished.stdout + finished.stderr).splitlines()
        assert any("Image" in line for line in lines), "dciodvfy did not recognise the SOP class"
        errors = [line for line in lines if line.startswith("Error")]
        assert [line for line in errors if not any(known in line for known in KNOWN_ERRORS)] == []


class TestBadInput:
    """Each fault is there, and nothing else is touched."""

    @pytest.fixture
    def study(self, dicom_phantom: ModuleType, tmp_path: Path):
        return dicom_phantom.separate_series(tmp_path / "study", subject=dicom_phantom.Subject(shape=(16, 14, 8)))

    @pytest.fixture
    def bad(self, dicom_phantom: ModuleType) -> ModuleType:
        return dicom_phantom.bad_input

    def test_truncated_header(self, study, bad: ModuleType):
        bad.truncate(study.files[0], share=0.05)
        with pytest.raises((InvalidDicomError, EOFError, AttributeError)):
            pydicom.dcmread(study.files[0], stop_before_pixels=True).ImagePositionPatient  # noqa: B018

    def test_truncated_pixels(self, study, bad: ModuleType):
        bad.truncate(study.files[0], share=0.97)
        assert "ImagePositionPatient" in pydicom.dcmread(study.files[0], stop_before_pixels=True)
        with pytest.raises((ValueError, EOFError, AttributeError)):
            pydicom.dcmread(study.files[0]).pixel_array  # noqa: B018

    def test_short_pixel_data(self, study, bad: ModuleType):
        bad.short_pixel_data(study.files[:1])
        with pytest.raises(ValueError, match="pixel data"):
            pydicom.dcmread(study.files[0]).pixel_array  # noqa: B018

    def test_strangers_are_no_images(self, study, bad: ModuleType):
        strangers = bad.add_strangers(study.folder)
        assert len(strangers) >= 5
        for stranger in strangers:
            assert stranger not in study.files
            with pytest.raises((InvalidDicomError, EOFError, AttributeError, ValueError, NotImplementedError)):
                pydicom.dcmread(stranger).SOPClassUID  # noqa: B018

    def test_dropped_attributes(self, study, bad: ModuleType):
        bad.drop(study.files[2:4], "ImagePositionPatient", "PixelSpacing")
        missing = ["ImagePositionPatient" not in header and "PixelSpacing" not in header for header in _headers(study)]
        assert [index for index, is_missing in enumerate(missing) if is_missing] == [2, 3]

    def test_dropped_from_functional_groups(self, dicom_phantom: ModuleType, bad: ModuleType, tmp_path: Path):
        subject = dicom_phantom.Subject(shape=(16, 14, 8))
        study = dicom_phantom.enhanced_multi_frame(tmp_path / "enhanced", subject=subject)
        bad.drop_everywhere(study.files, "ImagePositionPatient")
        assert "(0020,0032)" not in str(_headers(study)[0]).replace(" ", "")
        assert len(pydicom.dcmread(study.files[0]).pixel_array) == 32

    def test_mixed_patients_and_frames_of_reference(self, study, bad: ModuleType):
        bad.mix_patients(study.series[1].files, bad.other_patient())
        bad.mix_frames_of_reference(study.series[2].files)
        headers = _headers(study)
        assert len({header.PatientID for header in headers}) == 2
        assert len({header.FrameOfReferenceUID for header in headers}) == 2
        assert len({header.StudyInstanceUID for header in headers}) == 1

    def test_without_preamble(self, study, bad: ModuleType):
        bad.without_preamble(study.files[:1])
        with pytest.raises(InvalidDicomError):
            pydicom.dcmread(study.files[0])
        assert pydicom.dcmread(study.files[0], force=True).PatientName == "PLANTED^NAME"

    def test_missing_doubled_and_displaced_slices(self, study, bad: ModuleType):
        pre, arterial, portal, delayed = study.series
        step_mm = np.linalg.norm(pre.volumes[0].affine[:3, 2])
        bad.remove_slice(pre, 3)
        bad.double_slice(arterial, 3)
        bad.displace_slice(portal, 3, offset_mm=4.0)
        bad.trim(delayed, 2, 6)

        def heights(series) -> list[float]:
            files = sorted(study.folder.glob(f"*{series.plan.number:03d}_*"))
            return sorted(float(pydicom.dcmread(file).ImagePositionPatient[2]) for file in files)

        np.testing.assert_allclose(np.diff(heights(pre)), step_mm * np.array([1, 1, 2, 1, 1, 1]))
        np.testing.assert_allclose(np.diff(heights(arterial)), step_mm * np.array([1, 1, 1, 0, 1, 1, 1, 1]))
        np.testing.assert_allclose(np.diff(heights(portal))[2:4], (step_mm + 4.0, step_mm - 4.0))
        assert len(heights(delayed)) == 4

    def test_shear_and_turn(self, study, bad: ModuleType):
        bad.shear(study.series[0], step_mm=3.0)
        corners = np.array([points[0, 0] for _, points in _planes(study.series[0].files)])
        np.testing.assert_allclose(np.diff(corners, axis=0)[:, 1], -3.0)
        bad.turn_slice(study.series[1], 2)
        axes = {tuple(map(float, pydicom.dcmread(f).ImageOrientationPatient)) for f in study.series[1].files}
        assert len(axes) == 2

    def test_colour_and_compression(self, study, bad: ModuleType):
        bad.make_rgb(study.files[:1])
        assert pydicom.dcmread(study.files[0]).pixel_array.shape == (14, 16, 3)
        for name in bad.UNSUPPORTED_SYNTAXES:
            bad.unsupported_compression(study.files[1:2], name)
            dataset = pydicom.dcmread(study.files[1])
            assert dataset.file_meta.TransferSyntaxUID == bad.UNSUPPORTED_SYNTAXES[name]
            with pytest.raises((NotImplementedError, RuntimeError)):
                dataset.pixel_array  # noqa: B018
            # The next fault starts from an intact file.
            shutil.copy(study.files[2], study.files[1])

    def test_broken_code_stream(self, dicom_phantom: ModuleType, bad: ModuleType, tmp_path: Path):
        filing = dicom_phantom.Filing(transfer_syntax="jpeg_2000")
        subject = dicom_phantom.Subject(shape=(36, 32, 8))
        study = dicom_phantom.separate_series(tmp_path, subject=subject, filing=filing)
        bad.broken_compression(study.files[:1])
        assert "ImagePositionPatient" in pydicom.dcmread(study.files[0], stop_before_pixels=True)
        with pytest.raises((RuntimeError, ValueError)):
            pydicom.dcmread(study.files[0]).pixel_array  # noqa: B018

    def test_missing_phase_and_copies(self, study, bad: ModuleType):
        bad.remove_series(study.series[3])
        assert not any(file.exists() for file in study.series[3].files)
        twin = bad.copy_file(study.series[0].files[0])
        other = bad.copy_with_new_instance(study.series[0].files[0], InstanceNumber=99)
        first = pydicom.dcmread(study.series[0].files[0])
        assert pydicom.dcmread(twin).SOPInstanceUID == first.SOPInstanceUID
        assert pydicom.dcmread(other).SOPInstanceUID != first.SOPInstanceUID
        assert pydicom.dcmread(other).PixelData == first.PixelData
