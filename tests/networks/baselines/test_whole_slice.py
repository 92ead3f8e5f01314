"""VGG-16, ResNet-50, DenseNet-121 and GoogLeNet: their tasks, their size, and parity with another library's."""

from __future__ import annotations

import pytest
import timm
import torch
import torchvision

from scripts.domain.errors import CheckpointError, ConfigurationError
from scripts.engines.weights import load_network, save_atomically
from scripts.networks.baselines import googlenet
from scripts.networks.baselines.densenet import DenseNet121
from scripts.networks.baselines.googlenet import GoogLeNet
from scripts.networks.baselines.resnet import ResNet50
from scripts.networks.baselines.vgg import VGG16

SMALL = {VGG16: {"mlp_ratio": 1 / 64}, ResNet50: {}, DenseNet121: {}, GoogLeNet: {}}
WITH_STATISTICS = [system for system in SMALL if system.batch_statistics]

# Parameters with three channels and 1000 classes (VGG's paper, table 2: 138 M; torchvision's pages of the others,
# GoogLeNet without its auxiliary heads), the first layer's kernel and maps, and what the last layer reads.
PUBLISHED = {
    VGG16: (138_357_544, 3, 64, 4096),
    ResNet50: (25_557_032, 7, 64, 2048),
    DenseNet121: (7_978_856, 7, 64, 1024),
    GoogLeNet: (6_624_904, 7, 64, 1024),
}


def name_of(value):
    return getattr(value, "__name__", None)


systems = pytest.mark.parametrize("system", SMALL, ids=name_of)


def make(system, task="regression"):
    torch.manual_seed(3)
    return system(task=task, **SMALL[system])


@systems
def test_unknown_tasks_and_numbers_of_classes_are_refused(system):
    with pytest.raises(ConfigurationError, match=r"task must be one of.*got 'segmentation'"):
        system(task="segmentation")
    with pytest.raises(ConfigurationError, match=r"classes must be 2 .* or 3"):
        system(task="classification", classes=5)


@pytest.mark.parametrize("system", WITH_STATISTICS, ids=name_of)
def test_one_tiny_slice_is_too_few_to_train_batch_norm_on(system):
    network = make(system).train()
    with pytest.raises(ConfigurationError, match="batch_size 2 or more, or image_size 64"):
        network(torch.randn(1, 4, 32, 32))
    network(torch.randn(2, 4, 32, 32))
    network.eval()(torch.randn(1, 4, 32, 32))


def test_missing_imagenet_weights_are_said_in_one_line(monkeypatch):
    def offline(*args, **kwargs):
        raise OSError("no route to host\nand forty lines more")

    monkeypatch.setattr(timm, "create_model", offline)
    monkeypatch.setattr(googlenet, "torchvision_googlenet", offline)
    for system in SMALL:
        with pytest.raises(
            ConfigurationError, match=r"ImageNet weights of \w+ cannot be had.*pretrained: false"
        ) as said:
            system(task="regression", pretrained=True)
        assert "\n" not in str(said.value)


@systems
def test_the_command_lines_false_asks_for_no_weights(system, monkeypatch):
    def offline(*args, **kwargs):
        raise OSError("no route to host")

    # What timm and torchvision fetch weights with; random ones need neither.
    monkeypatch.setattr(timm.models._builder, "load_pretrained", offline)
    monkeypatch.setattr(googlenet, "_imagenet", offline)
    with torch.device("meta"):
        system(task="regression", pretrained="false")


@systems
@pytest.mark.parametrize("pretrained", [False, "false"])
def test_random_kernels_tell_all_phases_apart(system, pretrained):
    network = system(pretrained=pretrained, **({"task": "regression"} | SMALL[system]))
    first = next(each.weight for each in network.modules() if isinstance(each, torch.nn.Conv2d))
    phases = first.detach().transpose(0, 1).flatten(1)
    assert phases.shape[0] == 4
    # Independent draws are nearly uncorrelated; repeated colours are the same up to a factor.
    assert (torch.corrcoef(phases) - torch.eye(4)).abs().max() < 0.2


def test_other_faults_of_a_backbone_are_not_taken_for_missing_weights(monkeypatch):
    def out_of_memory(*args, **kwargs):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(timm, "create_model", out_of_memory)
    with pytest.raises(RuntimeError, match="out of memory"):
        ResNet50(task="regression")


def test_weights_of_another_task_are_refused(tmp_path):
    save_atomically(make(GoogLeNet).state_dict(), tmp_path / "model.pt")
    with pytest.raises(CheckpointError, match="network_def"):
        load_network(make(GoogLeNet, "classification"), tmp_path / "model.pt")


@systems
@pytest.mark.parametrize(("task", "outputs"), [("regression", 4), ("classification", 2)])
def test_published_size_but_for_the_first_and_the_last_layer(system, task, outputs, parameters_of):
    published, kernel, maps, features = PUBLISHED[system]
    one_more_channel = kernel**2 * maps
    expected = published + one_more_channel - (features + 1) * 1000 + (features + 1) * outputs
    assert parameters_of(system, task=task) == expected


@systems
@pytest.mark.parametrize("size", [64, 128, 256])
def test_slices_of_every_image_size(system, size):
    network = make(system).eval()
    with torch.inference_mode():
        outputs = network(torch.randn(1, 4, size, size))
    assert set(outputs) == {"regression"}
    assert outputs["regression"].shape == (1, 4)
    assert outputs["regression"].dtype == torch.float32
    assert outputs["regression"].isfinite().all()


@pytest.mark.parametrize("classes", [2, 3])
def test_classification_has_a_logit_a_class(classes):
    outputs = GoogLeNet(task="classification", classes=classes).eval()(torch.randn(3, 4, 64, 48))
    assert {name: value.shape for name, value in outputs.items()} == {"classification": (3, classes)}


@systems
def test_a_batch_of_one_slice_trains(system):
    network = make(system).train()
    network(torch.randn(1, 4, 64, 64))["regression"].square().mean().backward()
    assert all(each.grad.isfinite().all() for each in network.parameters())


@systems
def test_mixed_precision_still_answers_in_float32(system):
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.no_grad():
        assert make(system).eval()(torch.randn(1, 4, 64, 64))["regression"].dtype == torch.float32


@systems
def test_a_step_of_the_trainer_lowers_the_loss_of_the_class(system, losses_of):
    before, after = losses_of(make(system, "classification"))
    assert after < before


@pytest.mark.parametrize(
    ("system", "reference"),
    [
        (ResNet50, torchvision.models.resnet50),
        (DenseNet121, torchvision.models.densenet121),
        (
            GoogLeNet,
            lambda num_classes: torchvision.models.GoogLeNet(num_classes, aux_logits=False, init_weights=False),
        ),
    ],
    ids=name_of,
)
def test_parity_with_torchvision_on_three_phases(system, reference):
    """The fourth channel's kernel is zero; everything else is torchvision's."""
    torch.manual_seed(0)
    reference = reference(num_classes=4).eval()
    weights = reference.state_dict()
    first = next(name for name, value in weights.items() if value.shape[1:2] == (3,))
    weights[first] = torch.nn.functional.pad(weights[first], (0, 0, 0, 0, 0, 1))
    network = make(system).eval()
    network.backbone.load_state_dict(weights)
    image = torch.randn(2, 4, 64, 96)
    with torch.inference_mode():
        torch.testing.assert_close(network(image)["regression"], reference(image[:, :3]), atol=1e-5, rtol=1e-4)


def test_parity_of_vggs_convolutions_with_torchvision():
    network = make(VGG16).eval()
    reference = torchvision.models.vgg16().features
    reference[0] = torch.nn.Conv2d(4, 64, 3, padding=1)
    reference.load_state_dict(network.backbone.features.state_dict())
    image = torch.randn(1, 4, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(network.backbone.features(image), reference(image))
