"""The network's forward pass: seconds a slice, share of the machine's peak, and MONAI's BasicUNet beside it."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from statistics import median

import torch
from monai.networks.nets import BasicUNet
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from ..domain.phases import NOMINAL_TIMES_S
from ..engines.backends import make_backend
from .conditions import Conditions
from .timing import interleaved, median_ratio

UNITS = {
    "gemm_gflops": "GFLOP/s",
    "forward_s_per_slice": "s",
    "forward_share_of_gemm": "ratio",
    "forward_vs_basicunet": "ratio",
    "forward_vs_basicunet_openvino": "ratio",
}


def measure(conditions: Conditions) -> dict[str, float]:
    """All three tasks of MTI-Net through the CPU backend, against a matrix product and one task of BasicUNet.

    BasicUNet is run plainly (eager, fp32), and once more compiled by OpenVINO as our backend is, where that is
    installed: the first ratio is what a user gains, the second what the network itself does.
    """
    config = conditions.inference_config()
    size, batch_size = config["image_size"], config["batch_size"]
    network = config.get_parsed_content("network_def").eval()
    backend = make_backend(config["backend"], network, torch.device("cpu"), batch_size, size)
    image = torch.randn(batch_size, 4, size, size)
    available = torch.ones(batch_size, 4, dtype=torch.bool)
    times_s = torch.tensor(NOMINAL_TIMES_S).expand(batch_size, -1)
    matrix = torch.randn(conditions.gemm_size, conditions.gemm_size)
    unet = BasicUNet(spatial_dims=2, in_channels=4, out_channels=1, features=(32, 64, 128, 256, 512, 32)).eval()
    things: dict[str, Callable[[], object]] = {
        "gemm": lambda: torch.mm(matrix, matrix),
        "forward": lambda: backend(image, available, times_s),
        "basicunet": lambda: _eagerly(unet, image),
    }
    if importlib.util.find_spec("openvino") is not None:
        things["basicunet_openvino"] = _compiled(unet, image)
    seconds = interleaved(things, runs=conditions.runs, warm_up=2)

    gemm_gflops = 2e-9 * conditions.gemm_size**3 / median(seconds["gemm"])
    forward_gflops = _gflop(network, image, available, times_s) / median(seconds["forward"])
    against = [name for name in ("basicunet", "basicunet_openvino") if name in seconds]
    return {
        "gemm_gflops": gemm_gflops,
        "forward_s_per_slice": median(seconds["forward"]) / batch_size,
        "forward_share_of_gemm": forward_gflops / gemm_gflops,
    } | {f"forward_vs_{name}": median_ratio(seconds["forward"], seconds[name]) for name in against}


def _eagerly(network: nn.Module, image: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return network(image)


def _compiled(network: nn.Module, image: torch.Tensor) -> Callable[[], object]:
    """The network in OpenVINO, with the settings of ``engines.backends``."""
    import openvino

    model = openvino.convert_model(network, example_input=image, input=[tuple(image.shape)])
    config = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": torch.get_num_threads()}
    compiled = openvino.compile_model(model, "CPU", config)
    return lambda: compiled([image.numpy()])


def _gflop(network: nn.Module, *inputs: torch.Tensor) -> float:
    """Work of one pass in convolutions and matrix products; two operations a multiply-add."""
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network(*inputs)
    return counter.get_total_flops() / 1e9
