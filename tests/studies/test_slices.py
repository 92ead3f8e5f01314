from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from scripts.domain.errors import DatasetError
from scripts.studies.augmentation import Augmentation
from scripts.studies.layout import read_dataset, training_part, validation_part
from scripts.studies.slices import (
    NO_TUMOUR,
    SliceDataset,
    SubjectSlices,
    collate,
    masked_mean,
    training_mean_curve,
)

SIZE = 64


@pytest.fixture
def make(dataset_dir: Path) -> Callable[..., SliceDataset]:
    cases = training_part(read_dataset(dataset_dir))
    return lambda **options: SliceDataset(cases, **{"size": SIZE, **options})


def _same(first: dict[str, Any], second: dict[str, Any]) -> bool:
    return all(
        torch.equal(first[key], second[key]) if isinstance(first[key], torch.Tensor) else first[key] == second[key]
        for key in first
    )


def test_cases_without_any_tumour_are_refused(dataset_dir: Path) -> None:
    healthy = [case for case in read_dataset(dataset_dir) if case.tumour_class == "none"]
    with pytest.raises(DatasetError, match="none of the 1 training cases has a tumour"):
        SliceDataset(healthy, size=SIZE)


def test_an_item_is_what_the_network_and_the_losses_expect(make: Callable[..., SliceDataset]) -> None:
    item = make()[0]
    shapes = {key: (tuple(value.shape), value.dtype) for key, value in item.items() if isinstance(value, torch.Tensor)}
    assert shapes == {
        "image": ((4, SIZE, SIZE), torch.float32),
        "label": ((1, SIZE, SIZE), torch.float32),
        "curve": ((4,), torch.float32),
        "tumour_class": ((), torch.int64),
        "available": ((4,), torch.bool),
        "times_s": ((4,), torch.float32),
        "slice": ((), torch.int64),
    }
    assert item["case"] == "liver-01"
    assert item["times_s"].tolist() == [0.0, 25.0, 70.0, 180.0]


def test_all_tumour_slices_and_half_as_many_others(make: Callable[..., SliceDataset]) -> None:
    dataset = make(background_ratio=0.5)
    n_tumour = sum(len(subject.tumour_slices) for subject in dataset.subjects)
    assert len(dataset) == n_tumour + round(0.5 * n_tumour)
    items = [dataset[i] for i in range(len(dataset))]
    places = [(item["case"], int(item["slice"])) for item in items]
    assert len(set(places)) == len(places)
    expected = {(s.case.case, int(i)) for s in dataset.subjects for i in s.tumour_slices}
    assert set(places[:n_tumour]) == expected
    for item in items[n_tumour:]:
        assert not item["label"].any()
        assert item["tumour_class"] == NO_TUMOUR
        assert not item["curve"].any()
    assert {int(item["tumour_class"]) for item in items[:n_tumour] if item["case"] == "liver-01"} == {1}
    assert {int(item["tumour_class"]) for item in items[:n_tumour] if item["case"] == "liver-02"} == {0}


def test_no_more_background_than_there_is(make: Callable[..., SliceDataset]) -> None:
    assert len(make(background_ratio=100.0)) == 40
    dataset = make(background_ratio=0.0)
    assert len(dataset) == sum(len(subject.tumour_slices) for subject in dataset.subjects)


def test_items_depend_on_seed_epoch_and_index_only(make: Callable[..., SliceDataset]) -> None:
    first, second = make(seed=3), make(seed=3)
    first.set_epoch(5)
    in_order = [first[i] for i in range(len(first))]
    torch.manual_seed(1234)
    np.random.seed(99)
    second.set_epoch(4)
    second[2]
    second.set_epoch(5)
    for index in reversed(range(len(second))):
        assert _same(second[index], in_order[index])


def test_epochs_seeds_and_indices_differ(make: Callable[..., SliceDataset]) -> None:
    dataset = make(seed=3)
    length = len(dataset)
    before, other_index = dataset[0]["image"], dataset[1]["image"]
    chosen = []
    for epoch in range(4):
        dataset.set_epoch(epoch)
        assert len(dataset) == length
        chosen.append({(item["case"], int(item["slice"])) for item in map(dataset.__getitem__, range(length))})
    assert len({frozenset(each) for each in chosen}) > 1
    assert not torch.equal(dataset[0]["image"], before)
    assert not torch.equal(before, other_index)
    assert not torch.equal(make(seed=4)[0]["image"], before)


def test_worker_processes_change_nothing(make: Callable[..., SliceDataset]) -> None:
    dataset = make()
    dataset.set_epoch(2)
    alone = list(DataLoader(dataset, batch_size=4, collate_fn=collate))
    together = list(DataLoader(dataset, batch_size=4, collate_fn=collate, num_workers=2))
    assert len(alone) == len(together)
    assert all(_same(*pair) for pair in zip(alone, together, strict=True))


def test_the_curve_is_the_mean_under_the_mask_of_the_augmented_image(make: Callable[..., SliceDataset]) -> None:
    strong = Augmentation(rotation_deg=40.0, phase_gain=0.3, gain=0.3, offset=0.3, noise=0.0)
    dataset = make(augmentation=strong, phase_dropout=0.5)
    for index in range(len(dataset)):
        item = dataset[index]
        inside = item["label"][0].numpy() > 0
        expected = item["image"].numpy()[:, inside].mean(axis=1) if inside.any() else np.zeros(4)
        np.testing.assert_allclose(item["curve"], expected, rtol=1e-4, atol=1e-4)


def test_the_curve_does_not_follow_the_added_noise(make: Callable[..., SliceDataset]) -> None:
    quiet = make(augmentation=Augmentation(noise=0.0))
    noisy = make(augmentation=Augmentation(noise=1.0))
    assert torch.equal(quiet[0]["curve"], noisy[0]["curve"])
    assert not torch.equal(quiet[0]["image"], noisy[0]["image"])


def test_a_dropped_phase_is_zero_and_said_to_be_missing(make: Callable[..., SliceDataset]) -> None:
    dataset = make(phase_dropout=1.0)
    for index in range(len(dataset)):
        item = dataset[index]
        missing = ~item["available"]
        assert item["available"][1]
        assert 1 <= missing.sum() <= 2
        assert not item["image"][missing].any()
        assert not item["curve"][missing].any()
        assert item["image"][item["available"]].flatten(1).any(dim=1).all()


def test_a_sample_does_not_change_the_stored_slices(make: Callable[..., SliceDataset]) -> None:
    dataset = make(augmentation=None, phase_dropout=1.0)
    before = [subject.image.copy() for subject in dataset.subjects]
    for index in range(len(dataset)):
        dataset[index]
    for subject, expected in zip(dataset.subjects, before, strict=True):
        np.testing.assert_array_equal(subject.image, expected)
        assert subject.available.all()


def test_a_batch_stacks_items(make: Callable[..., SliceDataset]) -> None:
    dataset = make()
    batch = collate([dataset[0], dataset[3]])
    assert batch["image"].shape == (2, 4, SIZE, SIZE)
    assert batch["label"].shape == (2, 1, SIZE, SIZE)
    assert batch["tumour_class"].shape == (2,)
    assert batch["case"] == [dataset[0]["case"], dataset[3]["case"]]
    assert torch.equal(batch["image"][1], dataset[3]["image"])


def test_validation_gives_all_slices_of_a_subject_as_they_are(dataset_dir: Path) -> None:
    dataset = SubjectSlices(validation_part(read_dataset(dataset_dir)), size=SIZE)
    assert len(dataset) == 2
    batch = dataset[0]
    assert batch["image"].shape == (20, 4, SIZE, SIZE)
    assert batch["case"] == ["liver-03"] * 20
    assert batch["slice"].tolist() == list(range(20))
    assert batch["available"].shape == batch["times_s"].shape == (20, 4)
    np.testing.assert_array_equal(batch["image"], dataset.subjects[0].image.astype(np.float32))
    has_tumour = batch["label"].flatten(1).any(dim=1)
    assert 0 < has_tumour.sum() < 20
    assert torch.equal(batch["tumour_class"], torch.where(has_tumour, 1, NO_TUMOUR))
    assert _same(batch, dataset[0])
    healthy = dataset[1]
    assert (healthy["tumour_class"] == NO_TUMOUR).all()
    assert not healthy["curve"].any()


def test_masked_mean_equals_numpys() -> None:
    rng = np.random.default_rng(0)
    image = rng.normal(size=(3, 4, 9, 7)).astype(np.float32)
    label = rng.random((3, 1, 9, 7)) > 0.5
    label[2] = False
    expected = [[image[b, p][label[b, 0]].mean() for p in range(4)] for b in range(2)] + [[0.0] * 4]
    found = masked_mean(torch.from_numpy(image), torch.from_numpy(label).float())
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_the_mean_curve_weights_slices_by_area_and_subjects_alike(dataset_dir: Path) -> None:
    (dataset_dir / "imagesTr/liver-02_0003.nii.gz").unlink()
    dataset = SliceDataset(training_part(read_dataset(dataset_dir)), size=SIZE)
    curves = []
    for subject in dataset.subjects:
        area = subject.label.sum(axis=(1, 2)).astype(float)
        per_slice = masked_mean(
            torch.from_numpy(subject.image.astype(np.float32)), torch.from_numpy(subject.label)[:, None].float()
        )
        curves.append((area[:, None] * per_slice.numpy()).sum(axis=0) / area.sum())
    expected = np.mean(curves, axis=0)
    expected[3] = curves[0][3]  # the other subject lacks the delayed phase
    found = training_mean_curve(dataset)
    assert found.shape == (4,)
    np.testing.assert_allclose(found, expected, rtol=1e-3)


def test_the_files_are_listed_for_monai(make: Callable[..., SliceDataset], dataset_dir: Path) -> None:
    data = make().data
    assert [entry["case"] for entry in data] == ["liver-01", "liver-02"]
    assert data[0]["image"] == [str(dataset_dir / f"imagesTr/liver-01_000{k}.nii.gz") for k in range(4)]
    assert data[0]["label"] == str(dataset_dir / "labelsTr/liver-01.nii.gz")
