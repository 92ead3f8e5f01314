"""MTI-Net: four phases of one slice in; tumour mask, enhancement curve and class out."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..domain.classes import CLASSES
from ..domain.errors import ConfigurationError
from .decoder import Decoder
from .domains import FusedEncoder
from .heads import TransformerHead
from .slice_network import SliceNetwork

TASKS = ("segmentation", "regression", "classification")
STRIDE = 16


class MTINet(SliceNetwork):
    """The Multi-Task Interaction network of Xiao et al. (arXiv 2511.20793), with a switch for every open decision.

    Size, and work on one slice of 256x256 (two operations a multiply-add)::

        train.yaml            1,917,701 parameters  12.61 GFLOP
        its No MdIEF          2,089,901 parameters  15.18 GFLOP
        its No Spe, No Spa    1,698,941 parameters   8.42 GFLOP
        its Seg               1,075,777 parameters  10.61 GFLOP
        its Seg+Reg           1,851,779 parameters  12.61 GFLOP
        its Seg+Cls           1,917,572 parameters  12.61 GFLOP
        paper.yaml           14,621,540 parameters  88.92 GFLOP

    Args:
        widths: channels of the four encoder blocks.
        tasks: any of ``segmentation``, ``regression``, ``classification``; the others are not built.
        classes: 2 (``CLASSES``), or 3 with "healthy" appended.
        convs_per_block: convolutions before each pooling.
        share_encoder: one encoder for the phases with a phase embedding, or one each.
        spectral: what the spectral branch is: ``image`` (the high-passed image through an encoder of its own),
            ``log_magnitude`` (its spectrum likewise) or ``feature`` (the spatial maps, high-passed).
        cutoff: of the high-pass filter, fraction of Nyquist.
        high_pass: ``fft`` or ``matrix``, equal within 1e-5.
        fusion: ``mdief``; ablations ``concat`` (No MdIEF), ``spatial`` (No Spe), ``spectral`` (No Spa).
        fusion_weights: ``gap_softmax`` (eq. 1), ``shannon`` or ``learned``.
        fusion_levels: ``last`` or ``all``.
        decoder_skips: whether the decoder sees the fused maps of the upper levels.
        decoder_dropout: as of ``Decoder.dropout``.
        head: ``mean``, ``flatten`` or ``locate``.
        token_grid: side P of the map that a token flattens.
        d_model: width of a token.
        blocks: Transformer blocks.
        heads: attention heads.
        ffn: hidden width of the Transformer's feed-forward nets.
        dropout: in the Transformer.
        attention_scale: None for 1/√(d_model / heads).
        spatial_dims: 2 or 3.

    Raises:
        ConfigurationError: an unknown or contradictory switch.
    """

    def __init__(
        self,
        *,
        widths: Sequence[int] = (24, 48, 96, 192),
        tasks: Sequence[str] = TASKS,
        classes: int = len(CLASSES),
        convs_per_block: int = 1,
        share_encoder: bool = True,
        spectral: str = "image",
        cutoff: float = 0.1,
        high_pass: str = "fft",
        fusion: str = "mdief",
        fusion_weights: str = "gap_softmax",
        fusion_levels: str = "last",
        decoder_skips: bool = False,
        decoder_dropout: float = 0.0,
        head: str = "mean",
        token_grid: int = 16,
        d_model: int = 256,
        blocks: int = 3,
        heads: int = 4,
        ffn: int = 1024,
        dropout: float = 0.1,
        attention_scale: float | None = None,
        spatial_dims: int = 2,
    ) -> None:
        super().__init__(spatial_dims=spatial_dims, stride=STRIDE)
        _check_tasks(tasks, classes)
        self.classes = classes
        has_head = "regression" in tasks or "classification" in tasks
        segments = "segmentation" in tasks
        locates = has_head and head == "locate"
        if fusion_levels not in ("last", "all"):
            msg = f"fusion_levels must be 'last' or 'all'; got {fusion_levels!r}."
            raise ConfigurationError(msg)
        for wants, switch in ((segments and decoder_skips, "decoder_skips=True"), (locates, "head='locate'")):
            if wants and fusion_levels != "all":
                msg = f"{switch} reads the fused maps of the upper levels: set fusion_levels='all' as well."
                raise ConfigurationError(msg)
        if len(widths) != 4:
            msg = f"widths holds the channels of the encoder's four blocks; got {tuple(widths)}."
            raise ConfigurationError(msg)
        if spatial_dims not in (2, 3):
            msg = f"spatial_dims must be 2 or 3; got {spatial_dims}."
            raise ConfigurationError(msg)
        # Levels that somebody reads; nothing is fused in vain.
        first_level = 0 if segments and decoder_skips else 1 if locates else 4
        self.encoder = FusedEncoder(
            widths,
            convs_per_block=convs_per_block,
            share_encoder=share_encoder,
            spectral=spectral,
            cutoff=cutoff,
            high_pass=high_pass,
            fusion=fusion,
            fusion_weights=fusion_weights,
            first_level=first_level,
            spatial_dims=spatial_dims,
        )
        self.decoder = None
        if segments:
            self.decoder = Decoder(widths, skips=decoder_skips, dropout=decoder_dropout, spatial_dims=spatial_dims)
        self.head = None
        if has_head:
            self.head = TransformerHead(
                widths,
                head=head,
                regression="regression" in tasks,
                classes=classes if "classification" in tasks else 0,
                token_grid=token_grid,
                d_model=d_model,
                blocks=blocks,
                heads=heads,
                ffn=ffn,
                dropout=dropout,
                attention_scale=attention_scale,
                spatial_dims=spatial_dims,
            )

    def forward(
        self, image: Tensor, available: Tensor | None = None, times_s: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Predict every task for a batch of slices.

        Args:
            image: ``(B, 4, *S)``, phases in the order of ``PHASES``, normalised; every size divisible by 16.
            available: ``(B, 4)`` bool, at least one true a slice; all true if None. Pixels of others do not matter.
            times_s: ``(B, 4)`` seconds after the injection; nominal times if None.

        Returns:
            float32 logits by name, those of removed tasks absent: ``segmentation (B, 1, *S)``, ``regression (B, 4)``
            (normalised intensity), ``classification (B, K)``, and ``localisation (B, 1, *S / 2)`` of a locating head.

        Raises:
            ConfigurationError: an image of another shape.
        """
        image, present, times = self.complete(image, available, times_s)
        maps = self.encoder(image)
        outputs: dict[str, Tensor] = {}
        if self.decoder is not None:
            outputs["segmentation"] = self.decoder(maps).float()
        if self.head is not None:
            outputs.update(self.head(maps, image, present, times))
        return outputs

    @torch.jit.unused
    def attention_by_phase(
        self, image: Tensor, available: Tensor | None = None, times_s: Tensor | None = None
    ) -> Tensor:
        """Attention of each phase (row) to each (column) in every block, ``(blocks, B, 4, 4)``; rows sum to one.

        Computed only here: the forward pass never holds attention probabilities.

        Raises:
            ConfigurationError: the network has no Transformer head.
        """
        if self.head is None:
            msg = "This network has no Transformer head: attention needs the regression or classification task."
            raise ConfigurationError(msg)
        image, present, times = self.complete(image, available, times_s)
        return self.head.attention_by_phase(self.encoder(image), image, present, times)


class SegmentationOnly(nn.Module):
    """A network whose forward is the segmentation tensor, for tools that expect one (``verify_net_in_out``)."""

    def __init__(self, network: MTINet) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        """``(B, 4, *S)`` to tumour logits ``(B, 1, *S)``."""
        return self.network(image)["segmentation"]


def _check_tasks(tasks: Sequence[str], classes: int) -> None:
    unknown = sorted(set(tasks) - set(TASKS))
    if unknown or not tasks:
        msg = f"tasks must be some of {TASKS}; got {tuple(tasks)}."
        raise ConfigurationError(msg)
    if classes not in (len(CLASSES), len(CLASSES) + 1):
        msg = f"classes must be 2 ({', '.join(CLASSES)}) or 3 (with healthy); got {classes}."
        raise ConfigurationError(msg)
