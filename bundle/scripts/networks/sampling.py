"""Monte-Carlo dropout (Gal and Ghahramani 2016): several answers of one network, for its uncertainty."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from monai.networks.layers.factories import Dropout
from torch import Tensor
from torch.nn.modules.dropout import _DropoutNd

from ..domain.errors import ConfigurationError
from .mtinet import MTINet
from .readouts import tumour_class_probabilities


@dataclass(frozen=True, eq=False)
class Samples:
    """T answers on B slices.

    Args:
        tumour: ``(T, B, *S)`` probability of tumour.
        classes: ``(T, B, 2)`` probabilities of ``CLASSES``; None without a classification head.
    """

    tumour: Tensor
    classes: Tensor | None


def draw(
    network: MTINet,
    image: Tensor,
    available: Tensor,
    times_s: Tensor,
    *,
    samples: int,
    injected: float = 0.0,
    seed: int = 0,
) -> Samples:
    """Ask a network in eval mode several times with its dropout on; batch norms keep their statistics.

    The encoder, which has no dropout, runs once. Weights that were trained without ``decoder_dropout`` hardly use the
    bottleneck, as the decoder's skips carry nearly all: dropout there changes nothing. They are sampled by injecting
    dropout (Ledda et al. 2023) into every map that the decoder reads.

    Args:
        network: with a decoder.
        image: ``(B, 4, *S)`` normalised, zero where a phase is absent.
        available: ``(B, 4)`` bool.
        times_s: ``(B, 4)`` seconds.
        samples: T, at least 2.
        injected: rate of whole channels of every fused map, before the decoder only; 0 leaves it to the network's own.
        seed: of the drawing; the caller's random numbers are left alone.

    Raises:
        ConfigurationError: no decoder, or fewer than two samples.
    """
    if network.decoder is None or samples < 2:
        msg = f"Sampling needs a network that segments and at least 2 samples; got {samples}."
        raise ConfigurationError(msg)
    tumour, classes = [], []
    with torch.inference_mode(), torch.random.fork_rng(devices=[]), _dropout_on(network):
        torch.manual_seed(seed)
        maps = network.encoder(image)
        inject = Dropout[Dropout.DROPOUT, network.spatial_dims](injected).train()
        for _ in range(samples):
            # Levels that nobody reads are empty.
            read = [inject(each) if each.numel() else each for each in maps]
            tumour.append(network.decoder(read).float().sigmoid()[:, 0])
            answer = {} if network.head is None else network.head(maps, image, available, times_s)
            if "classification" in answer:
                classes.append(tumour_class_probabilities(answer["classification"]))
    return Samples(torch.stack(tumour), torch.stack(classes) if classes else None)


@contextmanager
def _dropout_on(network: MTINet) -> Iterator[None]:
    """Dropout in train mode, nothing else; the network is as before afterwards."""
    layers = [module for module in network.modules() if isinstance(module, _DropoutNd)]
    modes = [layer.training for layer in layers]
    try:
        for layer in layers:
            layer.train()
        yield
    finally:
        for layer, mode in zip(layers, modes, strict=True):
            layer.train(mode)
