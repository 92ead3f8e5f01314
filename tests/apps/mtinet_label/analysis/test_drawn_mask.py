import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from lib.drawn_mask import class_names, read_mask
from lib.errors import BadRequestError
from lib.nrrd_file import nrrd
from lib.studies.study import OpenStudy
from scripts.domain.classes import LABELS


def _nifti(mask: np.ndarray, affine: np.ndarray) -> bytes:
    return nib.Nifti1Image(mask, affine).to_bytes()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "neither NRRD nor NIfTI"),
        (bytes(96 * 80 * 20 - 1), "96 x 80 x 20"),
        (b"NRRD0005\n", "attached header"),
        (b"\x1f\x8bnonsense", "damaged"),
        (gzip.compress(bytes(10_000_000)), "larger than any"),
        (gzip.compress(bytes(1000)), "not a NIfTI file"),
        (gzip.compress(bytes(1000))[:-9], "cut off"),
    ],
)
def test_what_is_no_mask_is_refused(opened_study: OpenStudy, content: bytes, message: str) -> None:
    with pytest.raises(BadRequestError, match=message) as refused:
        read_mask(content, opened_study, None)
    assert "/" not in str(refused.value)


@pytest.mark.parametrize("value", [3, 255])
def test_values_that_mean_nothing_are_refused(opened_study: OpenStudy, true_mask: np.ndarray, value: int) -> None:
    content = np.where(true_mask > 0, value, 0).astype(np.uint8).tobytes(order="F")
    with pytest.raises(BadRequestError, match=f"the value {value}"):
        read_mask(content, opened_study, None)


def test_broken_values_of_a_nifti_are_refused(opened_study: OpenStudy, true_mask: np.ndarray) -> None:
    with pytest.raises(BadRequestError, match="no whole numbers"):
        read_mask(_nifti(true_mask.astype(np.float32) / 4, opened_study.grid(None).affine), opened_study, None)


@pytest.mark.parametrize("text", ["[]", "no", '{"1": "spleen"}', '{"x": "hcc"}', '{"1": 2}', '{"999999": "hcc"}'])
def test_classes_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(BadRequestError, match="classes"):
        class_names(text)


@pytest.mark.parametrize("kind", ["raw", "nrrd", "nifti", "nifti.gz"])
def test_every_form_gives_the_mask(opened_study: OpenStudy, true_mask: np.ndarray, kind: str) -> None:
    affine = opened_study.grid(None).affine
    content = {
        "raw": lambda: true_mask.tobytes(order="F"),
        "nrrd": lambda: nrrd(true_mask, affine, compress=True),
        "nifti": lambda: _nifti(true_mask, affine),
        "nifti.gz": lambda: gzip.compress(_nifti(true_mask, affine)),
    }[kind]()
    assert true_mask.any()
    assert np.array_equal(read_mask(content, opened_study, None), true_mask)


def test_a_mask_that_misses_the_study_is_not_an_empty_one(opened_study: OpenStudy, true_mask: np.ndarray) -> None:
    elsewhere = np.array(opened_study.grid(None).affine)
    elsewhere[:3, 3] += 5000.0
    with pytest.raises(BadRequestError, match="inside the study"):
        read_mask(nrrd(true_mask, elsewhere), opened_study, opened_study.reference)


def test_a_file_s_own_geometry_counts(opened_study: OpenStudy, true_mask: np.ndarray) -> None:
    affine = opened_study.grid(None).affine
    turned = affine @ np.array([[-1, 0, 0, 95], [0, 0, 1, 0], [0, -1, 0, 19], [0, 0, 0, 1]])
    assert np.array_equal(
        read_mask(_nifti(true_mask[::-1, :, ::-1].transpose(0, 2, 1), turned), opened_study, None), true_mask
    )


def test_values_by_class_name(opened_study: OpenStudy, true_mask: np.ndarray, tmp_path: Path) -> None:
    drawn = np.where(true_mask > 0, 7, 0).astype(np.uint8)
    read = read_mask(drawn.tobytes(order="F"), opened_study, None, classes=class_names('{"7": "hemangioma"}'))
    assert np.array_equal(read, np.where(true_mask > 0, LABELS["hemangioma"], 0))
    assert class_names("  ") is None
