"""What every compared system keeps, at tiny size."""

from __future__ import annotations

import pytest
import torch

from scripts.domain.errors import CheckpointError, ConfigurationError
from scripts.engines.backends import TorchBackend, make_backend
from scripts.engines.weights import load_network, save_atomically
from scripts.networks.baselines.densenet import DenseNet121
from scripts.networks.baselines.ei_ddpm import EvidentialDiffusion, EvidentialDiffusionLoss
from scripts.networks.baselines.googlenet import GoogLeNet
from scripts.networks.baselines.md_ff import MDFF
from scripts.networks.baselines.mednext import MedNeXt
from scripts.networks.baselines.resnet import ResNet50
from scripts.networks.baselines.resunetpp import ResUNetPlusPlus
from scripts.networks.baselines.swin_unetr import SwinUNETR
from scripts.networks.baselines.transunet import TransUNet
from scripts.networks.baselines.unet import UNet
from scripts.networks.baselines.vgg import VGG16

SEGMENTATION = {
    UNet: {"widths": (8, 16, 16, 32, 32)},
    # Not 8: oneDNN aborts in the backward pass of a 1x1 convolution of stride 2 from 8 channels, channels last.
    ResUNetPlusPlus: {"widths": (16, 16, 16, 16, 32)},
    TransUNet: {
        "layers": (1, 1, 1),
        "dim": 48,
        "depth": 2,
        "heads": 4,
        "mlp_dim": 96,
        "decoder_widths": (32, 16, 16, 8),
    },
    MDFF: {"widths": (4, 8, 8)},
    EvidentialDiffusion: {"channels": (8, 8, 16), "ddim_steps": 3, "samples": 2},
    SwinUNETR: {"feature_size": 12, "window_size": 4},
    MedNeXt: {"variant": "S"},
}
WHOLE_SLICE = {
    VGG16: {"task": "regression", "mlp_ratio": 1 / 64},
    ResNet50: {"task": "regression"},
    DenseNet121: {"task": "regression"},
    GoogLeNet: {"task": "regression"},
}
SMALL = SEGMENTATION | WHOLE_SLICE
LOSSES = {EvidentialDiffusion: EvidentialDiffusionLoss()}
TRACEABLE = [system for system in SMALL if system.traceable]
OTHERS = [system for system in SMALL if not system.traceable]


def make(system):
    torch.manual_seed(3)
    return system(**SMALL[system])


def name_of(system):
    return system.__name__


def task_of(system):
    return "segmentation" if system in SEGMENTATION else "regression"


systems = pytest.mark.parametrize("system", SMALL, ids=name_of)
segmentation_systems = pytest.mark.parametrize("system", SEGMENTATION, ids=name_of)


@systems
def test_three_phases_are_refused(system):
    with pytest.raises(ConfigurationError, match="4 phases"):
        make(system).eval()(torch.zeros(1, 3, 64, 64))


@pytest.mark.parametrize("system", [system for system in SEGMENTATION if system is not SwinUNETR], ids=name_of)
def test_sizes_that_do_not_halve_are_refused(system):
    with pytest.raises(ConfigurationError, match="divisible"):
        make(system).eval()(torch.zeros(1, 4, 66, 64))


@systems
def test_weights_of_another_system_are_refused(system, tmp_path):
    save_atomically({"somebody.else": torch.zeros(1)}, tmp_path / "model.pt")
    with pytest.raises(CheckpointError, match="network_def"):
        load_network(make(system), tmp_path / "model.pt")


@pytest.mark.parametrize("system", OTHERS, ids=name_of)
def test_what_openvino_cannot_compile_is_refused_and_auto_stays_in_pytorch(system):
    pytest.importorskip("openvino")
    network, device = make(system).eval(), torch.device("cpu")
    with pytest.raises(ConfigurationError, match=f"{system.__name__}; use --backend torch"):
        make_backend("openvino", network, device, 1, 64)
    assert isinstance(make_backend("auto", network, device, 1, 64), TorchBackend)


@segmentation_systems
@pytest.mark.parametrize("size", [(64, 64), (32, 48), (96, 80)])
def test_logits_on_the_images_grid(system, size):
    network = make(system).eval()
    with torch.inference_mode():
        outputs = network(torch.randn(2, 4, *size))
    assert set(outputs) == {"segmentation"}
    assert outputs["segmentation"].shape == (2, 1, *size)
    assert outputs["segmentation"].dtype == torch.float32
    assert outputs["segmentation"].isfinite().all()


@systems
def test_what_stands_in_an_absent_phase_does_not_matter(system):
    network = make(system).eval()
    image = torch.randn(2, 4, 64, 64)
    available = torch.tensor([[True, True, True, True], [True, True, False, True]])
    other = image.clone()
    other[:, 2] += 5.0
    with torch.inference_mode():
        before, after = (network(x, available)[task_of(system)] for x in (image, other))
    assert not torch.equal(before[0], after[0])
    torch.testing.assert_close(before[1], after[1])


@systems
def test_a_step_of_the_trainer_lowers_the_loss(system, losses_of):
    before, after = losses_of(make(system), LOSSES.get(system))
    assert after < before


@systems
def test_all_parameters_learn(system, batch):
    network = make(system).train()
    label = [batch["label"]] if system.learns_from_label else []
    outputs = network(batch["image"], batch["available"], batch["times_s"], *label)
    sum(output.square().mean() for output in outputs.values()).backward()
    assert [name for name, parameter in network.named_parameters() if parameter.grad is None] == []


@systems
def test_checkpoint_round_trip(system, losses_of, tmp_path):
    network = make(system)
    losses_of(network, LOSSES.get(system), steps=1)
    save_atomically(network.state_dict(), tmp_path / "model.pt")
    torch.manual_seed(99)
    again = load_network(system(**SMALL[system]), tmp_path / "model.pt")
    image = torch.randn(1, 4, 64, 64)
    with torch.inference_mode():
        expected, answer = (one.eval()(image)[task_of(system)] for one in (network, again))
    torch.testing.assert_close(answer, expected, atol=0, rtol=0)


@systems
def test_the_torch_backend_answers_as_the_network(system, losses_of):
    assert_backend_agrees("torch", system, losses_of)


@pytest.mark.parametrize("system", TRACEABLE, ids=name_of)
def test_openvino_answers_as_the_network(system, losses_of):
    pytest.importorskip("openvino")
    assert_backend_agrees("openvino", system, losses_of)


def assert_backend_agrees(name, system, losses_of):
    """After a step of training, so that batch norms have seen data; one slice is filled up to the compiled two."""
    network = make(system)
    losses_of(network, LOSSES.get(system), steps=1)
    network.eval()
    answers = make_backend(name, network, torch.device("cpu"), 2, 64)
    for count in (2, 1):
        slices = torch.randn(count, 4, 64, 64), torch.ones(count, 4, dtype=torch.bool), torch.zeros(count, 4)
        slices[1][0, 3] = False
        with torch.inference_mode():
            expected = network(*slices)
        torch.testing.assert_close(answers(*slices), expected, atol=1e-3, rtol=1e-3)
