"""Patches, training and validation of the refinement, on the tiny dataset."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from scripts.engines.checkpoints import CheckpointHandler
from scripts.engines.monitoring import EpochSeed
from scripts.engines.refinement import ROUGH, Refiner
from scripts.engines.refinement_data import RefinementDataset, simulated_clicks
from scripts.engines.refinement_patches import PATCH
from scripts.engines.refinement_start import StartedSubject, started_subjects
from scripts.engines.refinement_training import (
    ClickValidation,
    RefinementLoss,
    RefinementTrainer,
    dice_by_clicks,
    require_new_run,
    train_refinement,
)
from scripts.engines.weights import load_weights, save_atomically
from scripts.networks.refinement import CHANNELS, RefinementNet
from scripts.studies.layout import read_dataset
from scripts.studies.slice_cache import load_subjects

SIZE = 64
WIDTHS = (4, 4, 4)


@pytest.fixture
def subjects(dataset_dir):
    """A train subject with a lesion and one without, with a probability that is wrong on half of the lesion."""
    cases = [case for case in read_dataset(dataset_dir) if case.case in ("liver-01", "liver-04")]
    started = []
    for arrays in load_subjects(cases, SIZE):
        share = arrays.label.astype(np.float16)
        probability = np.where(share >= 0.5, 0.9, 0.05).astype(np.float16)
        probability[: np.argmax(share.any(axis=(1, 2))) + 2] = 0.05
        started.append(StartedSubject(arrays, share, probability, slice_mm=6.0, pixel_mm=6.0))
    return started


class Oracle:
    """Stands for the study inferer: answers the truth, and counts how often it was asked."""

    size = SIZE

    def __init__(self):
        self.asked = 0

    def __call__(self, study, network):
        self.asked += 1
        return type("Answer", (), {"tumour": (study.label > 0).astype(np.float32)})


def run(subjects, folder, *, epochs, resume=False):
    """Train a tiny network; returns it."""
    torch.manual_seed(0)
    network = RefinementNet(WIDTHS)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2)
    dataset = RefinementDataset(subjects, samples=4)
    validation = ClickValidation(subjects, network, folder / "refiner.pt", size=SIZE, interval=1, clicks=1)
    objects = {"network": network, "optimizer": optimizer, "validation": validation}
    checkpoint = CheckpointHandler(folder / "checkpoints", objects)
    handlers = [EpochSeed(dataset), validation, checkpoint]
    loader = DataLoader(dataset, batch_size=2)
    trainer = RefinementTrainer("cpu", epochs, loader, network, optimizer, RefinementLoss(), train_handlers=handlers)
    train_refinement(trainer, checkpoint, resume=resume)
    return network, trainer


def test_checkpoints_of_an_earlier_run_are_not_written_over(tmp_path):
    (tmp_path / "checkpoint_epoch=1.pt").touch()
    require_new_run(str(tmp_path), resume=True)
    with pytest.raises(SystemExit, match="earlier run"):
        require_new_run(str(tmp_path), resume=False)


def test_items_have_the_networks_shape_and_repeat(subjects):
    dataset = RefinementDataset(subjects, samples=6, seed=3)
    again = RefinementDataset(subjects, samples=6, seed=3)
    for index in range(6):
        item = dataset[index]
        assert item["patch"].shape == (CHANNELS, *PATCH)
        assert item["label"].shape == (1, *PATCH)
        assert torch.equal(item["patch"], again[index]["patch"])
    first = dataset[0]["patch"]
    dataset.set_epoch(1)
    assert not torch.equal(dataset[0]["patch"], first)


def test_most_patches_are_clicked_and_some_start_from_rough_masks(subjects):
    dataset = RefinementDataset(subjects, samples=40)
    items = [dataset[index] for index in range(40)]
    clicked = [bool(item["patch"][5:7].max() > 0.5) for item in items]
    # The subjects' own probability is nowhere as high, and a faulty one is never just as high.
    rough = [float(item["patch"][4].max()) == pytest.approx(ROUGH[1]) for item in items]
    assert np.mean(clicked) > 0.7
    assert 0 < sum(rough) < 20


def test_simulated_clicks_lie_on_what_is_wrong():
    truth, predicted = np.zeros((2, 8, 24, 24), dtype=bool)
    truth[2:6, 4:12, 4:12] = True
    predicted[2:6, 14:20, 14:20] = True
    for seed in range(10):
        clicks = simulated_clicks(truth, predicted, (5.0, 3.0, 3.0), np.random.default_rng(seed))
        assert 1 <= len(clicks) <= 3
        for click in clicks:
            assert truth[click.index] == click.lesion
            assert predicted[click.index] != click.lesion


def test_where_nothing_is_wrong_clicks_say_what_is_right():
    truth = np.zeros((8, 24, 24), dtype=bool)
    truth[2:6, 4:12, 4:12] = True
    clicks = [c for s in range(10) for c in simulated_clicks(truth, truth, (5, 3, 3), np.random.default_rng(s))]
    assert {click.lesion for click in clicks} == {True, False}
    assert all(truth[click.index] == click.lesion for click in clicks)


def test_the_loss_is_least_at_the_share_itself():
    share = torch.tensor([0.0, 0.3, 0.7, 1.0]).repeat(1, 1, 4, 4, 1)
    loss, before = RefinementLoss(), torch.full_like(share, 0.5)
    best = loss(torch.logit(share, eps=1e-4), share, before)
    for wrong in (0.5, -0.5):
        assert loss(torch.logit(share, eps=1e-4) + wrong, share, before) > best
    assert loss(torch.logit((share > 0.5).float(), eps=1e-4), share, before) > best


def test_what_was_wrong_before_weighs_more():
    share, logits = torch.ones(1, 1, 2, 4, 4), torch.zeros(1, 1, 2, 4, 4)
    loss = RefinementLoss()
    assert loss(logits, share, torch.zeros_like(share)) > loss(logits, share, share)


def test_starting_points_are_kept_and_lost_with_other_weights(dataset_dir, tmp_path):
    cases = read_dataset(dataset_dir)[:1]
    network, inferer = torch.nn.Linear(1, 1), Oracle()
    weights = tmp_path / "model.pt"
    save_atomically(network.state_dict(), weights)
    first = started_subjects(cases, network, str(weights), inferer, tmp_path / "cache")[0]
    again = started_subjects(cases, network, str(weights), inferer, tmp_path / "cache")[0]
    assert inferer.asked == 1
    assert np.array_equal(first.probability, again.probability)
    assert first.spacing_mm == pytest.approx((6.0, 6.0, 6.0))
    np.testing.assert_allclose(first.probability, first.share, atol=0.6)
    save_atomically({name: value + 1 for name, value in network.state_dict().items()}, weights)
    started_subjects(cases, network, str(weights), inferer, tmp_path / "cache")
    assert inferer.asked == 2


def test_a_resumed_run_is_the_run_that_was_not_stopped(subjects, tmp_path):
    straight, _ = run(subjects, tmp_path / "straight", epochs=2)
    run(subjects, tmp_path / "stopped", epochs=1)
    resumed, trainer = run(subjects, tmp_path / "stopped", epochs=2, resume=True)
    assert trainer.state.epoch == 2
    for name, value in straight.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_training_learns_validates_and_keeps_the_best_weights(subjects, tmp_path):
    network, trainer = run(subjects, tmp_path, epochs=2)
    assert set(trainer.state.metrics) >= {"val_dice_0", "val_dice_1"}
    assert network.change.weight.abs().max() > 0
    RefinementNet(WIDTHS).load_state_dict(load_weights(tmp_path / "refiner.pt"))


def test_dice_by_clicks_starts_at_the_networks_own(subjects):
    class Knows(torch.nn.Module):
        def forward(self, patch):
            return torch.logit(patch[:, 4:5], eps=0.01) + 20.0 * (patch[:, 5:6] - patch[:, 6:7])

    dice = dice_by_clicks(Refiner(Knows(), size=SIZE), subjects[0], 2)
    truth, start = subjects[0].truth, subjects[0].probability >= 0.5
    assert dice[0] == 2 * np.sum(truth & start) / (truth.sum() + start.sum())
    assert dice[1] != dice[0]
    assert len(dice) == 3
