"""Batches of one subject's slices."""

import numpy as np
import pytest

from scripts.studies.layout import read_dataset
from scripts.studies.slices import SliceDataset
from scripts.studies.subject_batches import SubjectBatches


@pytest.fixture
def dataset(dataset_dir):
    cases = [case for case in read_dataset(dataset_dir) if case.label_file is not None]
    return SliceDataset(cases, size=32, augmentation=None)


def test_each_batch_is_one_subject_and_each_tumour_slice_is_in_one(dataset):
    batches = list(SubjectBatches(dataset))
    owners = [{dataset[index]["case"] for index in batch} for batch in batches]
    assert all(len(owner) == 1 for owner in owners)
    assert len(set.union(*owners)) == len(batches)
    chosen = np.concatenate(batches)
    tumour = [index for index in range(len(dataset)) if dataset[index]["label"].any()]
    assert set(tumour) <= set(chosen)
    assert len(chosen) == len(set(chosen))


def test_the_number_of_batches_never_changes_and_the_order_does(dataset):
    batches = SubjectBatches(dataset, seed=3)
    orders = []
    for epoch in range(6):
        dataset.set_epoch(epoch)
        drawn = list(batches)
        assert len(drawn) == len(batches)
        orders.append(tuple(dataset[batch[0]]["case"] for batch in drawn))
    assert len({len(order) for order in orders}) == 1
    assert len(set(orders)) > 1
    dataset.set_epoch(2)
    assert tuple(dataset[batch[0]]["case"] for batch in batches) == orders[2]
