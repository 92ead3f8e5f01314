"""The two domains of every phase, encoded and fused level by level."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..domain.errors import ConfigurationError
from .encoder import make_encoder
from .fusion import make_fusion
from .spectral import HighPass

SPECTRAL = ("image", "feature", "log_magnitude")
FUSIONS = ("mdief", "concat", "spatial", "spectral")


class FusedEncoder(nn.Module):
    """Spatial and spectral encoders and the fusion of their maps.

    Only what the switches need is built: ``fusion="spatial"`` has no filter and no spectral encoder,
    ``fusion="spectral"`` no spatial one (unless ``spectral="feature"``, which filters its maps).

    Args:
        widths: channels of the four blocks.
        convs_per_block: as of ``Encoder``.
        share_encoder: as of ``make_encoder``.
        spectral: ``image``, ``feature`` or ``log_magnitude``.
        cutoff: as of ``HighPass``.
        high_pass: as of ``HighPass.method``.
        fusion: ``mdief``, ``concat``, ``spatial`` or ``spectral``.
        fusion_weights: as of ``WeightedFusion.weighting``.
        first_level: levels from this one (0-4; 4 is the pooled map) are fused; above it nothing is.
        spatial_dims: 2 or 3.

    Raises:
        ConfigurationError: unknown ``spectral`` or ``fusion``.
    """

    def __init__(
        self,
        widths: Sequence[int],
        *,
        convs_per_block: int = 1,
        share_encoder: bool = True,
        spectral: str = "image",
        cutoff: float = 0.1,
        high_pass: str = "fft",
        fusion: str = "mdief",
        fusion_weights: str = "gap_softmax",
        first_level: int = 4,
        spatial_dims: int = 2,
    ) -> None:
        super().__init__()
        for name, value, known in (("spectral", spectral, SPECTRAL), ("fusion", fusion, FUSIONS)):
            if value not in known:
                msg = f"{name} must be one of {known}; got {value!r}."
                raise ConfigurationError(msg)
        encoder_options = {
            "share_encoder": share_encoder,
            "convs_per_block": convs_per_block,
            "spatial_dims": spatial_dims,
        }
        filters_features = spectral == "feature" and fusion != "spatial"
        self.first_level = first_level
        self.spatial_only = fusion == "spatial"
        self.spatial = None
        if fusion != "spectral" or filters_features:
            self.spatial = make_encoder(widths, **encoder_options)
        self.high_pass = None
        if fusion != "spatial":
            self.high_pass = HighPass(
                cutoff=cutoff,
                method=high_pass,
                log_magnitude=spectral == "log_magnitude",
                spatial_dims=spatial_dims,
            )
        self.spectral = None
        if fusion != "spatial" and not filters_features:
            self.spectral = make_encoder(widths, **encoder_options)
        self.fusions = nn.ModuleList()
        if fusion in ("mdief", "concat"):
            level_widths = [*widths, widths[-1]]
            self.fusions.extend(
                make_fusion(width, fusion=fusion, weighting=fusion_weights, spatial_dims=spatial_dims)
                for width in level_widths[first_level:]
            )

    def forward(self, image: Tensor) -> list[Tensor]:
        """Fused maps of the levels from ``first_level`` on, the phases side by side.

        Args:
            image: ``(B, 4, *S)``.

        Returns:
            Five maps ``(B, 4 C, *S / stride)``, strides 1, 2, 4, 8, 16; empty tensors above ``first_level``.
        """
        phases = image.flatten(0, 1).unsqueeze(1)
        fused = self._fuse(phases)
        maps = [torch.empty(0, device=image.device) for _ in range(self.first_level)]
        for level_map in fused:
            maps.append(_side_by_side(level_map, image.shape[1]))
        return maps

    def _fuse(self, phases: Tensor) -> list[Tensor]:
        spatial: list[Tensor] = []
        spectral: list[Tensor] = []
        if self.spatial is not None:
            spatial = self.spatial(phases)[self.first_level :]
        if self.high_pass is not None:
            if self.spectral is not None:
                spectral = self.spectral(self.high_pass(phases))[self.first_level :]
            else:
                spectral = [self.high_pass(level_map).to(level_map.dtype) for level_map in spatial]
        if len(self.fusions) == 0:
            return spatial if self.spatial_only else spectral
        fused: list[Tensor] = []
        for level, fusion in enumerate(self.fusions):
            fused.append(fusion(spatial[level], spectral[level]))
        return fused


def _side_by_side(folded: Tensor, phases: int) -> Tensor:
    """``(B * 4, C, *S)`` to ``(B, 4 C, *S)``; ``cat`` keeps the channels-last layout, a reshape would not."""
    # Not ``folded[phase::phases]``: an export with a batch of any size cannot see that those slices are equally long.
    return torch.cat(folded.unflatten(0, [-1, phases]).unbind(1), dim=1)
