"""From run folders to numbers: averages in the right order, pairs over what both have, what counts."""

import numpy as np
import pytest
from scipy import stats

from scripts.domain.errors import DatasetError
from scripts.experiments.tables.arms import Arm
from scripts.experiments.tables.cells import MISSING, NO_SUCH_TASK, VALUE, fill, rows_of
from scripts.experiments.tables.declaration import ACCURACY, DSC, MAE, MAE_RATIO, Table
from scripts.experiments.tables.paired import holm
from scripts.experiments.tables.runs import read_grid

TABLE = Table("segmentation", "Table 1", ("unet", "transunet"), (DSC, MAE, ACCURACY))
ARMS = {key: Arm(key, name, ("segmentation",)) for key, name in (("mti_net", "MTI-Net"), ("unet", "UNet"))}


def filled(grid, table=TABLE, arms=ARMS):
    return fill(table, arms, read_grid(grid.root))


@pytest.mark.parametrize("spoilt", ["nan", "inf", "0.8.1"])
def test_what_is_no_number_is_named(grid, row, spoilt):
    grid.write("mti_net", [row("a"), row("b") | {"dice": spoilt}])
    with pytest.raises(
        DatasetError, match=r"mti_net/fold0/seed0/per_subject\.csv: b has no number for DSC, %\. Remove"
    ):
        filled(grid)


def test_rows_stand_in_the_papers_order_with_additions_before_the_reference():
    arms = {key: Arm(key, key, ("segmentation",)) for key in ("another", "mti_net", "transunet")}
    arms["unet"] = Arm("unet", "UNet", ("ablation",))
    assert [arm.key for arm in rows_of(TABLE, arms)] == ["transunet", "another", "mti_net"]


def test_an_arm_of_the_paper_without_an_overlay_has_a_row_that_says_missing(grid, row):
    grid.write("mti_net", [row("a")])
    table = filled(grid)
    assert [arm.key for arm in table.arms] == ["unet", "transunet", "mti_net"]
    assert {table.cells[key, "dsc"].status for key in ("unet", "transunet")} == {MISSING}
    assert table.comparisons == ()


def test_tables_that_share_a_word_are_told_apart_by_the_prefix():
    table = Table("chest_a", "", ("chest_a_sr",), (DSC,), reference="chest_a_full", entry="chest", prefix="chest_a_")
    keys = ("chest_a_full", "chest_a_new", "chest_a_sr", "chest_b_sr")
    assert [arm.key for arm in rows_of(table, {key: Arm(key, key, ("chest",)) for key in keys})] == [
        "chest_a_sr",
        "chest_a_new",
        "chest_a_full",
    ]


def test_one_run_by_hand(grid, row):
    grid.write("mti_net", [row("a", dice=0.6), row("b", dice=0.9), row("c", dice=None, tumour_class="none")])
    cell = filled(grid).cells["mti_net", "dsc"]
    assert (cell.status, cell.subjects, cell.runs) == (VALUE, 2, 1)
    assert cell.mean == pytest.approx(75.0)
    assert cell.std_subjects == pytest.approx(np.std([60, 90], ddof=1))
    assert np.isnan([cell.std_folds, cell.std_seeds]).all()
    assert 60.0 <= cell.interval[0] < cell.interval[1] <= 90.0


def test_an_error_is_the_mean_over_the_phases_that_are_there_in_raw_units(grid, row):
    partial = row("a", error=0.1) | {"true_delayed": None, "true_slices_delayed": None, "true_slices_pre": -0.1}
    grid.write("mti_net", [partial])
    # Errors .3, .1, .1 of the three phases, and 100 raw units in one normalised.
    assert filled(grid).cells["mti_net", "mae"].mean == pytest.approx(100.0 * 0.5 / 3)


def test_a_task_that_a_system_does_not_have_is_no_zero(grid, row):
    grid.write("mti_net", [row("a")])
    grid.write("unet", [row("a", error=None, correct=None)])
    table = filled(grid)
    assert table.cells["unet", "mae"].status == NO_SUCH_TASK
    assert table.cells["unet", "accuracy"].status == NO_SUCH_TASK
    assert {comparison.column.key for comparison in table.comparisons} == {"dsc"}


def test_seeds_and_folds_are_averaged_within_a_subject(grid, row):
    """On a test split every run scores the same subjects: four runs are no four times as many subjects."""
    dice = {(0, 0): (0.5, 0.7), (0, 1): (0.7, 0.9), (1, 0): (0.6, 0.8)}
    for (fold, seed), (a, b) in dice.items():
        grid.write("mti_net", [row("a", dice=a), row("b", dice=b)], fold=fold, seed=seed)
    cell = filled(grid).cells["mti_net", "dsc"]
    assert (cell.subjects, cell.folds, cell.seeds, cell.runs) == (2, 2, 2, 3)
    # Subject a: (.5 + .7) / 2 = .6 in fold 0, .6 in fold 1.
    assert cell.mean == pytest.approx(70.0)
    assert cell.std_subjects == pytest.approx(np.std([60, 80], ddof=1))
    assert cell.std_folds == pytest.approx(0.0, abs=1e-9)
    assert cell.std_seeds == pytest.approx(np.std([60, 80], ddof=1))


def test_the_spread_of_seeds_is_that_of_the_mean_variance_within_a_fold(grid, row):
    for fold, dice in ((0, (0.5, 0.7)), (1, (0.6, 0.6))):
        for seed, value in enumerate(dice):
            grid.write("mti_net", [row("a", dice=value)], fold=fold, seed=seed)
    # Variances 200 and 0, mean 100.
    assert filled(grid).cells["mti_net", "dsc"].std_seeds == pytest.approx(10.0)


def test_in_cross_validation_a_subject_has_the_fold_that_held_it_out(grid, row):
    grid.write("mti_net", [row("a", dice=0.6), row("b", dice=0.8)], fold=0, split="fold")
    grid.write("mti_net", [row("c", dice=0.9)], fold=1, split="fold")
    cell = filled(grid).cells["mti_net", "dsc"]
    assert cell.subjects == 3
    assert cell.mean == pytest.approx(100 * (0.6 + 0.8 + 0.9) / 3)
    assert cell.std_folds == pytest.approx(np.std([70, 90], ddof=1))


def test_slices_of_a_subject_are_one_subject(grid, row):
    grid.write("mti_net", [row("a", dice=0.2), row("a", dice=0.4), row("b", dice=0.9)])
    cell = filled(grid).cells["mti_net", "dsc"]
    assert cell.subjects == 2
    assert cell.mean == pytest.approx(60.0)


def test_a_metric_that_only_a_run_has_is_averaged_over_runs(grid, row):
    table = Table("regression", "", (), (MAE_RATIO,))
    entry = {"value": 0.2, "ci95": [0.1, 0.3], "n": 5}
    grid.write("mti_net", [row("a")], metrics={"mae_ratio_true_slices": entry})
    cell = filled(grid, table).cells["mti_net", "mae_ratio"]
    assert (cell.mean, cell.interval, cell.subjects) == (0.2, (0.1, 0.3), 0)
    grid.write("mti_net", [row("a")], seed=1, metrics={"mae_ratio_true_slices": entry | {"value": 0.4}})
    cell = filled(grid, table).cells["mti_net", "mae_ratio"]
    assert cell.mean == pytest.approx(0.3)
    assert np.isnan(cell.interval).all()
    grid.write("unet", [row("a")], metrics={"mae_ratio_true_slices": {"value": None, "ci95": None, "n": 0}})
    assert (
        filled(grid, Table("segmentation", "", ("unet",), (MAE_RATIO,))).cells["unet", "mae_ratio"].status
        == NO_SUCH_TASK
    )


def test_a_fold_of_more_seeds_weighs_no_more(grid, row):
    for fold, seed, value in ((0, 0, 0.2), (0, 1, 0.4), (1, 0, 0.6)):
        metrics = {"mae_ratio_true_slices": {"value": value, "ci95": None, "n": 1}}
        grid.write("mti_net", [row("a")], fold=fold, seed=seed, metrics=metrics)
    table = Table("regression", "", (), (MAE_RATIO,))
    assert filled(grid, table).cells["mti_net", "mae_ratio"].mean == pytest.approx((0.3 + 0.6) / 2)


def test_comparisons_pair_subjects_and_are_corrected_over_the_table(grid, cohort):
    ours, theirs = cohort(0.8, 0.1, 0.9, seed=1), cohort(0.75, 0.1, 0.5, seed=2)
    grid.write("mti_net", ours)
    grid.write("unet", theirs[::-1])
    table = filled(grid)
    by_key = {comparison.column.key: comparison for comparison in table.comparisons}
    differences = [100 * (t["dice"] - o["dice"]) for t, o in zip(theirs, ours, strict=True)]
    assert by_key["dsc"].paired.difference == pytest.approx(np.mean(differences))
    assert by_key["dsc"].paired.p == pytest.approx(stats.wilcoxon(differences).pvalue)
    assert by_key["accuracy"].paired.test == "McNemar, exact"
    assert [c.p_holm for c in table.comparisons] == pytest.approx(holm([c.paired.p for c in table.comparisons]))
    assert by_key["dsc"].verdict == "worse"
    assert by_key["accuracy"].paired.difference == pytest.approx(
        100 * by_key["accuracy"].paired.effects["risk difference"]
    )


def test_a_smaller_error_is_better(grid, cohort):
    grid.write("mti_net", cohort(0.8, 0.15, 0.9, seed=1))
    grid.write("unet", cohort(0.8, 0.10, 0.9, seed=2))
    (mae,) = (comparison for comparison in filled(grid).comparisons if comparison.column.key == "mae")
    assert mae.paired.difference < 0
    assert mae.verdict == "better"


def test_only_folds_that_both_have_are_compared(grid, row):
    for fold, dice in ((0, 0.8), (1, 0.2)):
        grid.write("mti_net", [row("a", dice=dice), row("b", dice=dice)], fold=fold)
    grid.write("unet", [row("a", dice=0.7), row("b", dice=0.7)])
    (dsc,) = (comparison for comparison in filled(grid).comparisons if comparison.column.key == "dsc")
    assert dsc.paired.difference == pytest.approx(-10.0)


def test_what_a_paper_compares_beside_its_reference_is_tested_in_the_same_family(grid, cohort):
    table = Table("x", "", ("unet", "transunet"), (DSC,), further=(("unet", "transunet"), ("unet", "not_here")))
    arms = {key: Arm(key, name, ("x",)) for key, name in (("mti_net", "A"), ("unet", "B"), ("transunet", "C"))}
    for seed, (key, dice) in enumerate([("mti_net", 0.8), ("unet", 0.75), ("transunet", 0.7)]):
        grid.write(key, cohort(dice, 0.1, 0.9, seed=seed))
    compared = filled(grid, table, arms).comparisons
    assert [(each.arm, each.against) for each in compared] == [("B", "A"), ("C", "A"), ("B", "C")]
    assert compared[2].paired.difference == pytest.approx(compared[0].paired.difference - compared[1].paired.difference)
    assert [each.p_holm for each in compared] == pytest.approx(holm([each.paired.p for each in compared]))
    assert compared[2].verdict == "better"


def test_systems_without_a_common_fold_are_not_compared(grid, row):
    grid.write("mti_net", [row("a")], fold=0)
    grid.write("unet", [row("a")], fold=1)
    assert filled(grid).comparisons == ()


def test_what_has_not_converged_does_not_count(grid, cohort, log):
    grid.write("mti_net", cohort(0.8, 0.1, 0.9, seed=1))
    grid.write("unet", cohort(0.95, 0.1, 0.9, seed=2))
    grid.write("unet", cohort(0.95, 0.1, 0.9, seed=3), seed=1, log=log(step=0.02))
    table = filled(grid)
    assert table.cells["unet", "dsc"].not_converged[0].reason == "val_score still changes by 0.020"
    assert not table.cells["unet", "dsc"].counts
    assert table.best(DSC) is None
    assert {comparison.verdict for comparison in table.comparisons} == {"not counted: not converged"}


def test_each_number_is_judged_by_its_own_validation_score(grid, cohort, log):
    """Of several tasks one may go on learning; a class that changes does not make the masks uncertain."""
    settled, moving = log(), log(step=0.02)
    steady = [
        {**row, "val_dice": row["val_score"], "val_mae_ratio": changed["val_score"]}
        for row, changed in zip(settled, moving, strict=True)
    ]
    grid.write("mti_net", cohort(0.8, 0.1, 0.9, seed=1), log=steady)
    grid.write("unet", cohort(0.7, 0.1, 0.9, seed=2))
    table = filled(grid)
    assert table.cells["mti_net", "dsc"].counts
    assert table.cells["mti_net", "mae"].not_converged[0].reason == "val_mae_ratio still changes by 0.020"
    verdicts = {comparison.column.key: comparison.counts for comparison in table.comparisons}
    assert verdicts["dsc"]
    assert not verdicts["mae"]


def test_nothing_is_compared_with_a_reference_that_has_not_converged(grid, cohort, log):
    grid.write("mti_net", cohort(0.8, 0.1, 0.9, seed=1), log=log(step=0.02))
    grid.write("unet", cohort(0.7, 0.1, 0.9, seed=2))
    assert {comparison.verdict for comparison in filled(grid).comparisons} == {"not counted: not converged"}


def test_the_best_is_chosen_by_the_columns_direction(grid, cohort):
    grid.write("mti_net", cohort(0.8, 0.15, 0.9, seed=1))
    grid.write("unet", cohort(0.7, 0.05, 0.9, seed=2))
    table = filled(grid)
    assert table.best(DSC) == "mti_net"
    assert table.best(MAE) == "unet"


def test_no_winner_where_mean_and_ranks_point_to_opposite_sides(grid, row):
    """Thirty small losses and one huge gain: Wilcoxon's p is small, and the mean on the other side."""
    cases = [f"c{index:02d}" for index in range(31)]
    grid.write("mti_net", [row(case, dice=0.1) for case in cases])
    grid.write("unet", [row(case, dice=0.9 if case == "c30" else 0.099 - 1e-6 * i) for i, case in enumerate(cases)])
    (dsc,) = (comparison for comparison in filled(grid).comparisons if comparison.column.key == "dsc")
    assert dsc.p_holm < 0.05
    assert dsc.paired.difference > 0
    assert dsc.verdict == "cannot be told"
