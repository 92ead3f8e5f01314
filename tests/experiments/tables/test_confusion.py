"""Confusion matrices: shares by true class, subjects not counted twice."""

import numpy as np

from scripts.experiments.tables.confusion import confusion_of
from scripts.experiments.tables.runs import read_grid


def test_without_answers_there_is_no_matrix(grid, row):
    grid.write("unet", [row("a", correct=None)])
    assert confusion_of(read_grid(grid.root).runs["unet"]) is None
    assert confusion_of([]) is None


def test_rows_are_true_classes(grid, row):
    rows = [row("a", correct=True), row("b", correct=False), row("c", correct=False), row("d", correct=True)]
    rows += [row("e", correct=True, tumour_class="hemangioma"), row("f", tumour_class="none")]
    grid.write("mti_net", rows)
    confusion = confusion_of(read_grid(grid.root).runs["mti_net"])
    assert np.allclose(confusion.shares, [[1.0, 0.0], [0.5, 0.5]])
    assert confusion.subjects.tolist() == [1, 4]


def test_another_run_adds_answers_not_subjects(grid, row):
    grid.write("mti_net", [row("a", correct=True)])
    grid.write("mti_net", [row("a", correct=False)], seed=1)
    confusion = confusion_of(read_grid(grid.root).runs["mti_net"])
    assert confusion.subjects.tolist() == [0, 1]
    assert np.allclose(confusion.shares[1], 0.5)
    assert np.isnan(confusion.shares[0]).all()


def test_a_subject_counts_once_however_many_runs_scored_it(grid, row):
    """Subject a right in both seeds of its fold, b wrong in the only one of its: half and half, as the accuracy."""
    for fold, seed, case, correct in ((0, 0, "a", True), (0, 1, "a", True), (1, 0, "b", False)):
        grid.write("mti_net", [row(case, correct=correct)], fold=fold, seed=seed, split="fold")
    confusion = confusion_of(read_grid(grid.root).runs["mti_net"])
    assert np.allclose(confusion.shares[1], 0.5)
    assert confusion.subjects.tolist() == [0, 2]
    assert confusion.runs == 3


def test_runs_that_have_not_converged_are_told(grid, row, log):
    grid.write("mti_net", [row("a")])
    assert confusion_of(read_grid(grid.root).runs["mti_net"]).converged
    grid.write("mti_net", [row("a")], seed=1, log=log(epochs=1))
    assert not confusion_of(read_grid(grid.root).runs["mti_net"]).converged
