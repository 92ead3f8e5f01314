"""From Transformer tokens to four intensities and class logits: the paper's readouts and ours.

Every readout takes ``(tokens, available, located_mean)`` and returns regression ``(B, 4)`` and classification
``(B, K)``; None for a task that was removed.
"""

from __future__ import annotations

from torch import Tensor, nn

from ..domain.classes import CLASSES
from ..domain.phases import PHASES


def tumour_class_probabilities(logits: Tensor) -> Tensor:
    """Probabilities of ``CLASSES`` given that there is a tumour, ``(B, K)`` logits to ``(B, 2)``.

    With three classes the logit of "healthy" is left out: results ask for the class of a lesion that was found.
    """
    return logits[:, : len(CLASSES)].softmax(dim=1)


def _mean_over(tokens: Tensor, present: Tensor) -> Tensor:
    """Mean of the present tokens, ``(B, N, d)`` and ``(B, N)`` bool to ``(B, d)``."""
    weight = present.to(tokens.dtype).unsqueeze(-1)
    return (tokens * weight).sum(dim=1) / weight.sum(dim=1)


class MeanReadout(nn.Module):
    """The paper's: mean of a phase's C tokens to its intensity; mean of all tokens to the classes."""

    def __init__(self, d_model: int, *, regression: bool, classes: int) -> None:
        super().__init__()
        self.regress = nn.Linear(d_model, 1) if regression else None
        self.classify = nn.Linear(d_model, classes) if classes else None

    def forward(self, tokens: Tensor, available: Tensor, located_mean: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Tokens ``(B, 4 C, d)``; ``located_mean`` is not used."""
        by_phase = tokens.unflatten(1, [available.shape[1], -1]).mean(dim=2)
        regression = self.regress(by_phase).squeeze(-1) if self.regress is not None else None
        classification = self.classify(_mean_over(by_phase, available)) if self.classify is not None else None
        return regression, classification


class FlattenReadout(nn.Module):
    """All tokens side by side into one linear layer a task; tokens of absent phases are zero."""

    def __init__(self, d_model: int, *, tokens: int, regression: bool, classes: int) -> None:
        super().__init__()
        self.regress = nn.Linear(tokens * d_model, len(PHASES)) if regression else None
        self.classify = nn.Linear(tokens * d_model, classes) if classes else None

    def forward(self, tokens: Tensor, available: Tensor, located_mean: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Tokens ``(B, 4 C, d)``; ``located_mean`` is not used."""
        by_phase = tokens.unflatten(1, [available.shape[1], -1])
        flat = (by_phase * available[:, :, None, None].to(tokens.dtype)).flatten(1)
        regression = self.regress(flat) if self.regress is not None else None
        classification = self.classify(flat) if self.classify is not None else None
        return regression, classification


class LocateReadout(nn.Module):
    """Ours: a phase's located mean, corrected by its phase token; all phase tokens to the classes."""

    def __init__(self, d_model: int, *, regression: bool, classes: int, dropout: float) -> None:
        super().__init__()
        self.regress = nn.Linear(d_model, 1) if regression else None
        if self.regress is not None:
            # The located mean is nearly the answer: start from it.
            nn.init.normal_(self.regress.weight, std=0.01)
            nn.init.zeros_(self.regress.bias)
        self.classify = None
        if classes:
            hidden = nn.Linear(len(PHASES) * d_model, d_model)
            self.classify = nn.Sequential(hidden, nn.ReLU(), nn.Dropout(dropout), nn.Linear(d_model, classes))

    def forward(self, tokens: Tensor, available: Tensor, located_mean: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Phase tokens ``(B, 4, d)`` and the located means ``(B, 4)``."""
        regression = located_mean + self.regress(tokens).squeeze(-1) if self.regress is not None else None
        there = tokens * available.unsqueeze(-1).to(tokens.dtype)
        classification = self.classify(there.flatten(1)) if self.classify is not None else None
        return regression, classification
