"""The segmentation decoder."""

import pytest
import torch

from scripts.networks.decoder import Decoder

WIDTHS = (4, 6, 8, 10)


def _maps(sizes=((96, 80), (48, 40), (24, 20), (12, 10), (6, 5))):
    return [torch.randn(2, 4 * width, *size) for width, size in zip((*WIDTHS, WIDTHS[-1]), sizes, strict=True)]


@pytest.mark.parametrize("skips", [False, True])
def test_logits_on_the_image_grid(skips):
    assert Decoder(WIDTHS, skips=skips)(_maps()).shape == (2, 1, 96, 80)


def test_without_skips_only_the_deepest_map_is_read():
    decoder, maps = Decoder(WIDTHS, skips=False).eval(), _maps()
    alone = [torch.empty(0)] * 4 + maps[-1:]
    torch.testing.assert_close(decoder(alone), decoder(maps))


def test_with_skips_every_level_is_read():
    decoder, maps = Decoder(WIDTHS, skips=True).eval(), _maps()
    plain = decoder(maps)
    for level in range(5):
        changed = list(maps)
        changed[level] = maps[level] + 1.0
        assert not torch.allclose(decoder(changed), plain), level


def test_parameters_without_skips():
    """Deconvolutions of 4 x 4 to half the widths, batch norms, and a 1 x 1 convolution."""
    ins, outs = (40, 5, 4, 3), (5, 4, 3, 2)
    expected = sum(16 * a * b + 2 * b for a, b in zip(ins, outs, strict=True)) + outs[-1] + 1
    assert sum(p.numel() for p in Decoder(WIDTHS, skips=False).parameters()) == expected


def test_starts_from_rare_tumours():
    logits = Decoder(WIDTHS, skips=True)(_maps())
    assert 0.02 < torch.sigmoid(logits).mean() < 0.3


def test_three_dimensions():
    maps = [torch.randn(1, 4 * w, s, s, 2 * s) for w, s in zip((*WIDTHS, WIDTHS[-1]), (16, 8, 4, 2, 1), strict=True)]
    assert Decoder(WIDTHS, skips=True, spatial_dims=3)(maps).shape == (1, 1, 16, 16, 32)


def test_dropout_has_no_parameters_and_does_nothing_in_eval_mode():
    without, with_dropout = Decoder(WIDTHS, skips=True).eval(), Decoder(WIDTHS, skips=True, dropout=0.5).eval()
    with_dropout.load_state_dict(without.state_dict())
    maps = _maps()
    torch.testing.assert_close(with_dropout(maps), without(maps), rtol=0, atol=0)


def test_dropout_drops_whole_channels_of_the_deepest_map_in_train_mode():
    decoder = Decoder(WIDTHS, skips=True, dropout=0.5).train()
    torch.manual_seed(0)
    dropped = decoder.dropout(torch.ones(1, 40, 6, 5)).flatten(2)
    assert {0.0, 2.0} == set(dropped.unique().tolist())
    assert torch.equal(dropped.amin(dim=2), dropped.amax(dim=2))
