"""Ways to run a trained network on slices: PyTorch on any device, OpenVINO on CPUs."""

from __future__ import annotations

import importlib.util
import warnings
from typing import Any, Protocol

import torch
from torch import nn

from ..domain.errors import ConfigurationError
from ..networks.inference import inference_copy

BACKENDS = ("auto", "torch", "openvino")


class Backend(Protocol):
    """Anything that answers a batch of slices as the network does, in fp32 on the CPU."""

    def __call__(
        self, image: torch.Tensor, available: torch.Tensor, times_s: torch.Tensor
    ) -> dict[str, torch.Tensor]: ...


def make_backend(name: str, network: nn.Module, device: torch.device, batch_size: int, size: int) -> Backend:
    """Prepare a network for inference.

    Args:
        name: ``"torch"``, ``"openvino"``, or ``"auto"``: OpenVINO on a CPU where it is installed, for networks that
            can be traced.
        network: trained network; it is copied, not changed.
        device: where PyTorch runs.
        batch_size: slices per pass.
        size: height and width of a slice.

    Raises:
        ConfigurationError: unknown name, or OpenVINO asked for where it is not installed, not on a CPU, or for a
            network that cannot be traced.
    """
    if name not in BACKENDS:
        msg = f"backend {name!r} is not one of {BACKENDS}"
        raise ConfigurationError(msg)
    installed = importlib.util.find_spec("openvino") is not None
    if name == "auto":
        name = "openvino" if installed and device.type == "cpu" and network.traceable else "torch"
    if name == "torch":
        return TorchBackend(network, device)
    if not installed or device.type != "cpu":
        msg = "backend 'openvino' needs the openvino package and device cpu; use --backend torch"
        raise ConfigurationError(msg)
    if not network.traceable:
        msg = f"backend 'openvino' cannot compile a {type(network).__name__}; use --backend torch"
        raise ConfigurationError(msg)
    return OpenVINOBackend(network, batch_size, size)


class TorchBackend:
    """Batch norms folded into their convolutions, channels-last, no gradients."""

    def __init__(self, network: nn.Module, device: torch.device) -> None:
        self.network = inference_copy(network).to(device)
        self.device = device

    def __call__(self, image: torch.Tensor, available: torch.Tensor, times_s: torch.Tensor) -> dict[str, torch.Tensor]:
        with torch.inference_mode():
            image = image.to(self.device, memory_format=torch.channels_last)
            outputs = self.network(image, available.to(self.device), times_s.to(self.device))
        return {key: value.float().cpu() for key, value in outputs.items()}


class OpenVINOBackend:
    """The same network compiled by OpenVINO for a fixed batch, in fp32."""

    def __init__(self, network: nn.Module, batch_size: int, size: int) -> None:
        import openvino

        network = inference_copy(network, matrix_filter=True).cpu()
        example = (
            torch.zeros(batch_size, 4, size, size),
            torch.ones(batch_size, 4, dtype=torch.bool),
            torch.zeros(batch_size, 4),
        )
        with torch.inference_mode(), warnings.catch_warnings():
            # Tracing warns that the shapes are constants, which they are.
            warnings.simplefilter("ignore")
            self.keys = tuple(network(*example))
            model = openvino.convert_model(
                AsTuple(network), example_input=example, input=[tuple(tensor.shape) for tensor in example]
            )
        self.batch_size = batch_size
        # OpenVINO would choose bf16 by itself where the processor has it.
        config: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": torch.get_num_threads()}
        self.compiled = openvino.compile_model(model, "CPU", config)

    def __call__(self, image: torch.Tensor, available: torch.Tensor, times_s: torch.Tensor) -> dict[str, torch.Tensor]:
        count = len(image)
        inputs = [self._filled(tensor).numpy() for tensor in (image, available, times_s)]
        outputs = self.compiled(inputs)
        return {key: torch.from_numpy(outputs[index][:count].copy()) for index, key in enumerate(self.keys)}

    def _filled(self, tensor: torch.Tensor) -> torch.Tensor:
        """Repeat the last slice up to the compiled batch size."""
        missing = self.batch_size - len(tensor)
        return torch.cat([tensor, tensor[-1:].expand(missing, *tensor.shape[1:])]) if missing else tensor


class AsTuple(nn.Module):
    """Dict outputs lose their order in a graph; a tuple keeps it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: torch.Tensor, available: torch.Tensor, times_s: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(self.network(image, available, times_s).values())
