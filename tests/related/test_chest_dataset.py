"""Chest slices on the network grid: boxes, masks and classes stay where the image has them."""

import shutil
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
import torch

from scripts.domain.errors import DatasetError
from scripts.related.chest_dataset import ChestSlices, ChestSubjects, load_chest
from scripts.related.chest_layout import read_chest
from scripts.studies.slices import collate

SIZE = 64


@pytest.fixture
def cases(chest_dir):
    return read_chest(chest_dir)


@pytest.fixture
def broken(chest_dir, tmp_path):
    return shutil.copytree(chest_dir, tmp_path / "cohort")


def nodule_of(folder):
    return next(case for case in read_chest(folder) if case.subject_class == "nodule")


def rewrite(path, change):
    image = nib.load(path)
    data, affine = change(np.asarray(image.dataobj), image.affine)
    nib.save(nib.Nifti1Image(data, affine), path)


def test_an_image_of_another_shape_than_its_mask_is_refused(broken):
    case = nodule_of(broken)
    rewrite(case.image_file, lambda data, affine: (data[:-1], affine))
    with pytest.raises(DatasetError, match=r"image \(63, 48, 4\), lesions \(64, 48, 4\) and 4 rows"):
        load_chest([case], SIZE)


def test_boxes_that_the_mask_does_not_have_are_refused(broken):
    case = nodule_of(broken)
    moved = replace(case.lesions[0], box=(0, 0, 2, 2))
    with pytest.raises(DatasetError, match=r"lesions\.csv and the mask differ in slice"):
        load_chest([replace(case, lesions=(moved, *case.lesions[1:]))], SIZE)


def test_another_orientation_is_refused(broken):
    case = nodule_of(broken)
    for path in (case.image_file, case.lesions_file):
        rewrite(path, lambda data, affine: (data, affine @ np.diag([-1, 1, 1, 1])))
    with pytest.raises(DatasetError, match="is not stored in RAS"):
        load_chest([case], SIZE)


def test_training_without_any_lesion_is_refused(cases):
    with pytest.raises(DatasetError, match="none of the 3 cases has a lesion"):
        ChestSlices([case for case in cases if case.subject_class == "normal"], size=SIZE)


def test_hounsfield_units_become_0_to_1(cases):
    (arrays,) = load_chest(cases[:1], SIZE)
    stored = np.moveaxis(np.asarray(nib.load(cases[0].image_file).dataobj), 2, 0)
    expected = np.clip((stored + 1000) / 1400, 0, 1)
    # 64 x 48 pixels of 6 mm in a field of 64 x 64: air is added on both sides of the second axis.
    np.testing.assert_allclose(arrays.image[:, :, 8:56], expected, atol=1e-6)
    np.testing.assert_array_equal(arrays.image[:, :, :8], 0)


def test_targets_are_columns_then_rows_and_agree_with_the_tables(cases):
    case = next(case for case in cases if case.subject_class == "ground_glass" and case.lesions)
    dataset = ChestSubjects([case], size=SIZE)
    batch = dataset[0]
    listed = {(b.slice_index, b.box) for b in case.lesions}
    found = set()
    for index, target in enumerate(batch["targets"]):
        for box, label, mask in zip(target["boxes"], target["labels"], target["masks"], strict=True):
            column_min, row_min, column_max, row_max = (int(v) for v in box)
            found.add((index, (row_min, column_min - 8, row_max, column_max - 8)))
            assert label == 2
            assert mask[row_min:row_max, column_min:column_max].sum() == mask.sum() > 0
        assert torch.equal(target["masks"].sum(dim=0) > 0, batch["label"][index, 0] > 0)
    assert found == listed


def test_a_slice_without_a_lesion_has_empty_targets(cases):
    batch = ChestSubjects([cases[0]], size=SIZE)[0]
    assert [tuple(target["boxes"].shape) for target in batch["targets"]] == [(0, 4)] * 4
    assert batch["targets"][0]["masks"].shape == (0, SIZE, SIZE)
    assert batch["slice_class"].tolist() == [0] * 4


def test_every_slice_of_every_case_is_learned_from(cases):
    dataset = ChestSlices(cases, size=32)
    assert len(dataset) == 9 * 4
    batch = collate([dataset[0], dataset[5]])
    assert batch["image"].shape == (2, 1, 32, 32)
    assert batch["case"] == ["chest-3-1", "chest-3-2"]
    assert len(batch["targets"]) == 2
