from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pillow_jpls  # noqa: F401
import pytest
from openjpeg.utils import encode_array
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixel_data_handlers.rle_handler import rle_encode_frame
from pydicom.sequence import Sequence
from pydicom.uid import (
    MPEG4HP41,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
    generate_uid,
)
from scipy.spatial.transform import Rotation

from scripts.domain.errors import StudyError
from scripts.studies.dicom.frames import scan
from scripts.studies.dicom.pixels import read_volume
from scripts.studies.dicom.stack import Stack
from scripts.studies.dicom.stacks import stacks_of

COLUMNS, ROWS, SLICES = 40, 36, 10  # JPEG 2000 with its usual 6 resolutions needs 32 pixels
SPACING_MM = (1.25, 0.75)
STEP_MM = 3.0
LPS_TO_RAS = np.array([-1.0, -1.0, 1.0])


def stored_values(slices: int = SLICES, *, bits: int = 12) -> np.ndarray:
    """``(columns, rows, slices)`` uint16."""
    return np.random.default_rng(4).integers(0, 2**bits, (COLUMNS, ROWS, slices)).astype(np.uint16)


def jpeg_ls(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, format="JPEG-LS")
    return buffer.getvalue()


ENCODERS: dict[UID, Callable[[np.ndarray], bytes]] = {
    RLELossless: lambda pixels: rle_encode_frame(np.ascontiguousarray(pixels)),
    JPEGLSLossless: jpeg_ls,
    JPEG2000Lossless: lambda pixels: encode_array(np.ascontiguousarray(pixels), bits_stored=12),
}


def new_image(number: int, syntax: UID, **tags) -> FileDataset:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = syntax
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.4"
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[str(number), str(tags)])
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.is_little_endian = syntax != ExplicitVRBigEndian
    dataset.is_implicit_VR = syntax == ImplicitVRLittleEndian
    defaults = {
        "SOPClassUID": meta.MediaStorageSOPClassUID,
        "SOPInstanceUID": meta.MediaStorageSOPInstanceUID,
        "Modality": "MR",
        "StudyInstanceUID": "1.2",
        "SeriesInstanceUID": "1.2.3",
        "FrameOfReferenceUID": "1.2.9",
        "SeriesNumber": 7,
        "InstanceNumber": number,
        "PixelSpacing": list(SPACING_MM),
        "Rows": ROWS,
        "Columns": COLUMNS,
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 16,
        "BitsStored": 12,
        "HighBit": 11,
        "PixelRepresentation": 0,
    }
    for keyword, value in (defaults | tags).items():
        setattr(dataset, keyword, value)
    return dataset


def put_pixels(dataset: FileDataset, frames: list[np.ndarray]) -> None:
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax in ENCODERS:
        dataset.PixelData = encapsulate([ENCODERS[syntax](frame) for frame in frames])
        dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
    else:
        swap = syntax == ExplicitVRBigEndian
        dataset.PixelData = b"".join((frame.byteswap() if swap else frame).tobytes() for frame in frames)
        dataset["PixelData"].VR = "OW"


def write_series(
    folder: Path,
    values: np.ndarray,
    *,
    axes: np.ndarray | None = None,
    order: list[int] | None = None,
    syntax: UID = ExplicitVRLittleEndian,
    tags_of: Callable[[int], dict] = lambda k: {},
    change: Callable[[Dataset, int], None] = lambda dataset, k: None,
    **tags,
) -> None:
    """One file a slice.

    Args:
        folder: to write to.
        values: ``(columns, rows, slices)`` stored values.
        axes: columns are the directions of a row, of a column and of the slices; LPS.
        order: slice of each instance.
        syntax: transfer syntax.
        tags_of: attributes of slice ``k``.
        change: a last word on slice ``k``.
        tags: attributes of all.
    """
    axes = np.eye(3) if axes is None else axes
    folder.mkdir(parents=True, exist_ok=True)
    for number, k in enumerate(order or range(values.shape[2]), start=1):
        dataset = new_image(number, syntax, **tags, **tags_of(k))
        dataset.ImagePositionPatient = [float(f"{v:.10g}") for v in (-31.0, 17.0, 5.0) + k * STEP_MM * axes[:, 2]]
        dataset.ImageOrientationPatient = [float(f"{v:.10g}") for v in axes[:, :2].T.ravel()]
        put_pixels(dataset, [np.ascontiguousarray(values[:, :, k].T)])
        change(dataset, k)
        dataset.save_as(folder / f"{number:03d}.dcm", write_like_original=False)


def stacks_in(folder: Path) -> list[Stack]:
    return stacks_of(scan(folder, progress=False).frames)


def volume_in(folder: Path) -> np.ndarray:
    (stack,) = stacks_in(folder)
    return read_volume(stack)


def set_tags(**tags) -> Callable[[Dataset, int], None]:
    def change(dataset: Dataset, k: int) -> None:
        for keyword, value in tags.items():
            setattr(dataset, keyword, value)

    return change


@pytest.mark.parametrize(
    ("photometric", "samples", "message"),
    [
        ("RGB", 3, "series 7, slice 1 of 10: RGB pixel data: colours, not MR intensities. Export the original"),
        ("YBR_FULL", 3, "YBR_FULL pixel data: colours"),
        ("PALETTE COLOR", 1, "PALETTE COLOR pixel data: colours"),
        ("MONOCHROME1", 1, "MONOCHROME1 pixel data: grey values that are inverted"),
        ("PLANTED", 3, "slice 1 of 10: colour pixel data"),
    ],
)
def test_what_is_not_grey_is_refused(tmp_path, photometric, samples, message):
    content = bytes(COLUMNS * ROWS * 2 * samples)
    change = set_tags(PhotometricInterpretation=photometric, SamplesPerPixel=samples, PixelData=content)
    write_series(tmp_path, stored_values(), change=change)
    with pytest.raises(StudyError, match=message):
        volume_in(tmp_path)


@pytest.mark.parametrize(
    ("syntax", "words"),
    [
        (MPEG4HP41, r"MPEG-4 AVC/H.264 High Profile / Level 4.1"),
        (JPEGLosslessSV1, "JPEG Lossless, Non-Hierarchical"),
        (UID("1.2.826.0.1.3680043.8.498.99.1"), "a private or unknown transfer syntax"),
    ],
    ids=["MPEG-4", "JPEG lossless", "private"],
)
def test_a_compression_that_is_not_read_is_named_in_words(tmp_path, syntax, words):
    def change(dataset: Dataset, k: int) -> None:
        dataset.file_meta.TransferSyntaxUID = syntax

    write_series(tmp_path, stored_values(), syntax=JPEGLSLossless, change=change)
    with pytest.raises(StudyError, match=f"series 7, slice 1 of 10: .* compressed as {words}.* JPEG-LS and JPEG 2000"):
        volume_in(tmp_path)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, *ENCODERS], ids=["explicit", "rle", "jpeg-ls", "jpeg-2000"])
def test_truncated_pixel_data_name_the_slice_and_not_the_file(tmp_path, syntax):
    folder = tmp_path / "PLANTED^NAME"
    write_series(folder, stored_values(), syntax=syntax)
    file = folder / "004.dcm"
    file.write_bytes(file.read_bytes()[:-300])
    (stack,) = stacks_in(folder)
    assert stack.faults == ("1 of 10 images truncated",)
    with pytest.raises(StudyError, match="series 7, slice 4 of 10: its pixel data are truncated or damaged") as caught:
        read_volume(stack)
    assert "PLANTED" not in str(caught.value)


@pytest.mark.parametrize("syntax", [*ENCODERS], ids=["rle", "jpeg-ls", "jpeg-2000"])
def test_a_damaged_code_stream_is_an_error(tmp_path, syntax):
    def change(dataset: Dataset, k: int) -> None:
        if k == 2:
            dataset.PixelData = encapsulate([b"\xff\xd8\xff\xf7" + b"\x5a" * 60])
            dataset["PixelData"].is_undefined_length = True

    write_series(tmp_path, stored_values(), syntax=syntax, change=change)
    with pytest.raises(StudyError, match=r"series 7, slice 3 of 10: its pixel data are truncated or damaged"):
        volume_in(tmp_path)


def test_a_file_that_is_gone_is_an_error(tmp_path):
    write_series(tmp_path, stored_values())
    (stack,) = stacks_in(tmp_path)
    (tmp_path / "003.dcm").unlink()
    with pytest.raises(StudyError, match="series 7, slice 3 of 10: the file is gone"):
        read_volume(stack)


def test_images_of_different_matrix_are_refused(tmp_path):
    write_series(tmp_path / "a", stored_values())
    write_series(tmp_path / "b", stored_values()[:, :10], Rows=10, SeriesInstanceUID="1.2.4")
    first, second = stacks_in(tmp_path)
    with pytest.raises(StudyError, match="series 7: its images differ in rows and columns"):
        read_volume(Stack((*first.frames, *second.frames)))


@pytest.mark.parametrize(
    "syntax",
    [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian, *ENCODERS],
    ids=["explicit", "implicit", "big endian", "deflated", "rle", "jpeg-ls", "jpeg-2000"],
)
def test_voxels_come_back_in_every_transfer_syntax(tmp_path, syntax):
    values = stored_values()
    write_series(tmp_path, values, syntax=syntax)
    volume = volume_in(tmp_path)
    assert volume.dtype == np.float32
    np.testing.assert_array_equal(volume, values)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, *ENCODERS], ids=["explicit", "rle", "jpeg-ls", "jpeg-2000"])
def test_a_sign_in_the_twelfth_bit_is_read(tmp_path, syntax):
    """The upper four bits are not the value's: a writer may leave a negative number's at 0."""
    values = stored_values().astype(np.int16) - 2048
    if syntax == JPEG2000Lossless:
        # JPEG 2000 knows signed samples.
        def change(dataset: Dataset, k: int) -> None:
            frame = np.ascontiguousarray(values[:, :, k].T)
            dataset.PixelData = encapsulate([encode_array(frame, bits_stored=12)])
            dataset["PixelData"].is_undefined_length = True

        write_series(tmp_path, stored_values(), syntax=syntax, change=change, PixelRepresentation=1)
    else:
        write_series(tmp_path, values.view(np.uint16) & 0x0FFF, syntax=syntax, PixelRepresentation=1)
    np.testing.assert_array_equal(volume_in(tmp_path), values)


def test_bits_above_the_value_are_left_out(tmp_path):
    values = stored_values()
    write_series(tmp_path, values | 0x8000)
    np.testing.assert_array_equal(volume_in(tmp_path), values)


def test_values_above_spare_low_bits_are_read(tmp_path):
    values = stored_values()
    write_series(tmp_path, values << 4 | 0x000F, HighBit=15)
    np.testing.assert_array_equal(volume_in(tmp_path), values)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int16, np.int32])
def test_integers_of_all_sizes_are_read(tmp_path, dtype):
    limits = np.iinfo(dtype)
    values = np.linspace(limits.min, limits.max, COLUMNS * ROWS * SLICES).astype(dtype).reshape(COLUMNS, ROWS, SLICES)
    bits = limits.bits
    signed = int(limits.min < 0)
    write_series(tmp_path, values, BitsAllocated=bits, BitsStored=bits, HighBit=bits - 1, PixelRepresentation=signed)
    np.testing.assert_array_equal(volume_in(tmp_path), values.astype(np.float32))


def test_every_slice_has_its_own_rescaling(tmp_path):
    values = stored_values()
    slopes, intercepts = 1 + 0.25 * np.arange(SLICES), 3.0 * np.arange(SLICES) - 8
    write_series(tmp_path, values, tags_of=lambda k: {"RescaleSlope": slopes[k], "RescaleIntercept": intercepts[k]})
    np.testing.assert_allclose(volume_in(tmp_path), values * slopes + intercepts, rtol=1e-6)


def philips_scale(scale_slope: object, vr: str = "FL") -> Callable[[Dataset, int], None]:
    def change(dataset: Dataset, k: int) -> None:
        dataset.private_block(0x2005, "Philips MR Imaging DD 001", create=True).add_new(0x0E, vr, scale_slope)

    return change


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian], ids=["explicit", "implicit"])
def test_the_philips_scale_slope_makes_series_comparable(tmp_path, syntax):
    """Two series store the same magnetisation with gains of their own; FP = (PV RS + RI) / (RS SS)."""
    true = np.random.default_rng(1).uniform(100, 500, (COLUMNS, ROWS, SLICES))
    for name, slope, intercept, scale_slope in (("1.2.3", 2.5, 0.0, 6.0), ("1.2.4", 0.8, -40.0, 3.5)):
        stored = np.round((true * slope * scale_slope - intercept) / slope).astype(np.uint16)
        write_series(
            tmp_path / name,
            stored,
            syntax=syntax,
            change=philips_scale(scale_slope),
            Manufacturer="Philips Medical Systems",
            RescaleSlope=slope,
            RescaleIntercept=intercept,
            SeriesInstanceUID=name,
        )
    first, second = (read_volume(stack) for stack in stacks_in(tmp_path))
    np.testing.assert_allclose(first, true, atol=0.5 / 6.0 + 1e-3)
    np.testing.assert_allclose(second, true, atol=0.5 / 3.5 + 1e-3)


def test_a_philips_scale_slope_that_lost_its_type_is_read(tmp_path):
    values = stored_values()
    change = philips_scale(np.float32(4.0).tobytes(), "UN")
    write_series(tmp_path, values, change=change, Manufacturer="PHILIPS")
    np.testing.assert_allclose(volume_in(tmp_path), values / 4.0)


@pytest.mark.parametrize(("maker", "scale_slope"), [("SIEMENS", 4.0), ("Philips", 0.0), ("Philips", float("nan"))])
def test_a_scale_slope_of_others_or_of_nought_is_left(tmp_path, maker, scale_slope):
    values = stored_values()
    write_series(tmp_path, values, change=philips_scale(scale_slope), Manufacturer=maker, RescaleSlope=2)
    np.testing.assert_array_equal(volume_in(tmp_path), values * np.float32(2))


def test_real_world_values_are_left_alone(tmp_path):
    values = stored_values()
    mapping = Dataset()
    mapping.RealWorldValueSlope, mapping.RealWorldValueIntercept = 7.0, 1.0
    write_series(tmp_path, values, change=set_tags(RealWorldValueMappingSequence=Sequence([mapping])), RescaleSlope=3)
    np.testing.assert_array_equal(volume_in(tmp_path), values * np.float32(3))


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, *ENCODERS], ids=["explicit", "rle", "jpeg-ls", "jpeg-2000"])
def test_the_phases_of_an_enhanced_file_come_apart(tmp_path, syntax):
    """Frames run slice by slice and downwards, each with a slope of its own."""
    phases, slices = 3, 4
    values = stored_values(phases * slices).reshape(COLUMNS, ROWS, phases, slices)
    dataset = new_image(1, syntax, NumberOfFrames=phases * slices)
    frames, groups = [], []
    for k in reversed(range(slices)):
        for phase in range(phases):
            frames.append(np.ascontiguousarray(values[:, :, phase, k].T))
            group = Dataset()
            for sequence, tags in {
                "PlanePositionSequence": {"ImagePositionPatient": [0, 0, 3.0 * k]},
                "PlaneOrientationSequence": {"ImageOrientationPatient": [1, 0, 0, 0, 1, 0]},
                "FrameContentSequence": {"TemporalPositionIndex": phase + 1},
                "PixelValueTransformationSequence": {"RescaleSlope": 1.0 + k, "RescaleIntercept": 10 * phase},
            }.items():
                item = Dataset()
                for keyword, value in tags.items():
                    setattr(item, keyword, value)
                setattr(group, sequence, Sequence([item]))
            groups.append(group)
    dataset.PerFrameFunctionalGroupsSequence = Sequence(groups)
    put_pixels(dataset, frames)
    dataset.save_as(tmp_path / "image.dcm", write_like_original=False)
    stacks = stacks_in(tmp_path)
    assert [stack.part for stack in stacks] == [f"temporal position {n} of 3" for n in (1, 2, 3)]
    for phase, stack in enumerate(stacks):
        assert stack.faults == ()
        expected = values[:, :, phase] * (1.0 + np.arange(slices)) + 10 * phase
        np.testing.assert_allclose(read_volume(stack), expected, rtol=1e-6)


PLANES = {
    "axial": np.eye(3),
    "sagittal": np.array([[0, 0, -1.0], [1, 0, 0], [0, -1, 0]]),
    "coronal": np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]),
    "oblique": Rotation.from_euler("xyz", (13, -21, 34), degrees=True).as_matrix(),
    "oblique, slices against the normal": Rotation.from_euler("xyz", (-9, 17, 25), degrees=True).as_matrix()
    * (1, 1, -1),
}
ORDERS = {
    "in order": [*range(SLICES)],
    "reversed": [*range(SLICES)][::-1],
    "shuffled": [3, 7, 0, 9, 1, 5, 8, 2, 6, 4],
}


@pytest.mark.parametrize("plane", sorted(PLANES))
@pytest.mark.parametrize("order", sorted(ORDERS))
def test_a_marker_is_found_again_in_mm(tmp_path, plane, order):
    axes = PLANES[plane]
    column, row, k = 5, 13, 7
    values = np.zeros((COLUMNS, ROWS, SLICES), dtype=np.uint16)
    values[column, row, k] = 1000
    write_series(tmp_path, values, axes=axes, order=ORDERS[order])
    between_rows, between_columns = SPACING_MM
    marker_lps = (-31.0, 17.0, 5.0) + axes @ (column * between_columns, row * between_rows, k * STEP_MM)

    (stack,) = stacks_in(tmp_path)
    assert stack.faults == ()
    volume = read_volume(stack)
    assert volume.shape == stack.shape == (COLUMNS, ROWS, SLICES)
    found = np.unravel_index(volume.argmax(), volume.shape)
    assert np.count_nonzero(volume) == 1
    np.testing.assert_allclose(stack.affine @ (*found, 1), (*(marker_lps * LPS_TO_RAS), 1), atol=1e-6)


def test_geometry_and_voxels_are_those_that_itk_reads(tmp_path):
    itk = pytest.importorskip("itk", reason="itk comes with itk-elastix")
    values = stored_values()
    write_series(tmp_path, values, axes=PLANES["oblique"], order=ORDERS["shuffled"])
    (stack,) = stacks_in(tmp_path)
    files = [str(frame.file) for frame in stack.frames]
    image = itk.imread(files)
    array = itk.GetArrayFromImage(image).transpose(2, 1, 0)
    np.testing.assert_array_equal(read_volume(stack), array)
    direction = itk.GetArrayFromMatrix(image.GetDirection())
    affine = np.eye(4)
    affine[:3, :3] = LPS_TO_RAS[:, None] * direction * np.array(image.GetSpacing())
    affine[:3, 3] = LPS_TO_RAS * np.array(image.GetOrigin())
    np.testing.assert_allclose(stack.affine, affine, atol=1e-5)


def test_stored_values_are_those_that_pydicom_decodes(tmp_path):
    values = stored_values()
    write_series(tmp_path, values, syntax=JPEGLSLossless)
    (stack,) = stacks_in(tmp_path)
    expected = np.stack([dcmread(frame.file).pixel_array.T for frame in stack.frames], axis=-1)
    np.testing.assert_array_equal(read_volume(stack), expected)
