import itertools
from dataclasses import replace

import numpy as np
import pytest
from nibabel.affines import apply_affine

from lib.errors import BadRequestError, UnknownError
from lib.grids import from_series, nearest, on_grid, reference_grid
from lib.studies.study import OpenStudy, ViewerGrid
from scripts.domain.errors import StudyError


def _turned(study: OpenStudy, order: tuple[int, ...], flips: tuple[int, ...]) -> tuple[OpenStudy, np.ndarray]:
    """The study with a series ``turned``: the reference's voxels in other order; and how its voxels map to them."""
    shape, affine = reference_grid(study)
    to_reference = np.zeros((4, 4))
    to_reference[3, 3] = 1
    for axis, along in enumerate(order):
        to_reference[along, axis] = flips[axis]
        if flips[axis] < 0:
            to_reference[along, 3] = shape[along] - 1
    grid = ViewerGrid(tuple(shape[along] for along in order), affine @ to_reference)
    return replace(study, series={**study.series, "turned": grid}), to_reference


def test_masks_of_another_shape_are_refused(opened_study: OpenStudy) -> None:
    with pytest.raises(BadRequestError, match="96 x 80 x 20"):
        on_grid(np.zeros((80, 96, 20), np.uint8), opened_study, None)


def test_an_unknown_series_is_no_silent_reference(opened_study: OpenStudy, true_mask: np.ndarray) -> None:
    for ask in (opened_study.grid, lambda name: on_grid(true_mask, opened_study, name)):
        with pytest.raises(UnknownError, match="no such series"):
            ask("liver-02_0001")
    assert opened_study.grid("liver-01") is opened_study.grid(None) is opened_study.grid("liver-01_0001")


@pytest.mark.parametrize("content", [b"no NIfTI", None])
def test_a_reference_that_cannot_be_read(opened_study: OpenStudy, true_mask: np.ndarray, content: bytes | None) -> None:
    file = opened_study.case.phase_files[1]
    file.unlink() if content is None else file.write_bytes(content)
    with pytest.raises(StudyError, match="cannot be read") as refused:
        on_grid(true_mask, opened_study, None)
    assert "/" not in str(refused.value)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("flips", [(1, 1, 1), (-1, 1, 1), (1, -1, -1), (-1, -1, -1)])
def test_turned_grids_are_exact_and_go_back(
    opened_study: OpenStudy, true_mask: np.ndarray, order: tuple[int, ...], flips: tuple[int, ...]
) -> None:
    study, to_reference = _turned(opened_study, order, flips)
    shown = on_grid(true_mask, study, "turned")
    there = apply_affine(to_reference, np.argwhere(shown)).astype(int)
    assert np.array_equal(true_mask[tuple(there.T)], shown[shown > 0])
    assert np.count_nonzero(shown) == np.count_nonzero(true_mask) > 0
    assert np.array_equal(from_series(shown, study.grid("turned").affine, study, "turned"), true_mask)


def test_a_header_s_few_digits_do_no_harm(opened_study: OpenStudy, true_mask: np.ndarray) -> None:
    grid = opened_study.grid(None)
    rounded = ViewerGrid(grid.shape, np.round(grid.affine, 4))
    full = np.ones_like(true_mask)
    study = replace(opened_study, series={**opened_study.series, "rounded": rounded})
    assert np.array_equal(on_grid(true_mask, study, "rounded"), true_mask)
    assert on_grid(full, study, "rounded").all()


@pytest.mark.parametrize("tilt", [0.0, 0.2])
def test_nearest_voxel_of_a_finer_shifted_grid(
    opened_study: OpenStudy, true_mask: np.ndarray, oblique_affine: np.ndarray, tilt: float
) -> None:
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(tilt), -np.sin(tilt)], [np.sin(tilt), np.cos(tilt)]]
    finer = oblique_affine @ turn @ np.diag([0.5, 0.7, 1.0, 1.0])
    finer[:3, 3] += oblique_affine[:3, :3] @ [12.3, 8.1, 4.0]
    shape = (110, 90, 14)
    shown = nearest(true_mask, oblique_affine, shape=shape, target=finer)
    points = apply_affine(np.linalg.inv(oblique_affine) @ finer, np.argwhere(np.ones(shape)))
    # Voxels half-way between two are either's.
    clear = (np.abs(points - np.floor(points) - 0.5) > 1e-6).all(axis=1)
    index = np.floor(points + 0.5).astype(int)
    inside = clear & (index >= 0).all(axis=1) & (index < true_mask.shape).all(axis=1)
    expected = true_mask[tuple(index[inside].T)]
    assert expected.any()
    assert np.array_equal(shown.ravel()[inside], expected)
    outside = clear & ~((index >= 0).all(axis=1) & (index < true_mask.shape).all(axis=1))
    assert not shown.ravel()[outside].any()


def test_a_case_without_the_arterial_phase_has_the_first_one_s_grid(opened_study: OpenStudy) -> None:
    files = (opened_study.case.phase_files[0], None, *opened_study.case.phase_files[2:])
    study = replace(opened_study, case=replace(opened_study.case, phase_files=files))
    assert reference_grid(study)[0] == (96, 80, 20)
