"""What the optimizer of a network gets, and how its batch norm averages."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..domain.errors import ConfigurationError


def parameter_groups(network: nn.Module, *, head_learning_rate: float) -> list[dict[str, Any]]:
    """All parameters; those of a Transformer head, where there is one, with a learning rate of their own.

    Args:
        network: any ``SliceNetwork``.
        head_learning_rate: of ``network.head``.
    """
    head = getattr(network, "head", None)
    of_head = [] if head is None else list(head.parameters())
    others = set(map(id, of_head))
    groups: list[dict[str, Any]] = [{"params": of_head, "lr": head_learning_rate}] if of_head else []
    return [*groups, {"params": [parameter for parameter in network.parameters() if id(parameter) not in others]}]


def with_batch_norm_momentum(network: nn.Module, momentum: float | None) -> nn.Module:
    """Set how fast the running statistics of every batch norm layer follow the batches.

    torch's 0.1 averages about the last twenty batches. Where a batch is four slices, that is few: the validation score
    of weights that stand still then swings with the batches that came last.

    Args:
        network: changed in place.
        momentum: share of the newest batch, above 0 and below 1; None leaves every layer's own.

    Returns:
        The same network.

    Raises:
        ConfigurationError: the momentum is out of range.
    """
    if momentum is None:
        return network
    if not isinstance(momentum, int | float) or not 0.0 < momentum < 1.0:
        msg = f"batch_norm_momentum {momentum!r}: give a number above 0 and below 1, or null for each layer's own."
        raise ConfigurationError(msg)
    for layer in network.modules():
        if isinstance(layer, _BatchNorm):
            layer.momentum = momentum
    return network
