"""Masks as clients send them: formats, grids, and what they call their values."""

import gzip
import itertools

import nibabel as nib
import numpy as np
import pytest

from lib.drawn_mask import read_mask
from lib.errors import BadRequestError
from lib.nrrd_file import write_nrrd


@pytest.fixture
def as_nifti(folder_study, tmp_path):
    """An array as a file on the study's reference grid, or another: ``as_nifti(mask, affine=None)``."""

    def write(mask: np.ndarray, affine: np.ndarray | None = None, name: str = "mask.nii.gz"):
        affine = folder_study.grid(None).affine if affine is None else affine
        nib.save(nib.Nifti1Image(mask, affine), tmp_path / name)
        return (tmp_path / name).read_bytes()

    return write


@pytest.mark.parametrize(
    "content", [b"", gzip.compress(b"nothing"), b"\x00" * 400, b"NRRD0005\nnothing", b"\x01", b"\x5c\x01\x00\x00"]
)
def test_files_that_are_no_masks(folder_study, content):
    with pytest.raises(BadRequestError):
        read_mask(content, folder_study)


def test_a_grid_without_extent(folder_study, as_nifti):
    with pytest.raises(BadRequestError, match="affine cannot be inverted"):
        read_mask(as_nifti(np.ones((96, 80, 20), np.uint8), np.diag([1.0, 1.0, 1e-12, 1.0])), folder_study)


@pytest.mark.parametrize("shape", [(96, 80), (96, 80, 20, 2)])
def test_other_dimensions(folder_study, as_nifti, shape):
    with pytest.raises(BadRequestError, match="one 3D volume"):
        read_mask(as_nifti(np.zeros(shape, np.uint8)), folder_study)


def test_a_volume_too_large_is_refused_by_its_header(folder_study, tmp_path):
    header = nib.Nifti1Header()
    header.set_data_shape((30000, 30000, 30000))
    header.set_data_dtype(np.uint8)
    (tmp_path / "mask.nii.gz").write_bytes(gzip.compress(header.binaryblock + b"\x00" * 1000))
    with pytest.raises(BadRequestError):
        read_mask((tmp_path / "mask.nii.gz").read_bytes(), folder_study)


@pytest.mark.parametrize("name", ["mask.nii", "mask.nii.gz"])
def test_a_volume_many_times_the_studys_is_refused_packed_or_not(folder_study, as_nifti, name):
    with pytest.raises(BadRequestError, match="far larger"):
        read_mask(as_nifti(np.zeros((400, 400, 80), np.float64), name=name), folder_study)


@pytest.mark.parametrize(
    ("values", "dtype", "message"),
    [
        ([3], np.uint8, "value 3"),
        ([-1], np.int16, "not those of a label volume"),
        ([np.nan], np.float32, "not those of a label volume"),
        ([1.5], np.float32, "no whole numbers"),
        ([70000], np.int32, "not those of a label volume"),
    ],
)
def test_values_without_a_meaning(folder_study, as_nifti, values, dtype, message):
    mask = np.zeros((96, 80, 20), dtype)
    mask[10, 10, 10] = values[0]
    with pytest.raises(BadRequestError, match=message):
        read_mask(as_nifti(mask), folder_study)


@pytest.mark.parametrize(
    ("classes", "names"),
    [
        ({"1": "cyst"}, None),
        ({"x": "hcc"}, None),
        ({"-1": "hcc"}, None),
        ({"1" * 5000: "hcc"}, None),
        ({"²": "hcc"}, None),
        (["hcc"], None),
        ("hcc", None),
        (None, [{"name": "Segment_1"}]),
        (None, [{"name": "spleen"}]),
        (None, [{"name": "../hcc"}]),
    ],
)
def test_classes_that_are_none(folder_study, as_nifti, classes, names):
    mask = np.zeros((96, 80, 20), np.uint8)
    mask[10, 10, 10] = 1
    with pytest.raises(BadRequestError):
        read_mask(as_nifti(mask), folder_study, classes=classes, names=names)


def test_a_mask_of_another_place(folder_study, as_nifti, draw):
    elsewhere = folder_study.grid(None).affine.copy()
    elsewhere[:3, 3] += 5000.0
    with pytest.raises(BadRequestError, match="inside the study"):
        read_mask(as_nifti(draw(folder_study), elsewhere), folder_study)


def test_an_empty_mask_is_a_mask(folder_study, as_nifti):
    assert not read_mask(as_nifti(np.zeros((96, 80, 20), np.uint8)), folder_study).any()


@pytest.mark.parametrize("name", ["mask.nii.gz", "mask.nii", "MASK.NII.GZ"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_nifti_on_the_reference_grid(folder_study, as_nifti, draw, name, dtype):
    mask = draw(folder_study)
    found = read_mask(as_nifti(mask.astype(dtype), name=name), folder_study)
    np.testing.assert_array_equal(found, mask)
    assert found.dtype == np.uint8


@pytest.mark.parametrize(
    ("order", "flips"), list(zip(itertools.permutations(range(3)), itertools.product([1, -1], repeat=3), strict=False))
)
def test_any_orientation_is_exact(folder_study, as_nifti, draw, order, flips):
    mask = draw(folder_study)
    wanted = np.stack([order, flips], axis=1).astype(float)
    image = nib.Nifti1Image(mask, folder_study.grid(None).affine).as_reoriented(wanted)
    found = read_mask(as_nifti(np.asarray(image.dataobj), image.affine), folder_study)
    np.testing.assert_array_equal(found, mask)


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("name", ["mask.nrrd", "mask.seg.nrrd"])
def test_nrrd(folder_study, draw, tmp_path, compress, name):
    mask = draw(folder_study)
    file = write_nrrd(mask, folder_study.grid(None).affine, tmp_path / name, compress=compress)
    np.testing.assert_array_equal(read_mask(file.read_bytes(), folder_study), mask)


def test_a_cropped_mask_finds_its_place(folder_study, as_nifti, draw):
    image = nib.Nifti1Image(draw(folder_study), folder_study.grid(None).affine).slicer[5:40, 2:30, 1:12]
    found = read_mask(as_nifti(np.asarray(image.dataobj), image.affine), folder_study)
    np.testing.assert_array_equal(found, draw(folder_study))


def test_a_value_that_the_client_does_not_explain_is_not_guessed(folder_study, as_nifti, draw):
    with pytest.raises(BadRequestError, match="the value 2"):
        read_mask(as_nifti(draw(folder_study)), folder_study, classes={"1": "hcc"})


def test_classes_go_before_everything_else(folder_study, as_nifti, draw):
    mask = draw(folder_study)
    found = read_mask(as_nifti(mask), folder_study, classes={"1": "hcc", "2": "hemangioma"}, names=[{"name": "x"}])
    np.testing.assert_array_equal(found, np.choose(mask, [0, 2, 1]))


@pytest.mark.parametrize(
    ("stored", "names", "expected"),
    [
        # Slicer numbers the segments that it exports from 1, whatever their place among all segments.
        ([1], [{"name": "hcc", "idx": 2}], [2]),
        ([1, 2], [{"name": "hcc", "idx": 1}, {"name": "hemangioma", "idx": 2}], [2, 1]),
        ([1, 2], [{"name": "HCC"}, {"name": "hcc_2"}], [2, 2]),
        ([1], [{"name": "hemangioma"}, {"name": "hcc"}], [1]),
        ([3], [{"name": "hcc", "idx": 3}], [2]),
        ([2], [{"name": "hcc"}], [2]),
        ([1, 2], [], [1, 2]),
        ([1, 2], "nonsense", [1, 2]),
        ([1, 2], [7, None], [1, 2]),
    ],
)
def test_slicers_names(folder_study, as_nifti, stored, names, expected):
    mask = np.zeros((96, 80, 20), np.uint8)
    for place, value in enumerate(stored):
        mask[10 + 5 * place, 10, 10] = value
    found = read_mask(as_nifti(mask), folder_study, names=names)
    assert [found[10 + 5 * place, 10, 10] for place in range(len(stored))] == expected


def test_the_names_in_slicers_own_format(folder_study, draw, tmp_path):
    mask = draw(folder_study)
    file = write_nrrd(mask, folder_study.grid(None).affine, tmp_path / "mask.seg.nrrd")
    header, data = file.read_bytes().split(b"\n\n", 1)
    header += b"\nSegment0_LabelValue:=1\nSegment0_Name:=hcc\nSegment1_LabelValue:=2\nSegment1_Name:=hemangioma"
    header += "\nSegment2_LabelValue:=²\nSegment2_Name:=x\nSegment3_Name:=y".encode("latin-1")
    file.write_bytes(header + b"\n\n" + data)
    np.testing.assert_array_equal(read_mask(file.read_bytes(), folder_study), np.choose(mask, [0, 2, 1]))
