"""The task-driven discriminator (TDD): does this curve go with this class?"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from ..domain.classes import CLASSES
from ..domain.phases import PHASES
from .transformer import Transformer, sinusoidal_encoding


class TaskDiscriminator(nn.Module):
    """A Transformer over four phase tokens [intensity ‖ class vector] and a summary token; 100,481 parameters.

    Args:
        classes: length of the class vector.
        d_model: width of a token.
        blocks: Transformer blocks.
        heads: attention heads.
        ffn: hidden width of the feed-forward nets.
        spectral_norm: bound every linear layer's spectral norm by one. Its power-iteration vectors are buffers, so a
            restored ``state_dict`` continues exactly.
    """

    def __init__(
        self,
        *,
        classes: int = len(CLASSES),
        d_model: int = 64,
        blocks: int = 2,
        heads: int = 4,
        ffn: int = 256,
        spectral_norm: bool = True,
    ) -> None:
        super().__init__()
        self.tokenise = nn.Linear(1 + classes, d_model)
        self.summary = nn.Parameter(0.02 * torch.randn(1, 1, d_model))
        self.register_buffer("position", sinusoidal_encoding(1 + len(PHASES), d_model), persistent=False)
        self.transformer = Transformer(d_model, blocks=blocks, heads=heads, ffn=ffn)
        self.judge = nn.Linear(d_model, 1)
        if spectral_norm:
            _bound_linear_layers(self)

    def forward(self, curve: Tensor, probabilities: Tensor, available: Tensor | None = None) -> Tensor:
        """Logits that a pair is real, ``(B,)``.

        Args:
            curve: ``(B, 4)`` normalised intensities.
            probabilities: ``(B, K)`` of the classes, or the smoothed truth.
            available: ``(B, 4)`` bool; all true if None. Absent phases are not read.
        """
        if available is None:
            available = torch.ones_like(curve, dtype=torch.bool)
        curve = torch.where(available, curve, torch.zeros_like(curve))
        classes = probabilities.unsqueeze(1).expand(-1, curve.shape[1], -1)
        tokens = self.tokenise(torch.cat([curve.unsqueeze(-1), classes], dim=-1))
        tokens = torch.cat([self.summary.expand(tokens.shape[0], -1, -1).to(tokens.dtype), tokens], dim=1)
        present = torch.cat([torch.ones_like(available[:, :1]), available], dim=1)
        return self.judge(self.transformer(tokens + self.position, present, 1)[:, 0]).squeeze(-1).float()


def _bound_linear_layers(module: nn.Module) -> None:
    for layer in [m for m in module.modules() if isinstance(m, nn.Linear)]:
        spectral_norm(layer)
