"""The refinement network."""

import pytest
import torch

from scripts.domain.errors import ConfigurationError
from scripts.networks.refinement import CHANNELS, RefinementNet

WIDTHS = (4, 8, 8)


def patch_of(*sizes):
    patch = torch.rand(2, CHANNELS, *sizes, generator=torch.Generator().manual_seed(0))
    patch[:, 4] = patch[:, 4] * 0.9 + 0.05
    return patch


@pytest.mark.parametrize("widths", [(4, 8), (4, 6, 8), (0, 4, 4)])
def test_other_widths_are_refused(widths):
    with pytest.raises(ConfigurationError, match="three levels"):
        RefinementNet(widths)


@pytest.mark.parametrize("shape", [(2, 5, 4, 8, 8), (2, CHANNELS, 8, 8)])
def test_a_patch_without_its_channels_is_refused(shape):
    with pytest.raises(ConfigurationError, match=f"{CHANNELS}, slices, rows, columns"):
        RefinementNet(WIDTHS)(torch.zeros(shape))


@pytest.mark.parametrize("sizes", [(3, 8, 8), (4, 6, 8), (4, 8, 10)])
def test_a_patch_that_cannot_be_halved_is_refused(sizes):
    with pytest.raises(ConfigurationError, match="divisible"):
        RefinementNet(WIDTHS)(patch_of(*sizes))


def test_untrained_and_without_clicks_it_changes_nothing():
    patch = patch_of(4, 12, 8)
    patch[:, 5:] = 0.0
    torch.testing.assert_close(RefinementNet(WIDTHS).eval()(patch).sigmoid(), patch[:, 4:5])


@pytest.mark.parametrize("lesion", [True, False])
def test_untrained_a_click_turns_even_certainty_close_by_and_alike(lesion):
    patch = patch_of(4, 8, 8)
    patch[:, 4] = 0.0 if lesion else 1.0
    patch[:, 5:] = 0.0
    patch[:, 5 if lesion else 6] = torch.linspace(0, 1, 8)
    patch[:, 7 if lesion else 8] = torch.linspace(0, 1, 8)[:, None]
    turned = (RefinementNet(WIDTHS).eval()(patch) > 0) == lesion
    assert turned[..., -1, -1].all()
    assert not turned[..., 0].any()
    assert not turned[..., 0, :].any()


@pytest.mark.parametrize(("near_lesion", "near_none"), [(0.8, 0.3), (0.3, 0.8)])
@pytest.mark.parametrize("bias", [-9.0, 9.0])
def test_the_nearest_click_is_never_opposed(near_lesion, near_none, bias):
    network = RefinementNet(WIDTHS).eval()
    torch.nn.init.constant_(network.change.bias, bias)
    patch = patch_of(4, 8, 8)
    patch[:, 5], patch[:, 6] = near_lesion, near_none
    change = network(patch).sigmoid() - patch[:, 4:5]
    says_lesion = near_lesion > near_none
    assert (change >= -1e-6).all() if says_lesion else (change <= 1e-6).all()
    assert (change.abs() > 0.01).any() == (says_lesion == (bias > 0))


def test_without_clicks_both_directions_are_open():
    patch = patch_of(4, 8, 8)
    patch[:, 5:] = 0.0
    network = RefinementNet(WIDTHS).eval()
    torch.nn.init.normal_(network.change.weight)
    change = network(patch).sigmoid() - patch[:, 4:5]
    assert change.min() < 0 < change.max()


def test_in_training_something_passes_even_against_the_click():
    network = RefinementNet(WIDTHS).train()
    torch.nn.init.constant_(network.change.bias, -20.0)
    patch = patch_of(4, 8, 8)
    patch[:, 5], patch[:, 6] = 0.8, 0.0
    network(patch).sum().backward()
    assert network.change.bias.grad.abs() > 0


@pytest.mark.parametrize("channel", range(CHANNELS))
def test_every_channel_is_read(channel):
    torch.manual_seed(0)
    network = RefinementNet(WIDTHS).eval()
    torch.nn.init.normal_(network.change.weight)
    patch = patch_of(4, 8, 8)
    changed = patch.clone()
    changed[:, channel, 1, 2, 3] = 0.5
    assert not torch.equal(network(changed), network(patch))


def test_a_patch_means_the_same_alone_as_among_others():
    torch.manual_seed(0)
    network = RefinementNet(WIDTHS).eval()
    torch.nn.init.normal_(network.change.weight)
    patch = patch_of(4, 8, 8)
    torch.testing.assert_close(network(patch)[:1], network(patch[:1]))
    assert not any(isinstance(module, torch.nn.BatchNorm3d) for module in network.modules())


def test_neighbouring_slices_count():
    torch.manual_seed(0)
    network = RefinementNet(WIDTHS).eval()
    torch.nn.init.normal_(network.change.weight)
    patch = patch_of(4, 8, 8)
    changed = patch.clone()
    changed[:, 0, 3] += 1.0
    assert not torch.equal(network(changed)[:, :, 0], network(patch)[:, :, 0])


def test_the_released_size():
    assert sum(p.numel() for p in RefinementNet().parameters()) == pytest.approx(0.28e6, rel=0.02)
