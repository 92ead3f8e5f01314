"""Leakage: whatever a fold trains on or chooses by is apart from what it is scored on, for every arm."""

from __future__ import annotations

from itertools import product

import pytest
from monai.bundle import ConfigParser

from scripts.domain.errors import ConfigurationError, DatasetError
from scripts.experiments.grid.arms import EXPERIMENTS, choose_arms, read_arm
from scripts.experiments.grid.configs import from_text
from scripts.experiments.grid.parts import (
    Subject,
    liver_subjects,
    other_subjects,
    parts_of,
    require_classes,
    require_folds,
    spread,
)
from scripts.experiments.grid.plan import Run, Settings, open_dataset
from scripts.related.chest_phantom import write_chest_cohort

FOLDS = range(5)
CLASSES = ("hcc", "hemangioma")
IN_FOLDS = [
    (f"s{fold}{name[:3]}{number}", name, "train" if number else "val", str(fold))
    for fold, name, number in product(FOLDS, CLASSES, range(2))
]
TESTED = [(f"t{name[:3]}{number}", name, "test", "") for name, number in product(CLASSES, range(2))]
DATASETS = pytest.mark.parametrize("tested", [True, False], ids=["with a test split", "without"])

LIVER_ARMS = [arm for arm in choose_arms("all") if arm.dataset is None and "train" in from_text(arm.train.read_text())]
"""Those that train a network on the liver studies; a reader without one has no such config."""


# Wrong input first.


def test_a_dataset_without_a_table_is_refused(tmp_path):
    for read in (liver_subjects, other_subjects):
        with pytest.raises(DatasetError, match=r"subjects\.csv: no such file\. The grid takes its folds from there"):
            read(tmp_path)


def test_another_kind_of_table_needs_the_same_columns(tmp_path):
    (tmp_path / "subjects.csv").write_text("case,fold\na,0\n")
    with pytest.raises(DatasetError, match=r"lacks the column\(s\) split"):
        other_subjects(tmp_path)


def test_a_fold_that_is_no_number_is_named(tmp_path):
    (tmp_path / "subjects.csv").write_text("case,split,fold\na,train,0\nb,train,first\n")
    with pytest.raises(DatasetError, match=r"subjects\.csv: the fold of b is no whole number"):
        other_subjects(tmp_path)


def test_folds_that_the_dataset_does_not_have_are_refused(table):
    subjects = liver_subjects(table([row for row in IN_FOLDS if row[3] in "02"]))
    with pytest.raises(ConfigurationError, match="no subject is in fold 1, 3; its table has only 0, 2"):
        require_folds(subjects, [0, 1, 3], "here")
    require_folds(subjects, [0, 2], "here")
    unfolded = liver_subjects(table([(*row[:3], "") for row in IN_FOLDS]))
    with pytest.raises(ConfigurationError, match="its table has none"):
        require_folds(unfolded, [0], "here")


def test_a_class_that_a_fold_does_not_teach_is_refused(table):
    subjects = liver_subjects(table([row for row in IN_FOLDS if row[1] == "hcc" or row[3] == "3"]))
    require_classes(subjects, parts_of(subjects, 0), "here", CLASSES)
    with pytest.raises(DatasetError, match="here: fold 3 has no hemangioma among the 8 subjects"):
        require_classes(subjects, parts_of(subjects, 3), "here", CLASSES)


@pytest.mark.parametrize(("split", "fold"), [("train", 1), ("val", 1), ("test", None)])
def test_a_subject_in_two_parts_is_refused(split, fold):
    subjects = [Subject("a", "train", 1, "hcc"), Subject("b", "val", 0, "hcc"), Subject("c", "test", None, "hcc")]
    twice = Subject("b" if split != "test" else "a", split, fold, "hcc")
    with pytest.raises(DatasetError, match=f"fold 0: {twice.case} would be in two parts"):
        parts_of([*subjects, twice], 0)


# Behaviour.


@DATASETS
@pytest.mark.parametrize("fold", FOLDS)
def test_parts_are_apart_and_complete(table, tested, fold):
    parts = parts_of(liver_subjects(table(IN_FOLDS + TESTED * tested)), fold)
    test = {row[0] for row in TESTED} if tested else set()
    held_out = {row[0] for row in IN_FOLDS if row[3] == str(fold)}
    assert set(parts.training) == {row[0] for row in IN_FOLDS} - held_out
    assert set(parts.validation) == held_out
    assert set(parts.scored) == (test or held_out)
    # Where the scored subjects are those validated on, nothing may be chosen by them.
    assert (parts.split, parts.keep) == (("test", "best") if tested else ("fold", "last"))


def test_a_test_split_without_labels_is_no_test_split(table):
    root = table(IN_FOLDS + TESTED)
    for file in (root / "labelsTs").iterdir():
        file.unlink()
    parts = parts_of(liver_subjects(root), 1)
    assert (parts.split, parts.scored) == ("fold", parts.validation)


def test_a_few_are_of_each_class_and_with_a_lesion_first():
    subjects = [Subject(str(n), "train", 0, name) for n, name in enumerate(["none", "hcc", "hcc", "hcc", "hemangioma"])]
    assert [subject.case for subject in spread(subjects, 3)] == ["1", "4", "2"]
    assert [subject.tumour_class for subject in spread(subjects, 9)][-1] == "none"


@DATASETS
@pytest.mark.parametrize("arm", LIVER_ARMS, ids=lambda arm: arm.key)
def test_what_an_arms_own_configs_read_is_what_the_plan_says(table, tested, arm, tmp_path):
    """The datasets that the commands of a run would build, against the table itself."""
    root = table(IN_FOLDS + TESTED * tested)
    dataset = open_dataset(root, FOLDS, name=None)
    run = Run(arm, 3, 0, dataset, Settings(tmp_path / "out"))
    train, evaluate = (ConfigParser(from_text(text)) for text in (run.task().config, run.task().evaluate_config))
    trained, chosen_by = (
        {case.case for case in train.get_parsed_content(f"{part}#dataset#cases")} for part in ("train", "validate")
    )
    # CMU-Net's evaluation selects its cases in code; every run's table is checked against the part besides.
    scored = set(run.parts.scored)
    if "dataset" in evaluate:
        assert scored == {case.case for case in evaluate.get_parsed_content("dataset#cases")}

    held_out = {row[0] for row in IN_FOLDS if row[3] == "3"}
    test = {row[0] for row in TESTED} if tested else set()
    assert trained == {row[0] for row in IN_FOLDS} - held_out
    assert scored == (test or held_out)
    assert not trained & scored
    if tested:
        assert not chosen_by & scored
        assert train["keep"] == "best"
    else:
        assert train["keep"] == "last"
        assert train["train"].get("early_stop", {}).get("patience") is None
    assert train["validate"]["best_weights"]["keep"] == "@keep"


def test_a_class_that_a_chest_fold_does_not_teach_is_refused(tmp_path):
    write_chest_cohort(12, 3, tmp_path / "chests", shape=(64, 64, 4))
    table = tmp_path / "chests" / "subjects.csv"
    header, *rows = table.read_text().splitlines()
    table.write_text("\n".join([header, *(row for row in rows if ",nodule," not in row)]) + "\n")
    with pytest.raises(DatasetError, match=r"chests: fold \d has no nodule among the \d subjects"):
        open_dataset(tmp_path / "chests", [0], name="chest")


def test_the_chest_arms_keep_their_own_subjects_apart(tmp_path):
    root = tmp_path / "chests"
    write_chest_cohort(12, 3, root, shape=(64, 64, 4))
    dataset = open_dataset(root, [0], name="chest")
    run = Run(read_arm(EXPERIMENTS / "chest_vgg13_cr.yaml"), 0, 0, dataset, Settings(tmp_path / "out"))
    train = ConfigParser(from_text(run.task().config))
    trained, chosen_by = (
        {case.case for case in train.get_parsed_content(f"{part}#dataset#cases")} for part in ("train", "validate")
    )
    assert (trained, chosen_by) == (set(run.parts.training), set(run.parts.validation))
    assert run.parts.split == "test"
    assert not trained & chosen_by
    assert not (trained | chosen_by) & set(run.parts.scored)
    assert trained | chosen_by | set(run.parts.scored) == {subject.case for subject in dataset.subjects}
