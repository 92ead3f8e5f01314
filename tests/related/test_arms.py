"""Every arm of the related systems, as its overlay makes it: it learns, and its weights come back."""

from pathlib import Path

import pytest
import torch
from monai.bundle import ConfigParser

from scripts.related.chest_loss import tasks_of

EXPERIMENTS = Path(__file__).resolve().parents[2] / "bundle" / "configs" / "experiments"
CMU = ("cmu_unet", "cmu_punet", "cmu_net")
ENCODERS = {"vgg13": "vgg13_bn", "resnet50": "resnet50"}
# From the papers: batch size and learning rate; w of Dice and focal loss; the focal weight of slices with the organ.
SETTINGS = {"cmu_unet": (10, 1e-2, 1.0, 0.0), "cmu_punet": (10, 1e-2, 1.0, 0.0), "cmu_net": (6, 1e-3, 0.5, 0.5)}
FOCAL = {"cmu_punet": 0.5, "cmu_net": 0.8}
REGIMES = {
    "cr": ["classification", "reconstruction"],
    "sr": ["segmentation", "reconstruction"],
    "dr": ["reconstruction", "detection"],
    "csrd": ["classification", "segmentation", "reconstruction", "detection"],
    "sr_from_c": ["segmentation", "reconstruction"],
}
CHEST = tuple(f"chest_{encoder}_{regime}" for encoder in ENCODERS for regime in REGIMES)


@pytest.fixture(scope="module")
def slices():
    """Four liver slices of 64 x 64, three with a bright liver."""
    generator = torch.Generator().manual_seed(0)
    label = torch.zeros(4, 1, 64, 64)
    label[:3, :, 20:50, 10:40] = 1.0
    return {"image": torch.randn(4, 4, 64, 64, generator=generator) * 0.2 + 2 * label, "label": label}


@pytest.fixture(scope="module")
def chest_slices():
    """Four chest slices of 32 x 32; a nodule in the first."""
    label = torch.zeros(4, 1, 32, 32)
    label[0, 0, 8:18, 4:20] = 1.0
    empty = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}
    empty["masks"] = torch.zeros(0, 32, 32, dtype=torch.uint8)
    nodule = {"boxes": torch.tensor([[4.0, 8.0, 20.0, 18.0]]), "labels": torch.tensor([1])}
    nodule["masks"] = label[0].to(torch.uint8)
    return {
        "image": 0.1 + 0.6 * label + 0.05 * torch.rand(4, 1, 32, 32, generator=torch.Generator().manual_seed(0)),
        "label": label,
        "slice_class": torch.tensor([1, 0, 0, 0]),
        "targets": [nodule, empty, empty, empty],
    }


def overlay(arm):
    return ConfigParser.load_config_file(EXPERIMENTS / f"{arm}.yaml")


def built(compose, arm, **overrides):
    """The network, its loss and its optimizer, from a fixed seed."""
    config = compose(overlay(arm)["arm"]["train"], f"experiments/{arm}.yaml", **overrides)
    torch.manual_seed(0)
    return tuple(config.get_parsed_content(name) for name in ("network_def", "loss_def", "train#optimizer"))


def loss_of(network, loss, batch, *conditions):
    # The same proposals are drawn before and after the step.
    torch.manual_seed(1)
    return loss(network(batch["image"], *conditions), batch)["total"]


def falls_in_a_step(network, loss, optimizer, batch, *conditions):
    network.train()
    before = loss_of(network, loss, batch, *conditions)
    before.backward()
    optimizer.step()
    with torch.no_grad():
        return float(loss_of(network, loss, batch, *conditions)) < float(before.detach())


def comes_back(network, other, image, tmp_path):
    torch.save(network.state_dict(), tmp_path / "model.pt")
    other.load_state_dict(torch.load(tmp_path / "model.pt", weights_only=True))
    with torch.no_grad():
        first, second = network.eval()(image), other.eval()(image)
    tensors = [name for name, value in first.items() if isinstance(value, torch.Tensor)]
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in tensors)


@pytest.mark.parametrize("arm", [*CMU, *CHEST])
def test_an_overlay_changes_top_level_keys_of_its_base(arm, compose):
    content = overlay(arm)
    about = content.pop("arm")
    assert set(content) <= set(compose(about["train"]).get())
    assert about["train"] == about["evaluate"]
    assert about["name"]
    assert about.get("dataset") == ("chest" if arm in CHEST else None)


@pytest.mark.parametrize("arm", CMU)
def test_a_cmu_arm_trains_as_its_paper_says(arm, compose):
    config = compose("cmu_net.yaml", f"experiments/{arm}.yaml")
    weights = config["loss_weights"]
    found = (config["batch_size"], config["learning_rate"], weights["segmentation"], weights["classification"])
    assert found == SETTINGS[arm]
    assert (len(config["stages"]) == 2) == (arm == "cmu_punet")
    assert (config["max_epochs"], config["restart_epochs"], config["image_size"]) == (100, 10, 256)
    if arm in FOCAL:
        assert config["positive"] == FOCAL[arm]


@pytest.mark.parametrize("arm", CHEST)
def test_a_chest_arm_learns_the_tasks_of_its_name(arm, compose):
    config = compose("chest.yaml", f"experiments/{arm}.yaml")
    _, encoder, regime = arm.split("_", 2)
    assert tasks_of(config["loss_weights"]) == REGIMES[regime]
    assert config["encoder"] == ENCODERS[encoder]
    assert overlay(arm)["arm"].get("after") == (f"chest_{encoder}_cr" if regime == "sr_from_c" else None)


@pytest.mark.parametrize("arm", CMU)
def test_a_training_step_lowers_the_loss_of_a_cmu_arm(arm, compose, slices):
    assert falls_in_a_step(*built(compose, arm, **{"network_def#widths": [8, 8, 8, 8, 8]}), slices)


@pytest.mark.parametrize("arm", CMU)
def test_the_weights_of_a_cmu_arm_come_back(arm, compose, slices, tmp_path):
    one, other = (built(compose, arm)[0] for _ in range(2))
    torch.nn.init.normal_(one.segment.weight)
    assert comes_back(one, other, slices["image"], tmp_path)


@pytest.mark.parametrize("arm", CHEST)
def test_a_chest_arm_learns_and_its_weights_come_back(arm, compose, chest_slices, tmp_path):
    network, loss, optimizer = built(compose, arm)
    assert falls_in_a_step(network, loss, optimizer, chest_slices, chest_slices["targets"])
    other = built(compose, arm)[0]
    assert comes_back(network, other, chest_slices["image"], tmp_path)
