"""The configs: all parse, agree with each other and with the requirements, and switches remove computation."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from monai.bundle import ConfigParser, ConfigWorkflow

from scripts.networks.fusion import WeightedFusion

CONFIGS = Path(__file__).resolve().parents[2] / "bundle" / "configs"
REQUIREMENTS = CONFIGS.parents[1] / "requirements" / "core.txt"
YAML = sorted(CONFIGS.rglob("*.yaml"))

# Overlays of train.yaml; those that name a base of their own (scripts/related) are tested in tests/related.
EXPERIMENTS = [
    path
    for path in sorted((CONFIGS / "experiments").glob("*.yaml"))
    if "train" not in ConfigParser.load_config_file(path).get("arm", {})
]
ARMS_OF_MTI_NET = ("mti_net", "no_mdief", "no_spe", "no_spa", "no_tim", "no_tdd", "seg_only", "seg_reg", "seg_cls")
NETWORKS = ("train.yaml", "evaluate.yaml", "inference.yaml")
MTINET = "scripts.networks.mtinet.MTINet"
TASKS = ("segmentation", "regression", "classification")


def parsed(*names: str) -> ConfigParser:
    parser = ConfigParser()
    parser.read_config([str(CONFIGS / name) for name in names])
    return parser


def overlaid(overlay: str) -> ConfigParser:
    return parsed("train.yaml", overlay)


def network_of(overlay: str | None = None) -> torch.nn.Module:
    parser = parsed("train.yaml") if overlay is None else overlaid(overlay)
    return parser.get_parsed_content("network_def")


def size(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("path", YAML, ids=lambda path: path.stem)
def test_it_parses_and_says_first_what_it_is_for(path):
    assert path.read_text().startswith("# ")
    assert ConfigParser.load_config_file(path)


@pytest.mark.parametrize("path", YAML, ids=lambda path: path.stem)
def test_no_macros_which_open_files_relative_to_the_working_directory(path):
    values = re.findall(r"(?:^|[:\-])\s*['\"]?%\S+", path.read_text(), flags=re.MULTILINE)
    assert values == []


def test_one_network_in_all_configs():
    definitions = [parsed(name)["network_def"] for name in NETWORKS]
    assert definitions[0] == definitions[1] == definitions[2]
    assert len({parsed(name)["image_size"] for name in NETWORKS}) == 1


@pytest.mark.parametrize("name", NETWORKS)
def test_the_zoos_run_ids_and_ours_are_the_same(name):
    ours = {"train.yaml": "training", "evaluate.yaml": "evaluating", "inference.yaml": "inferring"}[name]
    parser = parsed(name)
    assert parser["run"] == f"@{ours}"
    assert "initialize" in parser


def test_metadata_agrees_with_the_requirements():
    pins = dict(line.split("==") for line in REQUIREMENTS.read_text().splitlines() if "==" in line)
    metadata = json.loads((CONFIGS / "metadata.json").read_text())
    assert metadata["monai_version"] == pins["monai"]
    assert metadata["pytorch_version"] == pins["torch"]
    assert metadata["numpy_version"] == pins["numpy"]
    packages = metadata["required_packages_version"]
    assert packages == {name: pins[name] for name in packages}


def test_the_changelog_holds_the_version():
    metadata = json.loads((CONFIGS / "metadata.json").read_text())
    assert metadata["version"] in metadata["changelog"]


@pytest.mark.parametrize("path", [*EXPERIMENTS, CONFIGS / "paper.yaml"], ids=lambda path: path.stem)
def test_an_overlay_builds_a_network_that_answers(path):
    network = network_of(str(path.relative_to(CONFIGS))).eval()
    with torch.inference_mode():
        outputs = network(torch.randn(1, 4, 32, 48))
    answered = set(outputs) - {"localisation"}
    assert answered
    assert answered == (tasks_of(path) or answered & set(TASKS))


def tasks_of(path: Path) -> set[str]:
    """Those of MTI-Net's ``network_def``; of another system those of the paper's tables that it is in."""
    definition = overlaid(str(path.relative_to(CONFIGS)))["network_def"]
    if definition["_target_"] == MTINET:
        return set(definition.get("tasks", TASKS))
    return set(ConfigParser.load_config_file(path)["arm"]["tables"]) & set(TASKS)


@pytest.mark.parametrize("base", NETWORKS)
@pytest.mark.parametrize("path", [*EXPERIMENTS, CONFIGS / "paper.yaml"], ids=lambda path: path.stem)
def test_an_overlay_fits_behind_every_config_of_the_network(path, base):
    definition = parsed(base, str(path.relative_to(CONFIGS)))["network_def"]
    assert definition == overlaid(str(path.relative_to(CONFIGS)))["network_def"]


@pytest.mark.parametrize("overlay", ["no_spe", "no_spa"])
def test_without_a_branch_there_are_fewer_parameters(overlay):
    assert size(network_of(f"experiments/{overlay}.yaml")) < size(network_of())


def test_without_mdief_no_domain_is_weighted():
    def has_weights(network: torch.nn.Module) -> bool:
        return any(isinstance(module, WeightedFusion) for module in network.modules())

    assert has_weights(network_of())
    assert not any(has_weights(network_of(f"experiments/{name}.yaml")) for name in ("no_mdief", "no_spe", "no_spa"))


def test_segmentation_alone_has_no_head():
    network = network_of("experiments/seg_only.yaml")
    assert network.head is None
    assert size(network) < size(network_of())


@pytest.mark.parametrize("overlay", ["seg_reg", "seg_cls"])
def test_a_removed_task_has_no_parameters(overlay):
    assert size(network_of("experiments/seg_only.yaml")) < size(network_of(f"experiments/{overlay}.yaml"))
    assert size(network_of(f"experiments/{overlay}.yaml")) < size(network_of())


@pytest.mark.parametrize("overlay", ["no_tdd", "seg_only", "seg_reg", "seg_cls"])
def test_without_tdd_nobody_judges(overlay):
    config = overlaid(f"experiments/{overlay}.yaml")
    assert config.get_parsed_content("discriminator") is None
    assert config.get_parsed_content("discriminator_optimizer") is None


@pytest.mark.parametrize("overlay", ["mti_net", "vgg16_classification"])
@pytest.mark.parametrize("classes", [2, 3])
def test_the_discriminator_knows_the_networks_classes(overlay, classes):
    config = overlaid(f"experiments/{overlay}.yaml")
    config.update({"network_def#classes": classes})
    assert config.get_parsed_content("discriminator_def").tokenise.in_features == 1 + classes


def test_without_tim_the_loss_has_no_such_term():
    loss = overlaid("experiments/no_tim.yaml").get_parsed_content("train#loss")
    assert "tim" not in terms_of(loss)
    assert "tim" in terms_of(parsed("train.yaml").get_parsed_content("train#loss"))


def terms_of(loss: torch.nn.Module) -> set[str]:
    batch = two_slices()
    network = network_of("experiments/no_spe.yaml").eval()
    return set(loss(network(batch["image"]), batch, None))


def two_slices() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    batch = {
        "image": torch.randn(2, 4, 32, 32),
        "label": torch.zeros(2, 1, 32, 32),
        "curve": torch.randn(2, 4),
        "tumour_class": torch.tensor([0, 1]),
        "available": torch.ones(2, 4, dtype=torch.bool),
    }
    batch["label"][..., 10:20, 8:16] = 1.0
    return batch


@pytest.mark.parametrize("arm", ARMS_OF_MTI_NET)
def test_a_training_step_lowers_the_loss_of_an_arm_of_mti_net(arm):
    batch = two_slices()
    config = overlaid(f"experiments/{arm}.yaml")
    network, loss = config.get_parsed_content("network_def").train(), config.get_parsed_content("loss_def")
    optimizer = config.get_parsed_content("optimizer_def")

    def total() -> torch.Tensor:
        torch.manual_seed(1)  # the same dropout
        return loss(network(batch["image"]), batch, None)["total"]

    before = total()
    before.backward()
    assert all(parameter.grad is not None for parameter in network.parameters() if parameter.requires_grad)
    optimizer.step()
    with torch.no_grad():
        assert total() < before.detach()


def workflow(name: str, kind: str, overrides: dict) -> ConfigWorkflow:
    made = ConfigWorkflow(config_file=str(CONFIGS / name), workflow_type=kind, logging_file=False, **overrides)
    made.initialize()
    return made


def test_training_has_every_property_that_monai_asks_for(cohort, short, tmp_path):
    overrides = short | {"dataset_dir": str(cohort), "output_dir": str(tmp_path / "train")}
    assert workflow("train.yaml", "train", overrides).check_properties() == []


@pytest.mark.parametrize("name", ["evaluate.yaml", "inference.yaml"])
def test_inference_has_every_property_that_monai_asks_for(name, cohort, narrow, tmp_path):
    overrides = narrow | {"dataset_dir": str(cohort), "output_dir": str(tmp_path / "out")}
    assert workflow(name, "infer", overrides).check_properties() == []
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("overlay", ["paper.yaml", *(f"experiments/{path.name}" for path in EXPERIMENTS)])
def test_an_overlays_trainer_can_be_built(overlay, cohort, short, tmp_path):
    parser = overlaid(overlay)
    if parser["network_def"]["_target_"] != MTINET:
        short = {key: value for key, value in short.items() if not key.startswith("network_def#")}
    overrides = short | {"dataset_dir": str(cohort), "output_dir": str(tmp_path / "train")}
    parser.update(overrides | {"tensorboard": False})
    trainer = parser.get_parsed_content("train#trainer")
    assert (trainer.discriminator is not None) == parser["adversarial"]
