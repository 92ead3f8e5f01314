from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from scripts.domain.errors import ConfigurationError, DatasetError, StudyError
from scripts.studies import slice_cache
from scripts.studies.layout import read_dataset
from scripts.studies.network_grid import NetworkGrid
from scripts.studies.reading import read_study
from scripts.studies.slice_cache import load_subjects


def test_a_case_without_a_label_is_refused(dataset_dir: Path) -> None:
    case = replace(read_dataset(dataset_dir)[0], label_file=None)
    with pytest.raises(DatasetError, match=r"liver-01: no label file, which training and validation need\. Add it"):
        load_subjects([case], 64)


def test_a_broken_file_is_refused_and_leaves_no_cache(dataset_dir: Path, tmp_path: Path) -> None:
    case = read_dataset(dataset_dir)[0]
    case.phase_files[3].write_bytes(b"")
    with pytest.raises(StudyError, match=r"liver-01_0003.nii.gz: not a NIfTI file"):
        load_subjects([case], 64, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_slices_are_the_normalised_study_on_the_network_grid(dataset_dir: Path) -> None:
    case = read_dataset(dataset_dir)[0]
    study = read_study(case)
    (subject,) = load_subjects([case], 128)
    expected = (NetworkGrid.of(study, 128).to_slices(study.image) - study.offset) / study.scale
    assert subject.image.dtype == np.float16
    np.testing.assert_allclose(subject.image, expected, rtol=1e-3, atol=1e-3)
    assert subject.air == pytest.approx(-study.offset / study.scale)
    assert subject.image.min() >= np.float16(subject.air)
    slices_with_tumour = np.flatnonzero(study.label.any(axis=(0, 1)))
    np.testing.assert_array_equal(subject.tumour_slices, slices_with_tumour)
    np.testing.assert_array_equal(subject.background_slices, np.setdiff1d(np.arange(20), slices_with_tumour))
    # Partial volumes count from half a pixel on, so the area in mm² stays.
    area_mm2 = subject.label.sum() * 3.0**2
    assert area_mm2 == pytest.approx((study.label > 0).sum() * 3.0 * 2.5, rel=0.1)


def test_a_missing_phase_is_zero_in_normalised_units(dataset_dir: Path) -> None:
    (dataset_dir / "imagesTr/liver-01_0003.nii.gz").unlink()
    (subject,) = load_subjects(read_dataset(dataset_dir)[:1], 64)
    assert subject.available.tolist() == [True, True, True, False]
    assert not subject.image[:, 3].any()
    assert subject.image[:, :3].any()


def test_the_second_start_reads_no_study(dataset_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cases = read_dataset(dataset_dir)[:2]
    fresh = load_subjects(cases, 64)
    written = load_subjects(cases, 64, tmp_path)
    monkeypatch.setattr(slice_cache, "read_study", lambda case: pytest.fail(f"{case.case} was read again"))
    for subject in (written, load_subjects(cases, 64, tmp_path)):
        for found, expected in zip(subject, fresh, strict=True):
            assert found.case == expected.case
            assert found.air == expected.air
            for name in ("image", "label", "in_body", "available"):
                np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    assert len(list(tmp_path.glob("liver-0*.np*"))) == 4
    assert not list(tmp_path.glob(".*"))


def test_a_changed_file_or_size_is_read_again(dataset_dir: Path, tmp_path: Path) -> None:
    case = read_dataset(dataset_dir)[0]
    (before,) = load_subjects([case], 64, tmp_path)
    assert load_subjects([case], 32, tmp_path)[0].image.shape[-1] == 32
    other = dataset_dir / "imagesTr/liver-02_0001.nii.gz"
    case.phase_files[1].write_bytes(other.read_bytes())
    os.utime(case.phase_files[1], ns=(1, 1))
    (after,) = load_subjects([case], 64, tmp_path)
    assert not np.array_equal(before.image[:, 1], after.image[:, 1])


def test_a_kill_between_the_two_files_is_repaired(dataset_dir: Path, tmp_path: Path) -> None:
    case = read_dataset(dataset_dir)[0]
    (expected,) = load_subjects([case], 64, tmp_path)
    next(tmp_path.glob("*.npz")).unlink()
    (found,) = load_subjects([case], 64, tmp_path)
    np.testing.assert_array_equal(found.label, expected.label)


def test_a_case_without_a_liver_mask_is_refused_where_the_liver_is_the_target(dataset_dir: Path) -> None:
    case = replace(read_dataset(dataset_dir)[0], liver_file=None)
    with pytest.raises(DatasetError, match=r"liver-01: no liver mask, .* Add it to liver\."):
        load_subjects([case], 64, target="liver")


def test_an_unknown_target_is_refused(dataset_dir: Path) -> None:
    with pytest.raises(ConfigurationError, match="target 'spleen' is unknown"):
        load_subjects(read_dataset(dataset_dir), 64, target="spleen")


def test_the_liver_is_cached_beside_the_tumour(dataset_dir: Path, tmp_path: Path) -> None:
    case = read_dataset(dataset_dir)[0]
    study = read_study(case)
    (tumour,) = load_subjects([case], 128, tmp_path)
    (liver,) = load_subjects([replace(case, label_file=None)], 128, target="liver")
    (cached,) = load_subjects([case], 128, tmp_path, target="liver")
    expected = NetworkGrid.of(study, 128).to_slices(study.liver[None])[:, 0] >= 0.5
    np.testing.assert_array_equal(liver.label, expected)
    np.testing.assert_array_equal(cached.label, expected)
    assert tumour.label.sum() < liver.label.sum()
