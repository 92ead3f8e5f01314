"""Writes a trained network as TorchScript, ONNX or OpenVINO IR, each checked against PyTorch before it is kept."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import torch
from torch import Tensor, nn

from ..domain.entry import entry_point
from ..domain.errors import ConfigurationError
from ..domain.phases import NOMINAL_TIMES_S, PHASES
from ..domain.writing import replace_when_written
from ..networks.inference import inference_copy
from ..networks.slice_network import SliceNetwork
from .backends import AsTuple
from .weights import load_network
from .workflows import require_image_size

Inputs = tuple[Tensor, Tensor, Tensor]
"""``image (B, 4, H, W)`` float32, ``available (B, 4)`` bool, ``times_s (B, 4)`` float32."""

INPUTS = ("image", "available", "times_s")

ENDINGS = {"torchscript": ".ts", "onnx": ".onnx", "openvino": ".xml"}
"""The formats, and how their files' names end; OpenVINO's weights lie beside it, as ``.bin``."""

TOLERANCE = 1e-4
"""Largest difference to PyTorch in fp32, as a share of the largest value of that output, or of 1 if that is more."""

CHECKED_BATCHES = (1, 3)
"""The graph is made with two slices and must answer for any number."""

_PACKAGES = {"torchscript": (), "onnx": ("onnx", "onnxscript", "onnxruntime"), "openvino": ("openvino",)}


@entry_point
def export(network: nn.Module, ckpt_path: str, output_path: str, *, file_format: str, image_size: int) -> None:
    """Write a network with its weights; the run id ``export`` of ``export.yaml``.

    Args:
        network: of the config's ``network_def``.
        ckpt_path: its weights.
        output_path: the file; an older one is replaced only by one that passed its check.
        file_format: one of ``ENDINGS``.
        image_size: height and width of a slice, as the weights were trained.

    Raises:
        SystemExit: an unknown format, a package that is missing, weights of another network, or a network that cannot
            be exported.
    """
    path = Path(output_path)
    _require_format(file_format, path)
    if not isinstance(network, SliceNetwork):
        msg = f"{type(network).__name__} is no network of slices, so there is nothing to export. Name another arm"
        raise ConfigurationError(msg)
    if network.learns_from_label:
        msg = (
            f"{type(network).__name__} draws its answer in many random steps, which is no graph to export. "
            "Use inferring with --backend torch"
        )
        raise ConfigurationError(msg)
    load_network(network, ckpt_path)
    require_image_size(network, image_size, ckpt_path)
    worst = write_checked(network.cpu().eval(), path, file_format=file_format, image_size=image_size)
    print(f"{path}: {file_format}, any number of slices of {image_size}x{image_size}; {worst:.0e} from PyTorch")


def write_checked(network: SliceNetwork, path: Path, *, file_format: str, image_size: int) -> float:
    """Write the file, read it back, compare, and only then give it its name.

    Args:
        network: on the CPU, in eval mode.
        path: the file.
        file_format: one of ``ENDINGS``.
        image_size: height and width of a slice.

    Returns:
        The largest difference to PyTorch, as ``TOLERANCE`` counts it.

    Raises:
        ConfigurationError: the network cannot be exported in this format, or would answer otherwise.
    """
    example = _inputs(2, image_size)
    with torch.inference_mode():
        names = tuple(network(*example))
    with ExitStack() as files:
        if file_format == "openvino":
            files.enter_context(replace_when_written(path.with_suffix(".bin")))
        aside = files.enter_context(replace_when_written(path))
        try:
            with torch.no_grad(), warnings.catch_warnings():
                # Tracing warns that the size of a slice is a constant, which it is.
                warnings.simplefilter("ignore")
                answer = _WRITERS[file_format](network, example, names, aside)
                worst = _difference(network, answer, image_size)
        except OSError:
            raise
        except Exception as error:
            # Three exporters raise whatever they like; to a user it all means the same.
            msg = f"{type(network).__name__} cannot be exported as {file_format}: {_in_one_line(error)}"
            raise ConfigurationError(msg) from error
        if not worst <= TOLERANCE:
            msg = (
                f"{type(network).__name__} as {file_format} is {worst:.1e} from PyTorch, more than {TOLERANCE:.0e}, "
                "so it is not written. Take another format"
            )
            raise ConfigurationError(msg)
    return worst


def _write_torchscript(network: SliceNetwork, example: Inputs, names: Sequence[str], path: Path) -> Callable:
    # Traced, not scripted, so that networks of other libraries can be exported too; dicts need strict=False.
    torch.jit.trace(inference_copy(network), example, strict=False, check_trace=False).save(path)
    return torch.jit.load(path)


def _write_onnx(network: SliceNetwork, example: Inputs, names: Sequence[str], path: Path) -> Callable:
    import onnxruntime

    shapes = ({0: torch.export.Dim("batch")},) * len(INPUTS)
    # Captured first: torch.onnx.export alone falls back to a graph for two slices where a batch of any size fails.
    program = torch.export.export(AsTuple(inference_copy(network, matrix_filter=True)), example, dynamic_shapes=shapes)
    exported = torch.onnx.export(program, input_names=INPUTS, output_names=names, dynamic_shapes=shapes, verbose=False)
    exported.save(path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def answer(*inputs: Tensor) -> dict[str, Tensor]:
        values = session.run(names, {name: tensor.numpy() for name, tensor in zip(INPUTS, inputs, strict=True)})
        return {name: torch.from_numpy(value) for name, value in zip(names, values, strict=True)}

    return answer


def _write_openvino(network: SliceNetwork, example: Inputs, names: Sequence[str], path: Path) -> Callable:
    import openvino

    model = openvino.convert_model(
        AsTuple(inference_copy(network, matrix_filter=True)),
        example_input=example,
        input=[(-1, *tensor.shape[1:]) for tensor in example],
    )
    for ports, port_names in ((model.inputs, INPUTS), (model.outputs, names)):
        for port, name in zip(ports, port_names, strict=True):
            port.set_names({name})
    openvino.save_model(model, path, compress_to_fp16=False)
    compiled = openvino.compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def answer(*inputs: Tensor) -> dict[str, Tensor]:
        values = compiled({name: tensor.numpy() for name, tensor in zip(INPUTS, inputs, strict=True)})
        return {name: torch.from_numpy(values[name].copy()) for name in names}

    return answer


_WRITERS = {"torchscript": _write_torchscript, "onnx": _write_onnx, "openvino": _write_openvino}


def _difference(network: SliceNetwork, answer: Callable, image_size: int) -> float:
    worst = 0.0
    for batch in CHECKED_BATCHES:
        inputs = _inputs(batch, image_size)
        expected, got = network(*inputs), answer(*inputs)
        for name, value in expected.items():
            difference = (got[name] - value).abs().max() / value.abs().max().clamp(min=1.0)
            # A NaN is the worst of all, and max() would pass over it.
            worst = max(worst, difference.nan_to_num(nan=float("inf")).item())
    return worst


def _inputs(batch: int, image_size: int) -> Inputs:
    """Noise, always the same; the first slice lacks a phase."""
    generator = torch.Generator().manual_seed(batch)
    image = torch.randn(batch, len(PHASES), image_size, image_size, generator=generator)
    available = torch.ones(batch, len(PHASES), dtype=torch.bool)
    available[0, 1] = False
    return image, available, torch.tensor(NOMINAL_TIMES_S).repeat(batch, 1)


def _require_format(file_format: str, path: Path) -> None:
    if file_format not in ENDINGS:
        msg = f"format {file_format!r} is unknown. Use one of {', '.join(ENDINGS)}"
        raise ConfigurationError(msg)
    if path.suffix != ENDINGS[file_format]:
        msg = f"output_path {path}: the file of {file_format} must end in {ENDINGS[file_format]}"
        raise ConfigurationError(msg)
    if absent := [name for name in _PACKAGES[file_format] if importlib.util.find_spec(name) is None]:
        msg = f"format {file_format} needs {', '.join(absent)}: pip install -r requirements/grid.txt"
        raise ConfigurationError(msg)


def _in_one_line(error: Exception) -> str:
    said = str(error).strip().splitlines()
    return f"{type(error).__name__}, {said[0][:160]}" if said else type(error).__name__
