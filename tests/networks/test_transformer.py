"""Transformer blocks that read only what is present."""

import numpy as np
import pytest
import torch

from scripts.domain.errors import ConfigurationError
from scripts.networks.transformer import Transformer, TransformerBlock, sinusoidal_encoding

OPTIONS = {"heads": 2, "ffn": 24}


def _all_present(tokens: torch.Tensor) -> torch.Tensor:
    return torch.ones(tokens.shape[:2], dtype=torch.bool)


def _norm(x: np.ndarray) -> np.ndarray:
    """Layer norm with the initial weights, one and zero."""
    return (x - x.mean(axis=-1, keepdims=True)) / np.sqrt(x.var(axis=-1, keepdims=True) + 1e-5)


def _linear(layer: torch.nn.Linear, x: np.ndarray) -> np.ndarray:
    return x @ layer.weight.detach().double().numpy().T + layer.bias.detach().double().numpy()


def _reference(block: TransformerBlock, x: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """One block on tokens ``(N, d)``, written from Vaswani 2017: tokens out, and attention ``(heads, N, N)``."""
    query, (key, value) = _linear(block.query, _norm(x)), np.split(_linear(block.key_value, _norm(x)), 2, axis=1)
    attended, attention = [], []
    for q, k, v in zip(*(np.split(part, block.heads, axis=1) for part in (query, key, value)), strict=True):
        weight = np.exp(scale * q @ k.T)
        attention.append(weight / weight.sum(axis=1, keepdims=True))
        attended.append(attention[-1] @ v)
    x = x + _linear(block.projection, np.concatenate(attended, axis=1))
    return x + _linear(block.ffn[3], np.maximum(_linear(block.ffn[0], _norm(x)), 0)), np.stack(attention)


def test_heads_that_do_not_divide_are_refused():
    with pytest.raises(ConfigurationError, match="d_model 16 is not a multiple of heads 3"):
        TransformerBlock(16, heads=3, ffn=8)


def test_no_blocks_are_refused():
    with pytest.raises(ConfigurationError, match="at least 1"):
        Transformer(16, blocks=0, **OPTIONS)


def test_positional_encoding_as_published():
    encoding = sinusoidal_encoding(7, 10).numpy()
    for position in range(7):
        for i in range(5):
            angle = position / 10_000 ** (2 * i / 10)
            np.testing.assert_allclose(encoding[position, 2 * i : 2 * i + 2], (np.sin(angle), np.cos(angle)), atol=1e-5)


@pytest.mark.parametrize(("attention_scale", "factor"), [(None, 8**-0.5), (1 / 64, 1 / 64)])
def test_block_equals_numpy(attention_scale, factor):
    block = TransformerBlock(16, attention_scale=attention_scale, **OPTIONS).eval()
    tokens = torch.randn(1, 9, 16)
    expected, attention = _reference(block, tokens[0].double().numpy(), factor)
    with torch.no_grad():
        np.testing.assert_allclose(block(tokens, _all_present(tokens), 9)[0], expected, atol=1e-5)
        computed = block.attention(tokens, _all_present(tokens))[0]
    np.testing.assert_allclose(computed, attention.mean(axis=0), atol=1e-6)


def test_absent_tokens_change_nothing():
    transformer = Transformer(16, blocks=3, **OPTIONS).eval()
    tokens = torch.randn(2, 9, 16)
    present = _all_present(tokens)
    present[:, 4:6] = False
    changed = tokens.clone()
    changed[:, 4:6] = 1e3
    kept = present[0]
    torch.testing.assert_close(transformer(changed, present, 9)[:, kept], transformer(tokens, present, 9)[:, kept])
    alone = tokens[:, kept]
    torch.testing.assert_close(transformer(alone, _all_present(alone), 7), transformer(tokens, present, 9)[:, kept])


def test_fewer_wanted_tokens_are_the_same_tokens():
    transformer = Transformer(16, blocks=2, **OPTIONS).eval()
    tokens = torch.randn(2, 9, 16)
    present = _all_present(tokens)
    torch.testing.assert_close(transformer(tokens, present, 3), transformer(tokens, present, 9)[:, :3])


def test_attention_of_absent_tokens_is_zero():
    transformer = Transformer(16, blocks=2, **OPTIONS).eval()
    tokens = torch.randn(2, 9, 16)
    present = _all_present(tokens)
    present[:, 4] = False
    attention = transformer.attention(tokens, present)
    assert len(attention) == 2
    for block in attention:
        assert torch.all(block[:, :, 4] == 0)
        torch.testing.assert_close(block.sum(dim=-1), torch.ones(2, 9))
