"""A run's config is complete, and two of them are compared by what they would do."""

from __future__ import annotations

import pytest

from scripts.domain.errors import ConfigurationError
from scripts.experiments.grid.arms import CONFIGS, Arm, read_arm
from scripts.experiments.grid.configs import as_text, compose, differences, from_text

TRAIN = CONFIGS / "train.yaml"


@pytest.mark.parametrize("text", ["network_def#widths#x#y: 1", "nowhere#deep#inside: 2"])
def test_an_overlay_that_does_not_fit_is_named(tmp_path, text):
    overlay = tmp_path / "broken.yaml"
    overlay.write_text(text)
    with pytest.raises(ConfigurationError, match=r"broken\.yaml: broken overlay: .*does not fit behind train\.yaml"):
        compose(Arm("broken", overlay), TRAIN, {})


def test_overrides_lie_over_the_overlay_and_it_over_the_base():
    arm = read_arm(CONFIGS / "experiments" / "no_spe.yaml")
    config = compose(arm, TRAIN, {"max_epochs": 3, "network_def#d_model": 64})
    base = from_text(TRAIN.read_text())
    assert config["network_def"] == base["network_def"] | {"fusion": "spatial", "d_model": 64}
    assert (config["max_epochs"], config["batch_size"]) == (3, base["batch_size"])
    assert compose(arm, TRAIN, {})["max_epochs"] == base["max_epochs"]  # the first one left no trace


def test_text_and_back():
    config = compose(read_arm(CONFIGS / "experiments" / "mti_net.yaml"), TRAIN, {})
    assert from_text(as_text(config)) == config


def test_configs_differ_by_what_they_do_and_not_by_where():
    before = {"max_epochs": 3, "network_def": {"widths": [4, 8]}, "dataset_dir": "/a", "arm": {"name": "x"}}
    assert differences(before, before | {"dataset_dir": "/b", "arm": {"name": "y"}, "device": "cuda"}) == []
    after = {"max_epochs": 4, "network_def": {"widths": [4, 16]}, "amp": True}
    assert differences(before, after) == [
        "max_epochs: was 3, is 4",
        "network_def#widths#1: was 8, is 16",
        "amp: was 'absent', is True",
    ]
    (long,) = differences({"training": "$" + "x" * 99}, {"training": "$y"})
    assert long == f"training: was '${'x' * 55}..., is '$y'"
