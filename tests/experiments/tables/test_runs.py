"""Reading run folders: what is whole, what is left out, what must not stand in one table."""

import json

import pytest

from scripts.domain.errors import DatasetError
from scripts.experiments.tables.runs import read_grid, require_one_dataset


def test_a_folder_that_is_no_grid_is_refused(tmp_path):
    with pytest.raises(DatasetError, match="has no folder runs"):
        read_grid(tmp_path)


def test_no_run_at_all_is_refused(tmp_path):
    (tmp_path / "runs").mkdir()
    with pytest.raises(DatasetError, match="no finished run"):
        read_grid(tmp_path)


def test_only_unfinished_runs_are_refused_with_their_reasons(grid, row):
    (grid.write("unet", [row("a")]) / "done.json").unlink()
    with pytest.raises(DatasetError, match=r"(?s)no finished run.*unet/fold0/seed0: not finished"):
        read_grid(grid.root)


def truncate(name):
    def damage(folder):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) * 2 // 3])

    return damage


def remove(name):
    return lambda folder: (folder / name).unlink()


def overwrite(name, text):
    return lambda folder: (folder / name).write_text(text)


def fail(folder):
    (folder / "done.json").unlink()
    (folder / "failed.json").write_text(json.dumps({"status": "failed", "reason": "out of memory\nat line 3"}))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (fail, r"unet/fold0/seed0: failed \(out of memory at line 3\)"),
        (remove("done.json"), "not finished"),
        (remove("per_subject.csv"), r"per_subject\.csv: cannot be read"),
        (truncate("per_subject.csv"), r"per_subject\.csv: cannot be read .*not as many cells"),
        (overwrite("per_subject.csv", "case,dice\n"), "has no subject"),
        (overwrite("per_subject.csv", "name\nx\n"), "no column case"),
        (truncate("metrics.json"), r"metrics\.json: cannot be read"),
        (remove("provenance.json"), r"provenance\.json: cannot be read"),
        (overwrite("provenance.json", "[]"), "not an object"),
        (overwrite("provenance.json", "{}"), "split is None, not one of test, fold"),
        (truncate("cost.json"), r"cost\.json: cannot be read"),
        (truncate("training_log.csv"), r"training_log\.csv: cannot be read"),
    ],
)
def test_a_run_that_is_not_whole_is_left_out_and_named(grid, row, damage, message):
    grid.write("mti_net", [row("a")])
    damage(grid.write("unet", [row("a"), row("b")], metrics={"dsc_mean": {"value": 0.8}}))
    read = read_grid(grid.root)
    assert list(read.runs) == ["mti_net"]
    (sentence,) = read.left_out
    with pytest.raises(DatasetError, match=message):
        raise DatasetError(sentence)


def test_a_stray_folder_is_named(grid, row):
    grid.write("mti_net", [row("a")])
    (grid.root / "runs" / "unet" / "fold0" / "seed0-copy").mkdir(parents=True)
    assert "seed0-copy" in read_grid(grid.root).left_out[0]


def test_runs_come_in_order_of_fold_and_seed(grid, row):
    for fold, seed in ((10, 0), (2, 1), (2, 0)):
        grid.write("mti_net", [row("a")], fold=fold, seed=seed)
    runs = read_grid(grid.root).runs["mti_net"]
    assert [(run.fold, run.seed) for run in runs] == [(2, 0), (2, 1), (10, 0)]
    assert runs[0].label == "mti_net/fold2/seed0"
    assert runs[0].hardware == "Test CPU, 2 cores"
    assert runs[0].not_converged() is None


def test_what_is_fitted_at_once_has_no_score_to_level_off(grid, row):
    for arm in ("rule", "unet"):
        (grid.write(arm, [row("a")]) / "training_log.csv").unlink()
    runs = read_grid(grid.root, fitted_at_once=["rule"]).runs
    assert runs["rule"][0].not_converged() is None
    assert runs["unet"][0].not_converged().reason == "no validation score"


def together(grid):
    require_one_dataset(run for runs in read_grid(grid.root).runs.values() for run in runs)


def test_two_splits_are_not_mixed(grid, row):
    grid.write("mti_net", [row("a")], split="test")
    grid.write("unet", [row("a")], split="fold")
    with pytest.raises(DatasetError, match=r"mti_net/fold0/seed0 and unet/fold0/seed0 .* scored on the test"):
        together(grid)


def test_two_datasets_are_not_mixed_though_their_studies_have_the_same_names(grid, row):
    grid.write("mti_net", [row("a")])
    grid.write("unet", [row("a") | {"true_arterial": 2.0}])
    with pytest.raises(DatasetError, match="study a has another truth in each, so the datasets differ"):
        together(grid)


@pytest.mark.parametrize("other", [{"true_lesions": 2}, {"true_class": "hemangioma"}])
def test_other_lesions_are_another_truth(grid, row, other):
    grid.write("mti_net", [row("a")])
    grid.write("unet", [row("a") | other])
    with pytest.raises(DatasetError, match="study a has another truth"):
        together(grid)


def test_the_same_truth_to_the_files_digits_is_the_same_dataset(grid, row):
    grid.write("mti_net", [row("a") | {"true_arterial": 1.20001}])
    grid.write("unet", [row("a") | {"true_arterial": 1.20002}])
    together(grid)


def test_runs_that_scored_different_studies_are_not_mixed(grid, row):
    grid.write("mti_net", [row("a"), row("b")])
    grid.write("unet", [row("a")])
    with pytest.raises(DatasetError, match="they scored different studies, such as b"):
        together(grid)


def test_folds_hold_out_different_studies(grid, row):
    grid.write("mti_net", [row("a")], fold=0, split="fold")
    grid.write("mti_net", [row("b")], fold=1, split="fold")
    together(grid)
    grid.write("unet", [row("a")], fold=2, split="fold")
    with pytest.raises(DatasetError, match="study a is held out in both folds"):
        together(grid)
