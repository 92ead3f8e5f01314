from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset
from scipy.spatial.transform import Rotation

from scripts.studies.dicom.geometry import faults_of, in_order, position_numbers, same_plane
from scripts.studies.dicom.stack import Frame, Stack

STEP_MM = 3.2
PLANES = {
    "axial": np.eye(3),
    "sagittal": np.array([[0, 0, -1.0], [1, 0, 0], [0, -1, 0]]),
    "coronal": np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]),
    "oblique": Rotation.from_euler("xyz", (13, -21, 34), degrees=True).as_matrix(),
}
"""Columns: direction of a row, of a column, normal; LPS."""


def frames_of(axes: np.ndarray, slices: int = 8, step_mm: float = STEP_MM) -> list[Frame]:
    frames = []
    for k in range(slices):
        header = Dataset()
        header.InstanceNumber = k + 1
        position = np.array([-31.0, 17.0, 5.0]) + k * step_mm * axes[:, 2]
        frames.append(
            Frame(
                file=Path(f"{k}.dcm"),
                index=0,
                header=header,
                position_mm=tuple(position),
                orientation=(*axes[:, 0], *axes[:, 1]),
                spacing_mm=(1.1, 0.9),
                shape=(20, 24),
            )
        )
    return frames


def moved(frame: Frame, offset_mm: np.ndarray) -> Frame:
    return replace(frame, position_mm=tuple(np.add(frame.position_mm, offset_mm)))


@pytest.fixture(params=sorted(PLANES))
def axes(request: pytest.FixtureRequest) -> np.ndarray:
    return PLANES[request.param]


@pytest.mark.parametrize(
    ("attribute", "keyword"),
    [
        ("position_mm", "ImagePositionPatient"),
        ("orientation", "ImageOrientationPatient"),
        ("spacing_mm", "PixelSpacing"),
    ],
)
def test_a_missing_attribute_is_named(attribute, keyword):
    frames = frames_of(PLANES["axial"])
    frames[3] = replace(frames[3], **{attribute: None})
    assert faults_of(in_order(frames)) == (f"no usable {keyword} in 1 of 8 images",)


def test_axes_that_are_not_perpendicular_are_a_fault():
    frames = [replace(frame, orientation=(1, 0, 0, 0.5, 1, 0)) for frame in frames_of(PLANES["axial"])]
    assert "perpendicular" in faults_of(frames)[0]


def test_one_slice_is_no_volume():
    assert faults_of(frames_of(PLANES["axial"], slices=1)) == ("a single slice, not a volume",)


def test_truncated_images_are_counted():
    frames = frames_of(PLANES["axial"])
    frames[2] = replace(frames[2], truncated=True)
    assert faults_of(frames) == ("1 of 8 images truncated",)


def test_a_gap_counts_the_missing_slices(axes):
    frames = frames_of(axes)
    del frames[3:5]
    assert faults_of(in_order(frames)) == ("2 missing slices: a gap of 9.6 mm",)


def test_a_doubled_slice_is_no_gap(axes):
    frames = frames_of(axes)
    frames.append(frames[5])
    assert faults_of(in_order(frames)) == ("1 doubled slice",)


def test_a_slice_off_its_place_is_uneven(axes):
    frames = frames_of(axes)
    frames[4] = moved(frames[4], 0.9 * axes[:, 2])
    assert faults_of(in_order(frames)) == ("uneven slice steps: 2.30 to 4.10 mm",)


def test_a_tilted_gantry_is_sheared(axes):
    frames = [moved(frame, 0.4 * k * axes[:, 1]) for k, frame in enumerate(frames_of(axes))]
    assert faults_of(in_order(frames)) == ("sheared: slices lie up to 2.8 mm beside the line along their normal",)


def test_one_slice_beside_the_others_is_sheared(axes):
    frames = frames_of(axes)
    frames[4] = moved(frames[4], 5.0 * axes[:, 0])
    assert "up to 5.0 mm" in faults_of(in_order(frames))[0]


def test_several_faults_are_all_named():
    axes = PLANES["oblique"]
    frames = [moved(frame, 0.4 * k * axes[:, 1]) for k, frame in enumerate(frames_of(axes))]
    del frames[2]
    assert [fault.split(":")[0] for fault in faults_of(in_order(frames))] == ["1 missing slice", "sheared"]


def test_a_sound_stack_has_no_faults(axes):
    assert faults_of(frames_of(axes)) == ()


def test_positions_written_with_one_decimal_are_sound(axes):
    frames = [replace(f, position_mm=tuple(np.round(f.position_mm, 1))) for f in frames_of(axes, slices=40)]
    assert faults_of(in_order(frames)) == ()


@pytest.mark.parametrize("order", ["reversed", "shuffled"])
def test_slices_are_put_in_order_along_the_normal(axes, order):
    frames = frames_of(axes)
    given = frames[::-1] if order == "reversed" else [frames[k] for k in (4, 0, 7, 2, 1, 6, 3, 5)]
    assert in_order(given) == tuple(frames)


def test_the_affine_of_an_ordered_stack_is_right_handed_in_lps_and_gives_positions_back(axes):
    frames = in_order(frames_of(axes)[::-1])
    affine = Stack(frames).affine
    for k, frame in enumerate(frames):
        np.testing.assert_allclose(affine @ (0, 0, k, 1), (*np.multiply(frame.position_mm, (-1, -1, 1)), 1), atol=1e-9)
    np.testing.assert_allclose(np.linalg.det(affine), 1.1 * 0.9 * STEP_MM)


def test_without_positions_the_instance_numbers_count():
    frames = [replace(frame, position_mm=None) for frame in frames_of(PLANES["axial"])]
    assert in_order(frames[::-1]) == tuple(frames)


def test_repeated_positions_share_a_number_despite_noise(axes):
    frames = frames_of(axes, slices=5)
    noise = np.random.default_rng(0).uniform(-0.03, 0.03, (5, 3))
    again = [moved(frame, offset) for frame, offset in zip(frames, noise, strict=True)]
    numbers = position_numbers([*frames[::-1], *again])
    np.testing.assert_array_equal(numbers, [4, 3, 2, 1, 0, 0, 1, 2, 3, 4])


def test_slices_side_by_side_are_different_positions(axes):
    frames = frames_of(axes, slices=3)
    beside = [moved(frame, 200.0 * axes[:, 0]) for frame in frames]
    assert len(set(position_numbers([*frames, *beside]).tolist())) == 6


@pytest.mark.parametrize(
    "change",
    [{"shape": (20, 25)}, {"spacing_mm": (1.1, 0.91)}, {"spacing_mm": None}, {"orientation": (0, 1, 0, 1, 0, 0)}],
)
def test_frames_that_differ_are_of_different_planes(change):
    frame = frames_of(PLANES["axial"])[0]
    assert same_plane(frame, replace(frame, position_mm=None))
    assert not same_plane(frame, replace(frame, **change))
