"""Arms are found by name; a broken overlay is named before anything runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.domain.errors import ConfigurationError
from scripts.experiments.grid.arms import CONFIGS, EXPERIMENTS, choose_arms, read_arm

IMAGE_NETWORKS = ("vgg16", "resnet50", "densenet121", "googlenet")
CHEST_REGIMES = ("cr", "sr", "dr", "csrd", "sr_from_c")


@pytest.fixture
def overlays(tmp_path: Path) -> Path:
    (tmp_path / "one.yaml").write_text("# Overlay.\nadversarial: false\narm: {name: One}\n")
    (tmp_path / "two.yaml").write_text("# Overlay.\narm: {name: Two, after: one}\n")
    (tmp_path / "three.yaml").write_text("# Overlay.\narm: {name: Three, train: evaluate.yaml, dataset: chest}\n")
    return tmp_path


# Wrong input first.


def test_an_unknown_arm_is_refused_with_the_known_ones(overlays):
    with pytest.raises(ConfigurationError, match=r"unknown arm 'four'\. Known are one, three, two, and all"):
        choose_arms(["one", "four"], folder=overlays)


def test_an_unknown_arm_left_out_is_refused_too(overlays):
    with pytest.raises(ConfigurationError, match="without: unknown arm 'tow'"):
        choose_arms("all", without=["tow"], folder=overlays)


def test_a_grid_of_no_arms_is_refused(overlays):
    with pytest.raises(ConfigurationError, match="no arm is left"):
        choose_arms("one", without=["one"], folder=overlays)


def test_an_arm_that_starts_from_one_left_out_is_refused(overlays):
    with pytest.raises(ConfigurationError, match="arm two starts from the weights of one, which --without leaves out"):
        choose_arms("all", without=["one"], folder=overlays)
    assert [arm.key for arm in choose_arms("all", without=["one", "two"], folder=overlays)] == ["three"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1", "not a YAML file"),
        ("just words", "must be mappings"),
        ("arm: words", "must be mappings"),
        ("arm: {train: nowhere.yaml}", "arm.train is 'nowhere.yaml', and there is no such file"),
        ("arm: {after: nobody}", "arm.after is 'nobody', and there is no such arm"),
        ("arm: {after: broken}", "goes round in a circle: broken after broken"),
    ],
)
def test_a_broken_overlay_is_named(overlays, text, message):
    (overlays / "broken.yaml").write_text(text)
    with pytest.raises(ConfigurationError, match=message) as refused:
        choose_arms("broken", folder=overlays)
    assert "broken" in str(refused.value)
    assert [arm.key for arm in choose_arms("one", folder=overlays)] == ["one"]  # the others can be run


# Behaviour.


def test_an_arm_comes_after_the_one_that_it_starts_from(overlays):
    assert [arm.key for arm in choose_arms("two", folder=overlays)] == ["one", "two"]
    assert [arm.key for arm in choose_arms("all", folder=overlays)] == ["one", "three", "two"]
    assert [arm.key for arm in choose_arms("all", without=["three"], folder=overlays)] == ["one", "two"]


def test_an_arm_names_its_configs_and_its_dataset(overlays):
    arm = read_arm(overlays / "three.yaml")
    assert (arm.train, arm.evaluate) == (CONFIGS / "evaluate.yaml", CONFIGS / "evaluate.yaml")
    assert (arm.dataset, arm.after, arm.estimated) == ("chest", None, True)


def test_an_arm_may_say_that_no_miniature_tells_its_time():
    assert not read_arm(EXPERIMENTS / "nnunet.yaml").estimated


def test_every_system_that_is_compared_is_an_arm():
    arms = choose_arms("all")
    assert {arm.key for arm in arms} == {path.stem for path in EXPERIMENTS.glob("*.yaml")}
    paper = {"unet", "resunetpp", "transunet", "ei_ddpm", "md_ff", "rule"}
    paper |= {f"{name}_{task}" for name in IMAGE_NETWORKS for task in ("regression", "classification")}
    paper |= {"mti_net", "no_mdief", "no_spe", "no_spa", "no_tim", "no_tdd", "seg_only", "seg_reg", "seg_cls"}
    related = {"cmu_unet", "cmu_punet", "cmu_net"}
    related |= {f"chest_{name}_{regime}" for name in ("vgg13", "resnet50") for regime in CHEST_REGIMES}
    beyond = {"swin_unetr", "mednext", "nnunet", "curve_logistic"}
    assert {arm.key for arm in arms} == paper | related | beyond
