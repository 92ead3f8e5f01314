"""Transformer blocks (Vaswani 2017, pre-norm as in ViT) that read only the tokens that are present."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..domain.errors import ConfigurationError


def sinusoidal_encoding(positions: int, width: int) -> Tensor:
    """The fixed positional encoding of Vaswani 2017, section 3.5, ``(positions, width)``."""
    position = torch.arange(positions, dtype=torch.float32)[:, None]
    rate = torch.exp(torch.arange(0, width, 2, dtype=torch.float32) * (-math.log(10_000.0) / width))
    encoding = torch.zeros(positions, width)
    encoding[:, 0::2] = torch.sin(position * rate)
    encoding[:, 1::2] = torch.cos(position * rate[: width // 2])
    return encoding


class TransformerBlock(nn.Module):
    """Multi-head attention and a feed-forward net, each after a layer norm and around a residual.

    Attention probabilities are not dropped out (their random mask over N² entries cost a fifth of a training step);
    the two residual paths and the feed-forward's hidden layer are.

    Args:
        d_model: width of a token.
        heads: attention heads; must divide ``d_model``.
        ffn: hidden width of the feed-forward net.
        dropout: rate on the residual and feed-forward paths.
        attention_scale: factor on the attention logits; None is 1/√(d_model / heads).

    Raises:
        ConfigurationError: ``heads`` does not divide ``d_model``.
    """

    def __init__(
        self, d_model: int, *, heads: int, ffn: int, dropout: float = 0.0, attention_scale: float | None = None
    ) -> None:
        super().__init__()
        if d_model % heads:
            msg = f"d_model {d_model} is not a multiple of heads {heads}: change one of them."
            raise ConfigurationError(msg)
        self.heads = heads
        self.scale = float(attention_scale if attention_scale is not None else (d_model // heads) ** -0.5)
        self.attention_norm = nn.LayerNorm(d_model)
        self.query = nn.Linear(d_model, d_model)
        self.key_value = nn.Linear(d_model, 2 * d_model)
        self.projection = nn.Linear(d_model, d_model)
        self.ffn_norm = nn.LayerNorm(d_model)
        self.ffn = nn.Sequential(nn.Linear(d_model, ffn), nn.ReLU(), nn.Dropout(dropout), nn.Linear(ffn, d_model))
        self.dropout = nn.Dropout(dropout)

    def _split(self, tokens: Tensor) -> Tensor:
        """``(B, N, d)`` to ``(B, heads, N, d / heads)``."""
        return tokens.unflatten(-1, [self.heads, -1]).transpose(1, 2)

    def forward(self, tokens: Tensor, present: Tensor, wanted: int) -> Tensor:
        """The first ``wanted`` tokens after the block; all tokens serve as keys and values.

        Args:
            tokens: ``(B, N, d_model)``.
            present: ``(B, N)`` bool; absent tokens are never attended to. At least one is present.
            wanted: how many leading tokens to compute.

        Returns:
            ``(B, wanted, d_model)``.
        """
        normed = self.attention_norm(tokens)
        key, value = self.key_value(normed).chunk(2, dim=-1)
        attended = F.scaled_dot_product_attention(
            self._split(self.query(normed[:, :wanted])),
            self._split(key),
            self._split(value),
            attn_mask=present[:, None, None, :],
            scale=self.scale,
        )
        tokens = tokens[:, :wanted] + self.dropout(self.projection(attended.transpose(1, 2).flatten(2)))
        return tokens + self.dropout(self.ffn(self.ffn_norm(tokens)))

    def attention(self, tokens: Tensor, present: Tensor) -> Tensor:
        """Attention probabilities averaged over the heads, ``(B, N, N)``; for analysis only."""
        normed = self.attention_norm(tokens)
        key = self.key_value(normed).chunk(2, dim=-1)[0]
        logits = self.scale * self._split(self.query(normed)) @ self._split(key).transpose(-2, -1)
        logits = logits.masked_fill(~present[:, None, None, :], float("-inf"))
        return logits.softmax(dim=-1).mean(dim=1)


class Transformer(nn.Module):
    """A stack of blocks and a final layer norm; arguments as of ``TransformerBlock``, and ``blocks``."""

    def __init__(
        self,
        d_model: int,
        *,
        blocks: int,
        heads: int,
        ffn: int,
        dropout: float = 0.0,
        attention_scale: float | None = None,
    ) -> None:
        super().__init__()
        if blocks < 1:
            msg = f"blocks must be at least 1; got {blocks}."
            raise ConfigurationError(msg)
        self.blocks = nn.ModuleList(
            TransformerBlock(d_model, heads=heads, ffn=ffn, dropout=dropout, attention_scale=attention_scale)
            for _ in range(blocks)
        )
        self.norm = nn.LayerNorm(d_model)

    def forward(self, tokens: Tensor, present: Tensor, wanted: int) -> Tensor:
        """``(B, N, d_model)`` to the first ``wanted`` tokens ``(B, wanted, d_model)``, as ``TransformerBlock``.

        Tokens that nobody reads are left out of the last block's queries.
        """
        last = len(self.blocks) - 1
        for index, block in enumerate(self.blocks):
            tokens = block(tokens, present, wanted if index == last else tokens.shape[1])
        return self.norm(tokens)

    def attention(self, tokens: Tensor, present: Tensor) -> list[Tensor]:
        """Attention ``(B, N, N)`` of every block, for analysis only."""
        attention = []
        for block in self.blocks:
            attention.append(block.attention(tokens, present))
            tokens = block(tokens, present, tokens.shape[1])
        return attention
