"""What nnU-Net is shown of a dataset: links where it can read them, else what the other arms see."""

from __future__ import annotations

import dataclasses
import json

import nibabel as nib
import numpy as np
import pytest

from scripts.domain.errors import DatasetError, StudyError
from scripts.experiments.nnunet.raw_folder import DATASET, lay_out_images, lay_out_training
from scripts.studies.layout import read_dataset
from scripts.studies.reading import read_study


@pytest.fixture
def cases(dataset_dir):
    """liver-01 to -04, the cases of imagesTr."""
    return [case for case in read_dataset(dataset_dir) if case.split != "test"]


def written(folder, case, phase):
    image = nib.load(folder / f"{case}_{phase:04d}.nii.gz")
    return np.asarray(image.dataobj), image.affine


def test_a_case_without_a_label_is_refused(cases, tmp_path):
    cases[1].label_file.unlink()
    without = [*cases[:1], dataclasses.replace(cases[1], label_file=None)]
    with pytest.raises(DatasetError, match="no label of liver-02"):
        lay_out_training(without, tmp_path / "raw")
    assert not (tmp_path / "raw").exists()


def test_a_damaged_phase_is_refused(cases, tmp_path):
    cases[0].phase_files[2].write_bytes(b"no image")
    with pytest.raises(StudyError, match="liver-01_0002"):
        lay_out_images(cases, tmp_path / "images")


def test_whole_cases_are_links_and_nothing_is_copied(cases, tmp_path):
    lay_out_training(cases, tmp_path)
    images, labels = tmp_path / DATASET / "imagesTr", tmp_path / DATASET / "labelsTr"
    assert sorted(file.name for file in images.iterdir()) == [
        f"liver-0{case}_000{phase}.nii.gz" for case in (1, 2, 3, 4) for phase in range(4)
    ]
    for case in cases:
        assert (labels / f"{case.case}.nii.gz").resolve() == case.label_file.resolve()
        for phase, file in enumerate(case.phase_files):
            link = images / f"{case.case}_{phase:04d}.nii.gz"
            assert link.is_symlink()
            assert link.resolve() == file.resolve()


def test_it_learns_the_tumour_and_in_it_the_hcc(cases, tmp_path):
    lay_out_training(cases, tmp_path)
    content = json.loads((tmp_path / DATASET / "dataset.json").read_text())
    assert content["labels"] == {"background": 0, "tumour": [1, 2], "hcc": 2}
    # In nnU-Net's masks a later value is written over an earlier one: 2 where it is HCC, else 1, as in our labels.
    assert content["regions_class_order"] == [1, 2]
    assert content["numTraining"] == 4
    assert list(content["channel_names"].values()) == ["pre", "arterial", "portal_venous", "delayed"]


def test_it_is_laid_out_anew(cases, tmp_path):
    lay_out_training(cases, tmp_path)
    lay_out_training(cases[:2], tmp_path)
    assert len(list((tmp_path / DATASET / "labelsTr").iterdir())) == 2


def test_an_absent_phase_is_zero_and_the_others_are_as_the_other_arms_see_them(cases, tmp_path):
    cases[0].phase_files[3].unlink()
    without = dataclasses.replace(cases[0], phase_files=(*cases[0].phase_files[:3], None))
    study = read_study(without)
    lay_out_images([without], tmp_path)
    for phase in range(4):
        volume, affine = written(tmp_path, "liver-01", phase)
        np.testing.assert_array_equal(volume, study.image[phase])
        np.testing.assert_allclose(affine, study.affine, atol=1e-4)
    assert not written(tmp_path, "liver-01", 3)[0].any()


def test_a_phase_on_another_grid_is_resampled(cases, tmp_path):
    file = cases[0].phase_files[0]
    image = nib.load(file)
    coarse = image.slicer[::2, :, :]
    nib.save(nib.Nifti1Image(np.asarray(coarse.dataobj), coarse.affine), file)
    lay_out_images(cases[:1], tmp_path)
    shapes = {written(tmp_path, "liver-01", phase)[0].shape for phase in range(4)}
    assert shapes == {image.shape}


def test_spacings_that_differ_in_a_last_digit_would_stop_nnunet(cases, tmp_path):
    file = cases[0].phase_files[0]
    image = nib.load(file)
    affine = image.affine.copy()
    affine[0, 0] *= 1.00001
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj), affine), file)
    lay_out_images(cases[:1], tmp_path)
    assert len({nib.load(tmp_path / f"liver-01_000{phase}.nii.gz").header.get_zooms() for phase in range(4)}) == 1


def test_one_file_of_four_channels_becomes_four(cases, tmp_path):
    channels = np.stack([np.asarray(nib.load(file).dataobj) for file in cases[0].phase_files], axis=-1)
    nib.save(nib.Nifti1Image(channels, nib.load(cases[0].phase_files[0]).affine), tmp_path / "all.nii.gz")
    one = dataclasses.replace(cases[0], phase_files=(None,) * 4, volume_file=tmp_path / "all.nii.gz")
    lay_out_images([one], tmp_path / "images")
    study = read_study(cases[0])
    for phase in range(4):
        np.testing.assert_array_equal(written(tmp_path / "images", "liver-01", phase)[0], study.image[phase])
