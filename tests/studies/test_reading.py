from __future__ import annotations

from dataclasses import replace
from itertools import permutations, product
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from scripts.domain.errors import StudyError
from scripts.studies.layout import Case, read_dataset
from scripts.studies.reading import read_mask, read_study, write_mask

SPACING_MM = (2.0, 3.0, 5.0)
ORIENTATIONS = ["".join(p) for axes in permutations(("RL", "AP", "SI")) for p in product(*axes)]


def _affine(codes: str, spacing_mm: tuple[float, float, float] = SPACING_MM, tilt_deg: float = 10.0) -> np.ndarray:
    """An oblique affine whose array axes point nearest to the given anatomical directions."""
    directions = {"R": (1, 0, 0), "L": (-1, 0, 0), "A": (0, 1, 0), "P": (0, -1, 0), "S": (0, 0, 1), "I": (0, 0, -1)}
    affine = np.eye(4)
    tilt = Rotation.from_euler("xyz", [tilt_deg, -tilt_deg, tilt_deg / 2], degrees=True).as_matrix()
    affine[:3, :3] = tilt @ np.array([directions[code] for code in codes], float).T @ np.diag(spacing_mm)
    affine[:3, 3] = (31.0, -47.0, 83.0)
    return affine


def _write(
    folder: Path, codes: str = "LPS", spacing_mm: tuple[float, float, float] = SPACING_MM, shape=(14, 11, 8)
) -> Case:
    """Four random phases, and a label of one voxel at index (3, 8, 2)."""
    rng = np.random.default_rng(0)
    affine = _affine(codes, spacing_mm)
    files = []
    for phase in range(4):
        data = rng.integers(0, 20, shape).astype(np.int16)
        data[2:-2, 2:-2] += 300 + 10 * phase
        data[3, 8, 2] = 5000 + phase
        files.append(folder / f"a_{phase:04d}.nii.gz")
        nib.save(nib.Nifti1Image(data, affine), files[-1])
    label = np.zeros(shape, np.uint8)
    label[3, 8, 2] = 2
    nib.save(nib.Nifti1Image(label, affine), folder / "a.nii.gz")
    return Case("a", phase_files=tuple(files), label_file=folder / "a.nii.gz", tumour_class="hcc")


def test_no_phase_at_all_is_refused() -> None:
    with pytest.raises(StudyError, match=r"a: no phase file\. Give at least one of pre, arterial"):
        read_study(Case("a"))


def test_a_broken_phase_is_refused_by_name(tmp_path: Path) -> None:
    case = _write(tmp_path)
    case.phase_files[2].write_bytes(b"no image")
    with pytest.raises(StudyError, match=r"a_0002.nii.gz: not a NIfTI file"):
        read_study(case)


def test_a_constant_phase_is_refused(tmp_path: Path) -> None:
    case = _write(tmp_path)
    nib.save(nib.Nifti1Image(np.ones((14, 11, 8), np.int16), _affine("LPS")), case.phase_files[0])
    with pytest.raises(StudyError, match=r"a_0000.nii.gz: constant volume"):
        read_study(case)


def test_a_study_of_one_intensity_is_refused(tmp_path: Path) -> None:
    case = _write(tmp_path)
    for file in case.phase_files:
        data = np.zeros((14, 11, 8), np.int16)
        data[3:9, 2:7] = 50
        nib.save(nib.Nifti1Image(data, _affine("LPS")), file)
    with pytest.raises(StudyError, match="a: constant intensities, no body can be told from the air"):
        read_study(case)


def test_five_volumes_and_a_constant_one_among_four_are_refused(tmp_path: Path) -> None:
    data = np.random.default_rng(0).integers(0, 9, (14, 11, 8, 5)).astype(np.int16)
    file = tmp_path / "dynamic.nii.gz"
    nib.save(nib.Nifti1Image(data, _affine("LPS")), file)
    with pytest.raises(StudyError, match=r"dynamic.nii.gz: found 5 volumes"):
        read_study(Case("a", volume_file=file))
    data[..., 1] = 4
    nib.save(nib.Nifti1Image(data[..., :4], _affine("LPS")), file)
    with pytest.raises(StudyError, match=r"dynamic.nii.gz: constant volume"):
        read_study(Case("a", volume_file=file))


def test_a_label_on_another_grid_or_of_other_values_is_refused(tmp_path: Path) -> None:
    case = _write(tmp_path)
    nib.save(nib.Nifti1Image(np.zeros((14, 11, 7), np.uint8), _affine("LPS")), case.label_file)
    with pytest.raises(StudyError, match=r"a.nii.gz: not on the arterial phase's grid\. Resample it"):
        read_study(case)
    nib.save(nib.Nifti1Image(np.full((14, 11, 8), 3, np.uint8), _affine("LPS")), case.label_file)
    with pytest.raises(StudyError, match=r"whole numbers from 0 to 2\. Use 0 for background, 1 for hemangioma"):
        read_study(case)


@pytest.mark.parametrize("codes", ORIENTATIONS)
def test_any_orientation_becomes_ras_and_goes_back_exactly(tmp_path: Path, codes: str) -> None:
    case = _write(tmp_path, codes)
    study = read_study(case)
    assert nib.aff2axcodes(study.affine) == ("R", "A", "S")
    assert study.native_axcodes == tuple(codes)
    assert study.image.dtype == np.float32
    # The marked voxel keeps its place in the world.
    index = np.unravel_index(np.argmax(study.image[1]), study.image.shape[1:])
    marked_mm = nib.affines.apply_affine(_affine(codes), (3, 8, 2))
    np.testing.assert_allclose(nib.affines.apply_affine(study.affine, index), marked_mm, atol=1e-4)
    assert study.image[:, *index].tolist() == [5000, 5001, 5002, 5003]
    assert study.label[index] == 2
    assert study.label.sum() == 2
    # The stored third axis is the coarsest here, the acquired normal.
    assert study.spacing_mm[study.slice_axis] == pytest.approx(5.0, abs=1e-4)
    # Back on the file's grid: same shape, affine and voxels.
    written = nib.load(write_mask(study.label, study, tmp_path / "out" / "mask.nii.gz"))
    original = nib.load(case.label_file)
    assert written.get_data_dtype() == np.uint8
    assert written.shape == original.shape
    np.testing.assert_allclose(written.affine, original.affine, atol=1e-5)
    np.testing.assert_array_equal(np.asarray(written.dataobj), np.asarray(original.dataobj))
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["mask.nii.gz"]


def test_nibabels_own_reorientation_gives_the_same(dataset_dir: Path) -> None:
    study = read_study(read_dataset(dataset_dir)[1])
    for phase, file in enumerate(sorted((dataset_dir / "imagesTr").glob("liver-02_*"))):
        expected = nib.as_closest_canonical(nib.load(file))
        np.testing.assert_array_equal(study.image[phase], np.asarray(expected.dataobj))
        np.testing.assert_allclose(study.affine, expected.affine, atol=1e-9)
    assert study.image.shape == (4, 96, 80, 20)
    assert study.available == (True,) * 4
    assert study.times_s == (0.0, 26.0, 70.0, 180.0)
    assert study.liver.dtype == bool
    assert set(np.unique(study.label)) == {0, 1}
    assert study.spacing_mm == pytest.approx((3.0, 2.5, 6.0), abs=1e-5)


@pytest.mark.parametrize(
    ("codes", "spacing_mm", "expected"),
    [
        ("LPS", (2.0, 2.0, 5.0), 2),
        ("LSA", (2.0, 2.0, 5.0), 1),  # coronal: the normal is anterior
        ("PSR", (2.0, 2.0, 5.0), 0),  # sagittal
        ("SLA", (2.0, 2.0, 2.0), 1),  # isotropic: the stored third axis
        ("RAS", (2.0, 2.9, 2.0), 2),  # not clearly coarser than the third
        ("RAS", (2.0, 3.1, 2.0), 1),  # clearly coarser
    ],
)
def test_slices_lie_across_the_acquired_normal(
    tmp_path: Path, codes: str, spacing_mm: tuple[float, float, float], expected: int
) -> None:
    assert read_study(_write(tmp_path, codes, spacing_mm)).slice_axis == expected


def test_four_volumes_in_one_file_equal_four_files(tmp_path: Path) -> None:
    case = _write(tmp_path)
    data = np.stack([np.asarray(nib.load(file).dataobj) for file in case.phase_files], axis=-1)
    nib.save(nib.Nifti1Image(data, _affine("LPS")), tmp_path / "four.nii.gz")
    study, expected = read_study(Case("a", volume_file=tmp_path / "four.nii.gz")), read_study(case)
    np.testing.assert_array_equal(study.image, expected.image)
    np.testing.assert_allclose(study.affine, expected.affine)
    assert (study.offset, study.scale) == (expected.offset, expected.scale)
    assert study.label is None
    assert study.liver is None


def test_phases_on_other_grids_are_resampled_onto_the_arterial_one(tmp_path: Path) -> None:
    # A function linear in world coordinates survives linear interpolation exactly.
    def linear(shape: tuple[int, ...], affine: np.ndarray, gain: float) -> np.ndarray:
        index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
        return (500 + gain * (nib.affines.apply_affine(affine, index) @ (1.0, 0.5, -0.7))).astype(np.float32)

    reference, fine = _affine("LPS"), _affine("LPS", (1.0, 1.5, 2.5), tilt_deg=4.0)
    centre = nib.affines.apply_affine(reference, (6.5, 5.0, 3.5))
    fine[:3, 3] += centre - nib.affines.apply_affine(fine, (29.5, 24.5, 19.5))
    files = []
    for phase in range(4):
        affine, shape = (fine, (60, 50, 40)) if phase == 2 else (reference, (14, 11, 8))
        files.append(tmp_path / f"a_{phase:04d}.nii.gz")
        nib.save(nib.Nifti1Image(linear(shape, affine, 1.0 + phase), affine), files[-1])
    study = read_study(Case("a", phase_files=tuple(files)))
    assert study.image.shape == (4, 14, 11, 8)
    expected = linear((14, 11, 8), reference, 3.0)[::-1, ::-1]
    np.testing.assert_allclose(study.image[2], expected, rtol=1e-4, atol=0.05)


def test_missing_phases_are_zero_and_the_first_one_takes_the_references_place(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    case = _write(tmp_path)
    case = replace(case, phase_files=(None, None, *case.phase_files[2:]))
    with caplog.at_level("WARNING"):
        study = read_study(case)
    assert study.available == (False, False, True, True)
    assert study.missing() == ("pre", "arterial")
    assert not study.image[:2].any()
    assert "no arterial phase, so results are on the portal_venous grid" in caplog.text


def test_a_mask_of_another_grid_is_not_written(tmp_path: Path) -> None:
    study = read_study(_write(tmp_path))
    with pytest.raises(StudyError, match=r"the mask's shape \(14, 11, 7\) is not the study's \(14, 11, 8\)"):
        write_mask(np.zeros((14, 11, 7), np.uint8), study, tmp_path / "mask.nii.gz")
    assert not (tmp_path / "mask.nii.gz").exists()


def test_a_bool_mask_is_written_as_zeros_and_ones(tmp_path: Path) -> None:
    study = read_study(_write(tmp_path))
    written = nib.load(write_mask(study.label > 0, study, tmp_path / "mask.nii.gz"))
    assert np.asarray(written.dataobj).sum() == 1


@pytest.mark.parametrize("codes", ["LPS", "ASR", "IRP"])
def test_a_written_mask_is_read_back_voxel_by_voxel(tmp_path: Path, codes: str) -> None:
    study = read_study(_write(tmp_path, codes))
    mask = np.zeros(study.image.shape[1:], np.uint8)
    mask[1:3, 4:9, 2] = 3
    assert np.array_equal(read_mask(write_mask(mask, study, tmp_path / "out.nii.gz"), study), mask)


def test_a_mask_of_another_study_is_refused(tmp_path: Path) -> None:
    study = read_study(_write(tmp_path))
    write_mask(study.label, study, tmp_path / "out.nii.gz")
    with pytest.raises(StudyError, match="not on the grid of b"):
        read_mask(tmp_path / "out.nii.gz", replace(study, case="b", affine=study.affine + np.eye(4)))
