"""What a network costs: parameters, and the operations of one slice; ``python -m scripts.experiments.grid.cost``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from ...domain.errors import MTINetError
from ...domain.phases import PHASES
from ...domain.writing import replace_when_written


def measure_cost(config_file: str | Path) -> dict[str, Any]:
    """Parameters and GFLOPs of a config's network.

    Args:
        config_file: a run's complete config, with ``network_def`` and ``image_size``.

    Returns:
        ``parameters`` that are trained; ``gflops`` of one slice of ``image_size`` pixels, 2 operations a multiply-add,
        or None where the network's forward pass cannot be counted; ``image_size``.
    """
    parser = ConfigParser()
    parser.read_config(str(config_file))
    network, size = parser.get_parsed_content("network_def"), int(parser["image_size"])
    # One that runs in a program of its own says by a method of this name what was measured there.
    if (told := getattr(network, "told_cost", None)) is not None:
        return told()
    return {
        "parameters": sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad),
        "gflops": _gflops(network, size),
        "image_size": size,
    }


def _gflops(network: nn.Module, size: int) -> float | None:
    if not any(True for _ in network.parameters()):
        return 0.0
    # A network of other inputs says so by a method of this name; those of the liver take a slice of four phases.
    example = getattr(network, "example_inputs", None)
    inputs = (torch.zeros(1, len(PHASES), size, size),) if example is None else example(size)
    counter = FlopCounterMode(display=False)
    try:
        # A CPU's fused attention is not counted; as products of matrices it is, and alike on every machine.
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter:
            network.eval()(*inputs)
    except (RuntimeError, TypeError, ValueError, MTINetError) as error:
        print(f"operations not counted: {error}", file=sys.stderr)
        return None
    return counter.get_total_flops() / 1e9


if __name__ == "__main__":
    _config, _output = sys.argv[1:]
    with replace_when_written(Path(_output)) as _aside:
        _aside.write_text(json.dumps(measure_cost(_config), indent=2) + "\n")
