"""The small BasicUNet."""

import numpy as np
import pytest
import torch

from scripts.experiments.small_unet import Budget, segment, train_small_unet
from scripts.phantom.cohort import write_cohort
from scripts.studies.layout import read_dataset
from scripts.studies.reading import read_study

BUDGET = Budget(image_size=32, features=(4, 4, 4, 4, 8, 4), steps=3, batch_size=2)


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    folder = tmp_path_factory.mktemp("small") / "cohort"
    write_cohort(2, 0, folder, split_sizes=[2, 0, 0], shape=(48, 40, 12), workers=1)
    return read_dataset(folder)


def test_training_is_reproducible_and_leaves_the_callers_random_state_alone(cases):
    before = torch.random.get_rng_state()
    first, second = (train_small_unet(cases, BUDGET, seed=1).state_dict() for _ in range(2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_segment_answers_on_the_studys_grid(cases):
    study = read_study(cases[0])
    mask = segment(train_small_unet(cases, BUDGET, seed=1), study, BUDGET.image_size)
    assert mask.shape == (48, 40, 12)
    assert mask.dtype == np.bool_
