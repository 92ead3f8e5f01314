"""What a trained nnU-Net says of itself: size, work and training log, as JSON.

nnU-Net's Python runs this file, ``python model_facts.py MODEL_FOLDER OUTPUT``: its checkpoints hold pickled objects of
its own packages, which are not installed beside ours.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

CONFIGURATION = "2d"

PACKAGES = ("nnunetv2", "dynamic-network-architectures", "torch", "numpy")


def facts_of(model: Path) -> dict[str, Any]:
    """Read a model folder of one trained fold.

    Returns:
        ``parameters``; ``gflops`` of one patch, 2 operations a multiply-add; ``image_size``, its longer side;
        ``epochs``, each with its number from 1, losses, learning rate, seconds and the Dice of the first region over
        the validation patches, None where these showed none; ``packages`` with their versions.
    """
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    plans = PlansManager(json.loads((model / "plans.json").read_text()))
    dataset = json.loads((model / "dataset.json").read_text())
    configuration = plans.get_configuration(CONFIGURATION)
    channels, patch = len(dataset["channel_names"]), configuration.patch_size
    network = get_network_from_plans(
        configuration.network_arch_class_name,
        configuration.network_arch_init_kwargs,
        configuration.network_arch_init_kwargs_req_import,
        channels,
        plans.get_label_manager(dataset).num_segmentation_heads,
        deep_supervision=False,
    )
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        network.eval()(torch.zeros(1, channels, *patch))
    # Its own file, written by its own training in this environment.
    checkpoint = torch.load(model / "fold_0" / "checkpoint_final.pth", map_location="cpu", weights_only=False)
    return {
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "gflops": counter.get_total_flops() / 1e9,
        "image_size": int(max(patch)),
        "epochs": list(log_of(checkpoint["logging"])),
        "packages": {name: version(name) for name in PACKAGES},
    }


def log_of(log: dict[str, list]) -> Iterator[dict[str, Any]]:
    """An epoch after the other from nnU-Net's own log, which it keeps in its checkpoints."""
    columns = ("train_losses", "val_losses", "lrs", "dice_per_class_or_region")
    times = zip(log["epoch_start_timestamps"], log["epoch_end_timestamps"], strict=True)
    rows = zip(*(log[name] for name in columns), times, strict=True)
    for number, (loss, val_loss, learning_rate, dice, (start, end)) in enumerate(rows, start=1):
        yield {
            "epoch": number,
            "loss": _number(loss),
            "learning_rate": _number(learning_rate),
            "val_loss": _number(val_loss),
            "val_score": _number(dice[0]),
            "seconds": _number(end - start),
        }


def _number(value: Any) -> float | None:
    return float(value) if math.isfinite(value) else None


if __name__ == "__main__":
    _model, _output = map(Path, sys.argv[1:])
    _output.write_text(json.dumps(facts_of(_model), indent=1) + "\n")
