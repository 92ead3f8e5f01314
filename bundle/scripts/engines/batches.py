"""Moves a batch of slices to the device in the memory layout that convolutions like best."""

from __future__ import annotations

from typing import Any

import torch


def prepare_batch(
    batchdata: dict[str, Any], device: torch.device | str | None = None, non_blocking: bool = False, **kwargs: Any
) -> dict[str, Any]:
    """Copy a batch's tensors to ``device``, images channels-last.

    Args:
        batchdata: the batch dict of ``studies.slices``; what is not a tensor passes as it is.
        device: destination.
        non_blocking: copy without waiting.
        kwargs: further arguments of ``Tensor.to``.

    Returns:
        A new dict of the same keys.
    """
    return {
        key: (
            value.to(
                device,
                non_blocking=non_blocking,
                memory_format=torch.channels_last if value.ndim == 4 else torch.preserve_format,
                **kwargs,
            )
            if isinstance(value, torch.Tensor)
            else value
        )
        for key, value in batchdata.items()
    }
