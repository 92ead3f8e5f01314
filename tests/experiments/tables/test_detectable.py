"""The difference that can be detected, against simulated studies."""

import csv
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from scripts.experiments.tables.declaration import ACCURACY, DSC
from scripts.experiments.tables.detectable import Spread, detectable, detectable_again, spread_of, write_detectable
from scripts.experiments.tables.runs import Run, read_grid


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"subjects": 2}, "subjects is 2"),
        ({"seeds": 0}, "seeds is 0"),
        ({"seeds": 1.5}, r"seeds is 1\.5"),
        ({"tests": 0}, "tests is 0"),
        ({"correlation": 1.0}, r"correlation is 1\.0"),
    ],
)
def test_wrong_numbers_are_refused(grid, row, tmp_path, arguments, message):
    grid.write("mti_net", [row("a"), row("b")])
    with pytest.raises(SystemExit, match=message):
        write_detectable(str(grid.root), str(tmp_path / "out"), **arguments)
    assert not (tmp_path / "out").exists()


def test_a_missing_pilot_is_refused(tmp_path):
    with pytest.raises(SystemExit, match="no such pilot"):
        write_detectable(str(tmp_path / "none.csv"), str(tmp_path / "out"))


def test_a_pilot_of_two_datasets_is_refused(grid, row, tmp_path):
    grid.write("mti_net", [row("a"), row("b")])
    grid.write("no_tim", [row("a") | {"true_arterial": 3.0}, row("b")])
    with pytest.raises(SystemExit, match="cannot stand in one table"):
        write_detectable(str(grid.root), str(tmp_path / "out"))


def test_a_pilot_of_one_subject_is_refused(grid, row, tmp_path):
    grid.write("mti_net", [row("a")])
    with pytest.raises(SystemExit, match="Take a pilot of more subjects"):
        write_detectable(str(grid.root), str(tmp_path / "out"))


@pytest.mark.parametrize("alpha", [0.05, 0.01])
def test_a_study_of_that_difference_succeeds_four_times_in_five(alpha):
    """2,000 simulated studies of 40 subjects, tested by Wilcoxon's test."""
    sd, n, rng = 8.0, 40, np.random.default_rng(0)
    spread = Spread(between=sd**2, noise=0.0, retraining=np.nan, source="")
    difference = detectable(spread, DSC, subjects=n, seeds=1, alpha=alpha)
    studies = rng.normal(difference, sd, (2000, n))
    found = stats.wilcoxon(studies, axis=1, method="approx").pvalue < alpha
    assert found.mean() == pytest.approx(0.8, abs=0.03)


def test_right_answers_need_no_allowance_for_ranks():
    spread = Spread(between=100.0, noise=0.0, retraining=np.nan, source="")
    both = {"subjects": 50, "seeds": 1, "alpha": 0.05}
    assert detectable(spread, ACCURACY, **both) < detectable(spread, DSC, **both)


def test_seeds_shrink_the_noise_of_training_and_nothing_else():
    spread = Spread(between=9.0, noise=16.0, retraining=1.0, source="")
    both = {"subjects": 50, "alpha": 0.05}
    one, four = (detectable(spread, DSC, seeds=seeds, **both) for seeds in (1, 4))
    assert four / one == pytest.approx(np.sqrt((9 + 4) / (9 + 16)))


def test_the_luck_of_a_training_is_not_averaged_out_by_subjects():
    """2,000 pairs of systems that are trained twice each, on 10,000 subjects: only the trainings' luck is left."""
    spread = Spread(between=1.0, noise=0.0, retraining=4.0, source="")
    difference = detectable_again(spread, DSC, subjects=10_000, seeds=2, alpha=0.05)
    rng = np.random.default_rng(0)
    means = difference + rng.normal(0, 2.0, (4000, 2, 2)).mean(axis=2) @ [1, -1]
    assert (means / np.sqrt(4.0 / 2 * 2) > stats.norm.ppf(0.975)).mean() == pytest.approx(0.8, abs=0.03)


def pilot(grid, row, rng, *, systems, seeds, n=400):
    """True difference of a pair 3 (variance 9), noise of a training 2 in each subject, luck of a training 1."""
    easy = rng.normal(50, 10, n)
    for arm in systems:
        own = rng.normal(0, 3 / np.sqrt(2), n)
        for seed in range(seeds):
            values = easy + own + rng.normal(0, 2, n) + rng.normal(0, 1)
            rows = [row(f"{index:03d}", dice=value / 100) for index, value in enumerate(values)]
            grid.write(arm, rows, seed=seed)
    return read_grid(grid.root).runs


def test_a_pilots_spread_is_found_again(grid, row):
    runs = pilot(grid, row, np.random.default_rng(0), systems=("mti_net", "unet", "transunet"), seeds=8)
    spread = spread_of(runs, "mti_net", DSC, correlation=0.5)
    assert spread.between == pytest.approx(9.0, rel=0.15)
    assert spread.noise == pytest.approx(2 * 4.0, rel=0.1)
    assert spread.retraining == pytest.approx(1.0, rel=0.8)
    assert "2 pairs" in spread.source


def test_a_small_pilots_spread_is_right_on_average():
    """300 pilots of 6 subjects: true difference of a pair 3, noise of a training 2, its luck 3."""
    rng, found = np.random.default_rng(0), []
    for _ in range(300):
        runs = {}
        for arm in ("mti_net", "unet"):
            own = rng.normal(0, 3 / np.sqrt(2), 6)
            table = 50 + own + rng.normal(0, 2, (3, 6)) + rng.normal(0, 3, (3, 1))
            runs[arm] = [in_memory(arm, seed, values) for seed, values in enumerate(table)]
        spread = spread_of(runs, "mti_net", DSC, correlation=0.5)
        found.append((spread.between, spread.noise, spread.retraining))
    assert np.mean(found, axis=0) == pytest.approx([9.0, 2 * 4.0, 9.0], rel=0.08)


def in_memory(arm, seed, values):
    rows = tuple({"case": str(index), "dice": str(value / 100)} for index, value in enumerate(values))
    return Run(arm, 0, seed, Path(), rows, {}, (), {}, {"split": "test"})


def test_noise_in_single_subjects_counts_less_the_more_there_are():
    spread = Spread(between=0.0, noise=8.0, retraining=0.0, source="")
    few, many = (detectable_again(spread, DSC, subjects=n, seeds=2, alpha=0.05) for n in (10, 1000))
    assert few / many == pytest.approx(10.0)


def test_with_one_seed_the_noise_stays_in_the_difference(grid, row):
    runs = pilot(grid, row, np.random.default_rng(0), systems=("mti_net", "unet"), seeds=1)
    spread = spread_of(runs, "mti_net", DSC, correlation=0.5)
    assert spread.between == pytest.approx(9.0 + 2 * 4.0, rel=0.15)
    assert spread.noise == 0.0
    assert np.isnan(spread.retraining)


def test_of_one_system_the_correlation_is_assumed(grid, row):
    grid.write("mti_net", [row("a", dice=0.6), row("b", dice=0.8)])
    spread = spread_of(read_grid(grid.root).runs, "mti_net", DSC, correlation=0.75)
    assert spread.between == pytest.approx(2 * 0.25 * np.var([60, 80], ddof=1))
    assert "correlation 0.75 assumed" in spread.source


def test_the_report_counts_the_tests_of_each_table(grid, row, tmp_path, capsys):
    pilot(grid, row, np.random.default_rng(0), systems=("mti_net", "no_tim"), seeds=2, n=30)
    write_detectable(str(grid.root), str(tmp_path / "out"), subjects=184, seeds=3)
    with (tmp_path / "out" / "detectable.csv").open(newline="") as file:
        lines = {(line["table"], line["metric"]): line for line in csv.DictReader(file)}
    ablation = lines["Table 3. Ablations of MTI-Net", "DSC, %"]
    # Five ablations in two tested metrics.
    assert (ablation["tests"], ablation["subjects"], ablation["seeds"]) == ("10", "184", "3")
    assert float(ablation["alone"]) < float(ablation["after_holm"]) < float(ablation["trained_again"])
    # Ten tests: alpha .005. With so many subjects the t-test's power is nearly that of the normal distribution.
    alone, holm = (stats.norm.isf(alpha / 2) + stats.norm.isf(0.2) for alpha in (0.05, 0.005))
    assert float(ablation["after_holm"]) / float(ablation["alone"]) == pytest.approx(holm / alone, rel=0.01)
    assert "What difference can be detected" in capsys.readouterr().out


def test_a_table_of_one_evaluation_is_pilot_enough(row, tmp_path, grid):
    folder = grid.write("mti_net", [row("a", dice=0.6), row("b", dice=0.8), row("c", dice=0.7)])
    write_detectable(str(folder / "per_subject.csv"), str(tmp_path / "out"), tests=4)
    text = (tmp_path / "out" / "detectable.md").read_text()
    assert "| Table 1. Segmentation | DSC, % | 3 | 1 | 4 |" in text
