"""The configs that are measured are the bundle's own, but for what is changed on purpose."""

from __future__ import annotations

import torch
from monai.bundle import ConfigParser

from scripts.bench.conditions import Conditions
from scripts.engines.workflows import CONFIGS
from scripts.studies.layout import read_dataset


def _written(name: str) -> dict:
    return ConfigParser.load_config_file(CONFIGS / name)


def test_default_conditions_are_those_of_the_targets(tmp_path):
    config = Conditions(tmp_path).inference_config()
    written = _written("inference.yaml")
    assert config["image_size"] == 256
    assert config["network_def"] == written["network_def"]
    assert (config["batch_size"], config["backend"]) == (written["batch_size"], written["backend"])
    assert config.get_parsed_content("device") == torch.device("cpu")
    assert Conditions(tmp_path).study_shape == (256, 256, 32)
    assert Conditions(tmp_path).runs >= 5


def test_training_keeps_what_is_not_changed_in_train_yaml(conditions):
    config, written = conditions.training_config({"max_epochs": 2}), _written("train.yaml")
    assert config["train"] == written["train"]
    assert (config["amp"], config["learning_rate"]) == (written["amp"], written["learning_rate"])
    assert config["max_epochs"] == 2


def test_discriminator_plays_from_the_first_epoch(conditions):
    assert conditions.training_config()["adversarial_warmup_epochs"] == 0


def test_cohort_serves_every_measurement_and_is_made_once(conditions):
    cases = read_dataset(conditions.dataset_dir)
    assert sorted(case.split for case in cases) == ["test", "train", "train", "train", "train", "val"]
    assert all(case.tumour_class in ("hcc", "hemangioma") for case in cases if case.split != "train")
    assert conditions.dataset_dir == conditions.dataset_dir
