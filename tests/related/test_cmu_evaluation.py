"""Scores of the liver: against masks made by hand, and the files that the run ids leave."""

import csv
import json
import math
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest

from scripts.domain.study import Study
from scripts.related.cmu_evaluation import score_study

CONFIGS = ["cmu_net.yaml", "experiments/cmu_net.yaml"]
TINY = {"image_size": 64, "network_def#widths": [4, 4, 4, 8, 8], "max_epochs": 1, "batch_size": 4}


@pytest.fixture
def study():
    """Voxels of 2 x 3 x 5 mm; the liver is 4 x 4 pixels in slices 1 and 2 of four."""
    liver = np.zeros((12, 10, 4), dtype=bool)
    liver[2:6, 2:6, 1:3] = True
    return Study(
        case="a",
        image=np.zeros((4, *liver.shape), dtype=np.float32),
        affine=np.diag([2.0, 3.0, 5.0, 1.0]),
        available=(True,) * 4,
        times_s=(0.0, 30.0, 70.0, 180.0),
        offset=0.0,
        scale=1.0,
        liver=liver,
    )


@pytest.fixture(scope="module")
def trained(run, liver_dir, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    run(CONFIGS, "training", **TINY, dataset_dir=liver_dir, output_dir=folder, cache_dir=folder / "cache", fold=1)
    return folder


def rows_of(folder):
    with (folder / "per_subject.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_perfect_answer(study):
    row, slices = score_study(study, study.liver.astype(np.float32), np.array([0.1, 0.9, 0.6, 0.4]))
    assert (row["dice"], row["iou"], row["slice_dice"]) == (1.0, 1.0, 1.0)
    assert (row["hausdorff_mm"], row["hd95_mm"], row["slice_hausdorff_mm"]) == (0.0, 0.0, 0.0)
    assert (row["slices"], row["slices_with_organ"], row["slices_organ_correct"]) == (4, 2, 4)
    assert slices[:, 0].tolist() == [0, 1, 1, 0]


def test_a_shift_is_measured_in_mm_along_its_own_axis(study):
    row, _ = score_study(study, np.roll(study.liver, 1, axis=1).astype(np.float32), np.full(4, 0.6))
    assert row["dice"] == pytest.approx(3 / 4)
    assert row["hausdorff_mm"] == pytest.approx(3.0)
    assert row["slice_hausdorff_mm"] == pytest.approx(3.0)
    assert row["slices_organ_correct"] == 2


def test_a_slice_without_an_answer_counts_its_diagonal(study):
    probability = study.liver.astype(np.float32)
    probability[:, :, 2] = 0.0
    row, _ = score_study(study, probability, np.full(4, 0.6))
    assert row["slice_dice"] == pytest.approx(0.5)
    assert row["slice_hausdorff_mm"] == pytest.approx(math.hypot(12 * 2, 10 * 3) / 2)
    assert row["hausdorff_mm"] == pytest.approx(5.0)
    assert row["dice"] == pytest.approx(2 * 16 / (32 + 16))


def test_slices_are_told_along_the_acquired_axis(study):
    turned = replace(
        study,
        liver=np.moveaxis(study.liver, 2, 0),
        image=np.moveaxis(study.image, 3, 1),
        affine=np.diag([5.0, 2.0, 3.0, 1.0]),
        slice_axis=0,
    )
    row, _ = score_study(turned, np.roll(turned.liver, 1, axis=2).astype(np.float32), np.full(4, 0.6))
    assert (row["slices"], row["slices_with_organ"]) == (4, 2)
    assert row["slice_hausdorff_mm"] == pytest.approx(3.0)


def test_evaluating_scores_every_subject_of_the_split(run, trained, liver_dir, tmp_path):
    weights = {"ckpt_path": trained / "model.pt", "output_dir": tmp_path}
    run(CONFIGS, "evaluating", **TINY, **weights, dataset_dir=liver_dir, split="test", fold=1)
    rows = rows_of(tmp_path)
    assert sorted(row["case"] for row in rows) == ["phantom-5-6", "phantom-5-7"]
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert all(set(entry) == {"value", "ci95", "n"} for entry in metrics.values())
    assert metrics["dsc_mean"]["value"] == pytest.approx(np.mean([float(row["dice"]) for row in rows]), rel=1e-4)
    assert metrics["slice_hausdorff_mm"]["n"] == 2
    assert metrics["organ_accuracy"]["n"] == 16


def test_inferring_writes_a_liver_on_the_studys_own_grid(run, trained, dataset_dir, tmp_path):
    weights = {"ckpt_path": trained / "model.pt", "output_dir": tmp_path}
    run(CONFIGS, "inferring", **TINY, **weights, dataset_dir=dataset_dir)
    mask = nib.load(tmp_path / "liver-05" / "liver.nii.gz")
    reference = nib.load(dataset_dir / "imagesTs" / "liver-05_0001.nii.gz")
    assert mask.shape == reference.shape
    np.testing.assert_allclose(mask.affine, reference.affine, atol=1e-4)


def test_weights_of_another_size_are_refused(run, trained, liver_dir, tmp_path):
    settings = TINY | {"image_size": 128, "ckpt_path": trained / "model.pt", "output_dir": tmp_path}
    with pytest.raises(SystemExit, match="was trained at image_size 64, this config says 128"):
        run(CONFIGS, "evaluating", **settings, dataset_dir=liver_dir, split="test")


def test_scoring_without_a_liver_mask_is_refused(run, trained, dataset_dir, tmp_path):
    (dataset_dir / "liver" / "liver-05.nii.gz").unlink()
    settings = TINY | {"ckpt_path": trained / "model.pt", "output_dir": tmp_path / "out", "split": "test"}
    with pytest.raises(SystemExit, match=r"liver-05: no liver mask, .* Add liver/<case>\.nii\.gz"):
        run(CONFIGS, "evaluating", **settings, dataset_dir=dataset_dir)
    assert not (tmp_path / "out").exists()
