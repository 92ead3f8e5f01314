"""The plan: the same folds and seeds for every arm, complete commands, and no mixing of two grids in one folder."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest

from scripts.domain.errors import ConfigurationError, DatasetError
from scripts.experiments.grid.arms import choose_arms
from scripts.experiments.grid.configs import from_text
from scripts.experiments.grid.plan import ROOT, Settings, open_dataset, plan_runs, require_same_settings

ROWS = [
    (f"s{fold}-{name}", name, "train", str(fold)) for fold, name in product(range(5), ("hcc", "hemangioma", "none"))
]
TEST = [("t1", "hcc", "test", ""), ("t2", "hemangioma", "test", "")]


@pytest.fixture
def plan(table, tmp_path):
    """Makes plans over the table."""

    def make(arms="mti_net", folds=(0, 1), seeds=(0,), rows=ROWS + TEST, **settings):
        dataset = open_dataset(table(rows), folds, name=None)
        made = Settings(tmp_path / "out", min_free_mb=0.0, **settings)
        return plan_runs(choose_arms(arms), folds, seeds, {None: dataset}, made)

    return make


def begin(run):
    """Leave what a run leaves when it is cut short."""
    task = run.task()
    run.folder.path.mkdir(parents=True)
    run.folder.write_text(run.folder.config, task.config)
    run.folder.write_text(run.folder.evaluate_config, task.evaluate_config)


# Wrong input first.


def test_a_dataset_without_some_class_is_refused(plan):
    with pytest.raises(DatasetError, match="fold 0 has no hemangioma"):
        plan(rows=[row for row in ROWS if row[1] != "hemangioma"])


def test_an_arm_whose_dataset_is_not_given_is_refused(plan, tmp_path):
    overlay = tmp_path / "other.yaml"
    overlay.write_text("# Overlay.\narm: {dataset: chest}\n")
    runs = plan()
    with pytest.raises(ConfigurationError, match="arm other needs a chest dataset: give --chest_dataset_dir"):
        plan_runs(choose_arms("other", folder=tmp_path), [0], [0], {None: runs[0].dataset}, runs[0].settings)


def test_runs_of_other_settings_are_refused_and_the_difference_is_named(plan):
    begin(plan(overrides={"max_epochs": 3})[0])
    require_same_settings(plan(overrides={"max_epochs": 3}))
    with pytest.raises(
        ConfigurationError, match=r"mti_net/fold0/seed0 was made with other settings: max_epochs: was 3"
    ):
        require_same_settings(plan(overrides={"max_epochs": 4}))
    with pytest.raises(ConfigurationError, match=r"image_size: was 128, is 64"):
        require_same_settings(plan(overrides={"max_epochs": 3, "image_size": 64}))


def test_another_way_of_scoring_is_another_setting(plan):
    begin(plan()[0])
    with pytest.raises(ConfigurationError, match=r"threshold: was 0\.5, is 0\.4"):
        require_same_settings(plan(overrides={"threshold": 0.4}))


# Behaviour.


def test_every_arm_has_the_same_folds_seeds_and_subjects(plan):
    runs = plan(["mti_net", "unet"], folds=(0, 2), seeds=(3, 4))
    assert [run.name for run in runs] == [
        f"{arm}/fold{fold}/seed{seed}" for seed in (3, 4) for fold in (0, 2) for arm in ("mti_net", "unet")
    ]
    for fold in (0, 2):
        assert len({run.parts for run in runs if run.fold == fold}) == 1


def test_the_commands_say_all_that_the_run_is(plan):
    run = plan(overrides={"max_epochs": 3, "batch_size": 8}, arm_overrides={"mti_net": {"network_def#d_model": 64}})[1]
    said = run.training
    assert {"fold": 1, "seed": 0, "keep": "best", "resume": True, "max_epochs": 3}.items() <= said.items()
    assert said["output_dir"] == run.evaluating["output_dir"] == str(run.folder.path)
    assert run.evaluating["ckpt_path"] == str(run.folder.model)
    assert run.evaluating["split"] == "test"
    # Whatever engine could run it: all arms are timed and rounded alike.
    assert run.evaluating["backend"] == "torch"
    assert "fold" not in run.evaluating
    assert run.evaluating["network_def#d_model"] == said["network_def#d_model"] == 64
    # A key of the training alone is none of the evaluation's business.
    assert "max_epochs" not in run.evaluating
    assert run.evaluating["keep_masks"] == ["t1", "t2"]
    task = run.task()
    assert task.training[:3] == ("run", "training", "--config_file")
    assert task.training[task.training.index("--max_epochs") + 1] == "3"
    assert set(task.scored) == {"t1", "t2"}


def test_an_override_that_means_nothing_to_an_arm_is_not_given_to_it(plan):
    (run,) = plan("rule", folds=(0,), overrides={"warmup_iterations": 2, "image_size": 64})
    assert "warmup_iterations" not in run.training
    assert run.training["image_size"] == run.evaluating["image_size"] == 64


def test_without_a_test_split_the_held_out_fold_is_scored(plan):
    run = plan(rows=ROWS)[1]
    assert run.training["keep"] == "last"
    assert run.evaluating["fold"] == 1
    assert "split" not in run.evaluating
    assert set(run.task().scored) == {"s1-hcc", "s1-hemangioma", "s1-none"}


def test_the_config_is_complete_and_names_no_folder_of_the_machine(plan):
    run = plan(overrides={"max_epochs": 3})[0]
    at_home = replace(run, settings=replace(run.settings, output_dir=ROOT / "runs" / "grid"))
    config = from_text(at_home.task().config)
    assert config["output_dir"] == "runs/grid/runs/mti_net/fold0/seed0"
    assert (config["max_epochs"], config["fold"], config["arm"]["name"]) == (3, 0, "MTI-Net")
    assert {"network_def", "loss_def", "optimizer_def", "train", "validate", "training"} <= config.keys()


def test_an_arm_gets_the_weights_of_the_one_before_it(plan, tmp_path, table):
    folder = tmp_path / "overlays"
    folder.mkdir()
    (folder / "first.yaml").write_text("# Overlay.\narm: {name: First}\n")
    (folder / "second.yaml").write_text("# Overlay.\narm: {name: Second, after: first}\n")
    dataset = open_dataset(table(ROWS), [1], name=None)
    first, second = plan_runs(choose_arms("second", folder=folder), [1], [4], {None: dataset}, Settings(tmp_path))
    assert (second.after, first.after) == (first.name, None)
    assert second.training["init_ckpt"] == str(first.folder.model)
    assert "init_ckpt" not in first.training


def test_a_fingerprint_changes_with_the_table_and_with_the_files(table):
    root = table(ROWS)
    before = open_dataset(root, [0], name=None).fingerprint()
    assert open_dataset(root, [1], name=None).fingerprint() == before
    (root / "labelsTr" / "s0-hcc.nii.gz").write_bytes(b"more")
    after = open_dataset(root, [0], name=None).fingerprint()
    assert {key for key in after if after[key] != before[key]} == {"(files)"}
    moved = open_dataset(table([(*ROWS[0][:3], "1"), *ROWS[1:]]), [0], name=None).fingerprint()
    assert moved["s0-hcc"] == "train 1 hcc" != before["s0-hcc"]
