"""What the tables read of an overlay."""

import pytest

from scripts.domain.errors import ConfigurationError
from scripts.experiments.grid.arms import EXPERIMENTS
from scripts.experiments.tables.arms import Arm, apart, read_arms
from scripts.experiments.tables.declaration import TABLE_KEYS, TABLES

TABLES_THAT_ARE = ("segmentation", "ablation")


def test_a_folder_without_overlays_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="no overlay"):
        read_arms(tmp_path, TABLES_THAT_ARE)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "broken overlay, not a YAML file"),
        ("just words", "must be mappings"),
        ("batch_size: 2", "says no name"),
        ("arm: {tables: [ablation]}", "says no name"),
        ("arm: {name: X, tables: [ablations]}", r"\['ablations'\]. Use a list of segmentation, ablation"),
        ("arm: {name: X, tables: 3}", "arm.tables is 3. Use a list of segmentation, ablation"),
        ("arm: {name: X, tables: [ablation], reported: {dsc: high}}", "Give one number a column"),
        ("arm: {name: X, tables: [ablation], reported: 77.3}", "Give one number a column"),
    ],
)
def test_a_broken_overlay_is_named(tmp_path, text, message):
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(ConfigurationError, match=rf"x\.yaml: .*{message}"):
        read_arms(tmp_path, TABLES_THAT_ARE)


def test_all_broken_overlays_are_named_at_once(tmp_path):
    for name in ("x", "y"):
        (tmp_path / f"{name}.yaml").write_text("a: 1")
    with pytest.raises(ConfigurationError, match=r"(?s)x\.yaml.*y\.yaml"):
        read_arms(tmp_path, TABLES_THAT_ARE)


def test_an_arm_is_read_without_running_its_expressions(tmp_path):
    (tmp_path / "x.yaml").write_text(
        "# Overlay.\nloss: $1/0\narm: {name: UNet, tables: [segmentation], reported: {dsc: 77.34}, note: from scratch}"
    )
    arm = read_arms(tmp_path, TABLES_THAT_ARE)["x"]
    assert (arm.key, arm.name, arm.tables, arm.note) == ("x", "UNet", ("segmentation",), "from scratch")
    assert arm.reported == {"dsc": 77.34}


def test_every_overlay_of_the_bundle_is_an_arm():
    arms = read_arms(EXPERIMENTS, TABLE_KEYS)
    assert "mti_net" in arms
    columns = {table.word: {column.key for column in table.columns} for table in TABLES}
    for arm in arms.values():
        shown = set().union(*(columns[name] for name in arm.tables))
        assert arm.reported.keys() <= shown, arm.key


def test_the_papers_numbers_stand_in_the_overlays():
    arms = read_arms(EXPERIMENTS, TABLE_KEYS)
    assert arms["mti_net"].reported == {"dsc": 85.23, "iou": 75.48, "mae": 44.35, "accuracy": 92.8}
    assert arms["no_mdief"].reported == {"dsc": 81.67, "iou": 71.29, "mae": 65.25}


def test_arms_of_the_same_name_are_told_apart_by_their_keys():
    arms = {key: Arm(key, name, ()) for key, name in (("a_reg", "A"), ("a_cls", "A"), ("b", "B"))}
    assert apart(arms) == {"a_reg": "A (a_reg)", "a_cls": "A (a_cls)", "b": "B"}
