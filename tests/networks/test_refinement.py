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


def changed_everywhere():
    """A network that would raise and lower with all its might."""
    network = RefinementNet(WIDTHS).eval()
    torch.nn.init.constant_(network.change.bias, 8.0)
    return network


def test_untrained_it_changes_next_to_nothing():
    patch = patch_of(4, 12, 8)
    probability = RefinementNet(WIDTHS).eval()(patch).sigmoid()
    torch.testing.assert_close(probability, patch[:, 4:5], atol=0.05, rtol=0)


@pytest.mark.parametrize(("lesion", "none", "expected"), [(0.8, 0.3, True), (0.3, 0.8, False)])
def test_the_nearest_click_is_never_opposed_and_turns_even_certainty(lesion, none, expected):
    patch = patch_of(4, 8, 8)
    patch[:, 4] = 0.0 if expected else 1.0
    patch[:, 5], patch[:, 6] = lesion, none
    assert ((changed_everywhere()(patch) > 0) == expected).all()
    patch[:, 4] = 1.0 - patch[:, 4]
    assert ((changed_everywhere()(patch) > 0) == expected).all()


def test_without_clicks_both_directions_are_open():
    patch = patch_of(4, 8, 8)
    patch[:, 5:] = 0.0
    torch.testing.assert_close(changed_everywhere()(patch).sigmoid(), patch[:, 4:5])


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
    network = RefinementNet(WIDTHS)
    torch.nn.init.normal_(network.change.weight)
    patch = patch_of(4, 8, 8)
    torch.testing.assert_close(network.train()(patch)[:1], network.eval()(patch[:1]))


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
