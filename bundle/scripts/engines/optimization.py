"""What the optimizer of a network gets."""

from __future__ import annotations

from typing import Any

from torch import nn


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
