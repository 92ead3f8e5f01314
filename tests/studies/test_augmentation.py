from __future__ import annotations

import numpy as np
import pytest
import torch

from scripts.studies.augmentation import Augmentation, drop_phases

ALL = np.ones(4, dtype=bool)
STILL = {"rotation_deg": 0.0, "scale": 0.0, "shift": 0.0}


def _rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def _slice() -> tuple[torch.Tensor, torch.Tensor]:
    image = torch.randn(4, 48, 40, generator=torch.Generator().manual_seed(0))
    label = torch.zeros(1, 48, 40)
    label[:, 10:20, 25:31] = 1
    return image, label


def test_nothing_switched_on_changes_nothing() -> None:
    image, label = _slice()
    nothing = Augmentation(**STILL, phase_gain=0.0, gain=0.0, offset=0.0, noise=0.0)
    moved, moved_label = nothing.move(image, label, _rng())
    torch.testing.assert_close(moved, image, atol=1e-4, rtol=0)
    torch.testing.assert_close(moved_label, label)
    torch.testing.assert_close(nothing.brighten(image, -2.0, _rng()), image)
    torch.testing.assert_close(nothing.add_noise(image, _rng()), image)


def test_flipping_mirrors_the_first_in_plane_axis() -> None:
    image, label = _slice()
    moved, moved_label = Augmentation(**STILL, flip_probability=1.0).move(image, label, _rng())
    torch.testing.assert_close(moved, image.flip(1), atol=1e-4, rtol=0)
    torch.testing.assert_close(moved_label, label.flip(1))


def test_image_and_label_move_alike_and_within_bounds() -> None:
    _, label = _slice()
    image = label.expand(4, -1, -1).clone()
    for seed in range(20):
        moved, moved_label = Augmentation().move(image, label, _rng(seed))
        torch.testing.assert_close((moved[:1] >= 0.5).float(), moved_label)
        assert set(moved_label.unique().tolist()) == {0.0, 1.0}
        # Size within 10 % either way, so area within 21 %, and a few pixels of the border.
        assert 0.7 < moved_label.sum() / label.sum() < 1.4


def test_the_border_is_repeated_not_filled_with_the_bodys_mean() -> None:
    air = torch.full((4, 48, 40), -3.0)
    moved, _ = Augmentation(shift=0.5).move(air, torch.zeros(1, 48, 40), _rng())
    torch.testing.assert_close(moved, air)


def test_a_gain_leaves_air_where_it_is() -> None:
    air = -2.5
    brighter = Augmentation(phase_gain=0.3, gain=0.3, offset=0.0).brighten(torch.full((4, 8, 8), air), air, _rng())
    torch.testing.assert_close(brighter, torch.full((4, 8, 8), air))


def test_gains_act_on_raw_signal() -> None:
    # raw = scale (x - air); a gain per phase multiplies it.
    image, air = _slice()[0] + 5.0, -1.0
    brighter = Augmentation(phase_gain=0.2, gain=0.1, offset=0.0).brighten(image, air, _rng())
    ratio = (brighter - air) / (image - air)
    torch.testing.assert_close(ratio, ratio[:, :1, :1].expand_as(ratio), rtol=1e-3, atol=1e-3)
    assert len(ratio[:, 0, 0].unique()) == 4


def test_noise_is_no_stronger_than_asked() -> None:
    image = torch.zeros(4, 64, 64)
    strengths = [Augmentation(noise=0.2).add_noise(image, _rng(seed)).std().item() for seed in range(50)]
    assert max(strengths) < 0.21
    assert np.mean(strengths) == pytest.approx(0.1, abs=0.03)


def test_one_or_two_phases_are_dropped_never_the_reference() -> None:
    kept = np.array([drop_phases(ALL, 1.0, _rng(seed)) for seed in range(300)])
    assert kept[:, 1].all()
    assert set(kept.sum(axis=1)) == {2, 3}
    assert (~kept).any(axis=0).tolist() == [True, False, True, True]
    assert ALL.all()


def test_the_probability_of_dropping_is_as_asked() -> None:
    dropped = np.mean([not drop_phases(ALL, 0.1, _rng(seed)).all() for seed in range(3000)])
    assert dropped == pytest.approx(0.1, abs=0.02)
    assert drop_phases(ALL, 0.0, _rng()).all()


def test_the_last_phases_of_a_study_are_not_dropped() -> None:
    only_delayed = np.array([False, False, False, True])
    for seed in range(50):
        assert drop_phases(only_delayed, 1.0, _rng(seed)).any()
