"""Tables in words."""

import pytest

from scripts.experiments.tables.arms import Arm
from scripts.experiments.tables.cells import fill
from scripts.experiments.tables.declaration import ACCURACY, DSC, IOU, MAE, Table
from scripts.experiments.tables.runs import read_grid
from scripts.experiments.tables.views import p_value, view

TABLE = Table("segmentation", "Table 1", ("unet",), (DSC, IOU, MAE), note="A note.")
ARMS = {
    "unet": Arm("unet", "UNet", ("segmentation",), {"dsc": 77.34, "iou": 58.79}, "from scratch"),
    "mti_net": Arm("mti_net", "MTI-Net", ("segmentation",), {"dsc": 85.23, "iou": 75.48}),
}


def viewed(grid, table=TABLE):
    return view(fill(table, ARMS, read_grid(grid.root)))


def cell(shown, name, column):
    (row,) = (row for row in shown.rows if row.name == name)
    return row.cells[column]


def test_a_missing_arm_stands_there_with_what_was_reported(grid, row):
    grid.write("mti_net", [row("a")])
    shown = viewed(grid)
    assert [row.name for row in shown.rows] == ["UNet", "MTI-Net"]
    ours, reported = cell(shown, "UNet", 0)
    assert (ours.main, reported) == ("missing", "77.34")
    assert shown.notes == ("A note.", "UNet: from scratch.")
    assert shown.tally == ""


def test_a_column_that_no_paper_reports_has_no_reported_cells(grid, row):
    grid.write("mti_net", [row("a")])
    shown = viewed(grid)
    assert shown.reported == {"dsc", "iou"}
    assert cell(shown, "MTI-Net", 2)[1] is None


def test_one_subject_has_neither_spread_nor_interval(grid, row):
    grid.write("mti_net", [row("a", dice=0.6)])
    ours, _ = cell(viewed(grid), "MTI-Net", 0)
    assert (ours.main, ours.details) == ("60.00", ("n = 1, 1 run",))


def test_spreads_are_named(grid, row):
    for fold in (0, 1):
        for seed, dice in ((0, 0.6), (1, 0.7)):
            grid.write("mti_net", [row("a", dice=dice), row("b", dice=dice + 0.2)], fold=fold, seed=seed)
    ours, _ = cell(viewed(grid), "MTI-Net", 0)
    assert ours.main == "75.00 ± 14.14"
    assert ours.details == ("folds ± 0.00, seeds ± 7.07", "65.00 to 85.00", "n = 2, 4 runs")


@pytest.mark.parametrize(
    ("runs", "warning"), [(1, "not converged (only 1 epoch)"), (2, "not converged (2 of 2 runs, ")]
)
def test_what_has_not_converged_says_so_with_its_reason(grid, row, log, runs, warning):
    for seed in range(runs):
        grid.write("mti_net", [row("a"), row("b", dice=0.5)], seed=seed, log=log(epochs=1))
    ours, _ = cell(viewed(grid), "MTI-Net", 0)
    assert ours.warning.startswith(warning)
    assert not ours.best


def test_of_several_runs_the_worst_is_told(grid, row, log):
    for seed, step in enumerate((0.01, 0.03, 0.02)):
        grid.write("mti_net", [row("a")], seed=seed, log=log(step=step))
    ours, _ = cell(viewed(grid), "MTI-Net", 0)
    assert ours.warning == "not converged (3 of 3 runs, at worst: val_score still changes by 0.030)"


def test_verdicts_are_counted(grid, cohort):
    grid.write("mti_net", cohort(0.8, 0.1, 0.9, seed=1))
    grid.write("unet", cohort(0.7, 0.05, 0.9, seed=2))
    shown = viewed(grid)
    assert shown.tally == "Against MTI-Net, Holm's correction over 2 paired tests: 1 better, 1 worse."
    assert [line[-1] for line in shown.comparisons] == ["worse", "better"]
    assert shown.comparisons[0][3].startswith("-9.98 (")


def test_the_papers_table_1_fails_its_own_check(grid, row):
    """58.79 % is below .7734 / (2 - .7734) = 63.05 %; 75.48 % is above .8523 / (2 - .8523) = 74.26 %."""
    grid.write("mti_net", [row("a")])
    ours, reported = viewed(grid).convexity
    assert ours == "Our rows: all 1 are possible."
    assert reported.startswith("Rows as reported: 1 of 2 cannot come from one set of cases. UNet: mean IoU 0.5879")


def test_without_both_overlaps_there_is_nothing_to_check(grid, row):
    grid.write("mti_net", [row("a")])
    assert viewed(grid, Table("x", "", (), (DSC, ACCURACY))).convexity == ()


def test_p_is_never_zero():
    assert [p_value(p) for p in (0.0, 0.0009, 0.0421, 1.0)] == ["<0.001", "<0.001", "0.042", "1.000"]
