"""Monte-Carlo dropout (Gal and Ghahramani 2016): several answers of one network, for its uncertainty."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
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
    bottleneck_dropout: float | None = None,
    seed: int = 0,
) -> Samples:
    """Ask a network in eval mode several times with its dropout on; batch norms keep their statistics.

    The encoder, which has no dropout, runs once. Weights that were trained without dropout in the bottleneck are
    sampled by injecting it (Ledda et al. 2023), a network with it at its own rate.

    Args:
        network: with a decoder.
        image: ``(B, 4, *S)`` normalised, zero where a phase is absent.
        available: ``(B, 4)`` bool.
        times_s: ``(B, 4)`` seconds.
        samples: T, at least 2.
        bottleneck_dropout: rate in the decoder's bottleneck for the time of the drawing; None keeps the network's.
        seed: of the drawing; the caller's random numbers are left alone.

    Raises:
        ConfigurationError: no decoder, or fewer than two samples.
    """
    if network.decoder is None or samples < 2:
        msg = f"Sampling needs a network that segments and at least 2 samples; got {samples}."
        raise ConfigurationError(msg)
    tumour, classes = [], []
    with torch.inference_mode(), torch.random.fork_rng(devices=[]), _dropout_on(network, bottleneck_dropout):
        torch.manual_seed(seed)
        maps = network.encoder(image)
        for _ in range(samples):
            tumour.append(network.decoder(maps).float().sigmoid()[:, 0])
            answer = {} if network.head is None else network.head(maps, image, available, times_s)
            if "classification" in answer:
                classes.append(tumour_class_probabilities(answer["classification"]))
    return Samples(torch.stack(tumour), torch.stack(classes) if classes else None)


@contextmanager
def _dropout_on(network: MTINet, bottleneck_dropout: float | None) -> Iterator[None]:
    """Dropout in train mode, nothing else; the network is as before afterwards."""
    layers = [module for module in network.modules() if isinstance(module, _DropoutNd)]
    bottleneck: nn.Module = network.decoder.dropout
    modes, rate = [layer.training for layer in layers], bottleneck.p
    try:
        for layer in layers:
            layer.train()
        if bottleneck_dropout is not None:
            bottleneck.p = bottleneck_dropout
        yield
    finally:
        bottleneck.p = rate
        for layer, mode in zip(layers, modes, strict=True):
            layer.train(mode)
