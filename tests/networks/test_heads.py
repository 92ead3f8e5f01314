"""The Transformer head."""

import pytest
import torch

from scripts.domain.errors import ConfigurationError
from scripts.networks.heads import PhaseEmbedding, TransformerHead

WIDTHS = (4, 6, 8, 10)
SMALL = {"token_grid": 4, "d_model": 16, "heads": 2, "ffn": 32, "blocks": 2}
TIMES_S = torch.tensor([[0.0, 30.0, 70.0, 180.0]]).expand(2, -1)
PRESENT = torch.ones(2, 4, dtype=torch.bool)


def _maps(size: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    sizes = (16 * size, 8 * size, 4 * size, 2 * size, size)
    return [torch.randn(2, 4 * w, s, s, generator=generator) for w, s in zip((*WIDTHS, WIDTHS[-1]), sizes, strict=True)]


def test_unknown_head_is_refused():
    with pytest.raises(ConfigurationError, match=r"head must be one of .*'max'"):
        TransformerHead(WIDTHS, head="max")


def test_tokens_are_the_channels_of_the_phases():
    """N = 4 C tokens of P² values, as in the paper."""
    head = TransformerHead(WIDTHS, **SMALL)
    tokens, present, _, _ = head._tokens(_maps(4), torch.zeros(2, 4, 64, 64), PRESENT, TIMES_S)
    assert tokens.shape == (2, 4 * WIDTHS[-1], 16)
    assert head.tokenise.in_features == 4**2
    assert present.all()


def test_a_map_on_the_token_grid_is_taken_as_it_is():
    head = TransformerHead(WIDTHS, **SMALL)
    deepest = _maps(4)[-1]
    assert head._to_grid(deepest) is deepest
    assert head._to_grid(_maps(6)[-1]).shape[2:] == (4, 4)


def test_tokens_of_absent_phases_are_marked():
    present = torch.tensor([[True, False, True, True], [True, True, True, False]])
    head = TransformerHead(WIDTHS, head="locate", **SMALL)
    marked = head._tokens(_maps(4), torch.zeros(2, 4, 64, 64), present, TIMES_S)[1]
    assert torch.equal(marked[:, :4], present)
    assert torch.equal(marked[:, 4:], present.repeat_interleave(10, dim=1))


def test_times_matter_only_where_a_phase_is_present(image):
    head, maps = TransformerHead(WIDTHS, **SMALL).eval(), _maps(4)
    present = PRESENT.clone()
    present[:, 3] = False
    late, unknown = TIMES_S.clone(), TIMES_S.clone()
    late[:, 2] = 90.0
    unknown[:, 3] = float("nan")
    here, moved, missing = (head(maps, image, present, t)["classification"] for t in (TIMES_S, late, unknown))
    assert not torch.allclose(here, moved)
    torch.testing.assert_close(here, missing)


def test_time_embedding_is_smooth():
    embedding = PhaseEmbedding(16)
    near = embedding(TIMES_S + 0.01) - embedding(TIMES_S)
    far = embedding(TIMES_S + 20.0) - embedding(TIMES_S)
    assert near.abs().max() < 0.05 * far.abs().max()


@pytest.mark.parametrize(("head", "tokens"), [("mean", 40), ("locate", 44)])
def test_attention_by_phase(head, tokens, image):
    """Mean over a phase's tokens of the attention that they pay to each phase's tokens."""
    network, maps = TransformerHead(WIDTHS, head=head, **SMALL).eval(), _maps(4)
    attention = network.attention_by_phase(maps, image[:, :, :64, :64], PRESENT, TIMES_S)
    assert attention.shape == (2, 2, 4, 4)
    torch.testing.assert_close(attention.sum(dim=-1), torch.ones(2, 2, 4))
    sequence, present, _, _ = network._tokens(maps, image[:, :, :64, :64], PRESENT, TIMES_S)
    whole = network.transformer.attention(sequence, present)[0]
    assert whole.shape[1] == tokens
    owned = [[p] * (tokens > 40) + [4 + 10 * p + c if tokens > 40 else 10 * p + c for c in range(10)] for p in range(4)]
    expected = whole[1][owned[2]][:, owned[0]].sum(dim=1).mean()
    torch.testing.assert_close(attention[0, 1, 2, 0], expected)


def test_literal_attention_scale(image):
    plain = TransformerHead(WIDTHS, **SMALL).eval()
    literal = TransformerHead(WIDTHS, attention_scale=1 / 64, **SMALL).eval()
    literal.load_state_dict(plain.state_dict())
    here, there = (h(_maps(4), image, PRESENT, TIMES_S)["classification"] for h in (plain, literal))
    assert not torch.allclose(here, there, atol=1e-6)
