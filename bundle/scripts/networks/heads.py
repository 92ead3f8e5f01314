"""The Transformer head: dynamic enhancement regression and classification from the fused maps."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from monai.networks.layers.factories import Pool
from torch import Tensor, nn

from ..domain.errors import ConfigurationError
from ..domain.phases import PHASES
from .locator import Locator
from .readouts import FlattenReadout, LocateReadout, MeanReadout
from .transformer import Transformer, sinusoidal_encoding

HEADS = ("mean", "flatten", "locate")


class PhaseEmbedding(nn.Module):
    """Which phase a token belongs to, and when that phase was acquired.

    Args:
        d_model: width of a token.
        wavelengths: number of sinusoids, with periods from 10 s to 20 min.
    """

    def __init__(self, d_model: int, *, wavelengths: int = 8) -> None:
        super().__init__()
        self.phase = nn.Parameter(0.02 * torch.randn(len(PHASES), d_model))
        period_s = torch.logspace(1.0, math.log10(1200.0), wavelengths)
        self.register_buffer("rate", 2 * math.pi / period_s, persistent=False)
        self.time = nn.Linear(2 * wavelengths, d_model)

    def forward(self, times_s: Tensor) -> Tensor:
        """Seconds ``(B, 4)`` to embeddings ``(B, 4, d_model)``."""
        angle = times_s.unsqueeze(-1).float() * self.rate
        return self.phase + self.time(torch.cat([torch.sin(angle), torch.cos(angle)], dim=-1))


class TransformerHead(nn.Module):
    """Tokens of the four phases through shallow Transformer blocks, read out as intensities and classes.

    A token is one channel of one phase's deepest fused map, flattened: ``Z`` of ``(4 C, P²)`` in the paper, with P the
    token grid, to which any map is pooled. Linear to ``d_model``, positional, phase and time encodings, blocks. With
    ``head="locate"`` a token per phase, made by the ``Locator``, joins them and only those four are read out.

    Args:
        widths: the encoder's widths.
        head: ``mean`` (the paper), ``flatten`` or ``locate`` (ours).
        regression: whether to predict intensities.
        classes: number of classes; 0 for none.
        token_grid: P.
        d_model: width of a token.
        blocks: Transformer blocks.
        heads: attention heads.
        ffn: hidden width of the feed-forward nets.
        dropout: on residual and feed-forward paths.
        attention_scale: None for 1/√64; 1/64 for the paper's "√d_k was set to 64" read literally.
        spatial_dims: 2 or 3.

    Raises:
        ConfigurationError: unknown head.
    """

    def __init__(
        self,
        widths: Sequence[int],
        *,
        head: str = "mean",
        regression: bool = True,
        classes: int = 2,
        token_grid: int = 16,
        d_model: int = 256,
        blocks: int = 3,
        heads: int = 4,
        ffn: int = 1024,
        dropout: float = 0.1,
        attention_scale: float | None = None,
        spatial_dims: int = 2,
    ) -> None:
        super().__init__()
        if head not in HEADS:
            msg = f"head must be one of {HEADS}; got {head!r}."
            raise ConfigurationError(msg)
        self.channels = widths[-1]
        self.token_grid = token_grid
        map_tokens = len(PHASES) * self.channels
        self.pool = Pool[Pool.ADAPTIVEAVG, spatial_dims](token_grid)
        self.tokenise = nn.Linear(token_grid**spatial_dims, d_model)
        self.register_buffer("position", sinusoidal_encoding(map_tokens, d_model), persistent=False)
        self.phase_embedding = PhaseEmbedding(d_model)
        self.transformer = Transformer(
            d_model, blocks=blocks, heads=heads, ffn=ffn, dropout=dropout, attention_scale=attention_scale
        )
        self.locator = None
        if head == "locate":
            self.locator = Locator(widths, spatial_dims=spatial_dims)
            self.describe = nn.Linear(self.locator.features, d_model)
            self.wanted = len(PHASES)
            self.readout: nn.Module = LocateReadout(d_model, regression=regression, classes=classes, dropout=dropout)
        else:
            self.wanted = map_tokens
            if head == "flatten":
                self.readout = FlattenReadout(d_model, tokens=map_tokens, regression=regression, classes=classes)
            else:
                self.readout = MeanReadout(d_model, regression=regression, classes=classes)

    def forward(self, maps: list[Tensor], image: Tensor, available: Tensor, times_s: Tensor) -> dict[str, Tensor]:
        """Predictions of the tasks that were asked for.

        Args:
            maps: fused maps ``(B, 4 C, *S / stride)``; only the last is read unless the head locates.
            image: ``(B, 4, *S)`` normalised, zero where a phase is absent.
            available: ``(B, 4)`` bool.
            times_s: ``(B, 4)`` seconds.

        Returns:
            ``regression (B, 4)``, ``classification (B, K)``, ``localisation (B, 1, *S / 2)``; float32.
        """
        tokens, present, located_mean, logits = self._tokens(maps, image, available, times_s)
        outputs: dict[str, Tensor] = {}
        if logits is not None:
            outputs["localisation"] = logits
        tokens = self.transformer(tokens, present, self.wanted)
        regression, classification = self._read_out(tokens, available, located_mean)
        if regression is not None:
            outputs["regression"] = regression
        if classification is not None:
            outputs["classification"] = classification
        return outputs

    def _read_out(self, tokens: Tensor, available: Tensor, located_mean: Tensor) -> tuple[Tensor | None, Tensor | None]:
        if torch.jit.is_scripting():
            return self.readout(tokens.float(), available, located_mean)
        with torch.autocast(device_type=tokens.device.type, enabled=False):
            return self.readout(tokens.float(), available, located_mean)

    def _tokens(
        self, maps: list[Tensor], image: Tensor, available: Tensor, times_s: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """Tokens ``(B, N, d)``, which are present ``(B, N)``, located means ``(B, 4)`` and logits, if any."""
        phases = self.phase_embedding(torch.where(available, times_s, torch.zeros_like(times_s)))
        tokens = self.tokenise(self._to_grid(maps[-1]).flatten(2)) + self.position
        tokens = tokens + phases.repeat_interleave(self.channels, dim=1)
        present = available.repeat_interleave(self.channels, dim=1)
        if self.locator is None:
            return tokens, present, torch.zeros_like(times_s), None
        logits, descriptors, located_mean = self.locator(maps, image)
        phase_tokens = self.describe(descriptors) + phases
        return torch.cat([phase_tokens, tokens], dim=1), torch.cat([available, present], dim=1), located_mean, logits

    def _to_grid(self, deepest: Tensor) -> Tensor:
        on_grid = True
        for size in deepest.shape[2:]:
            on_grid = on_grid and size == self.token_grid
        return deepest if on_grid else self.pool(deepest)

    @torch.jit.unused
    def attention_by_phase(self, maps: list[Tensor], image: Tensor, available: Tensor, times_s: Tensor) -> Tensor:
        """How much the tokens of each phase (row) attend to those of each (column), ``(blocks, B, 4, 4)``."""
        tokens, present, _, _ = self._tokens(maps, image, available, times_s)
        owner = torch.arange(len(PHASES), device=image.device)
        owners = owner.repeat_interleave(self.channels)
        if self.locator is not None:
            owners = torch.cat([owner, owners])
        member = nn.functional.one_hot(owners, len(PHASES)).to(tokens.dtype)
        mean_of = (member / member.sum(dim=0)).T
        return torch.stack([mean_of @ block @ member for block in self.transformer.attention(tokens, present)])
