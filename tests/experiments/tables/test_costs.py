"""What an arm costs."""

import json
import math

from scripts.experiments.tables.costs import cost_of
from scripts.experiments.tables.runs import read_grid


def test_means_over_runs_and_the_largest_memory(grid, row):
    grid.write("unet", [row("a")], seconds_training=1800.0, peak_rss_mb=700.0)
    grid.write("unet", [row("a")], seed=1, seconds_training=5400.0, peak_rss_mb=900.0)
    cost = cost_of(read_grid(grid.root).runs["unet"])
    assert (cost.parameters, cost.gflops, cost.hours_training, cost.peak_rss_mb) == (2_000_000, 12.5, 1.0, 900.0)
    assert cost.hardware == ("Test CPU, 2 cores",)


def test_what_was_not_measured_is_not_a_number(grid, row):
    folder = grid.write("rule", [row("a")], seconds_training=None)
    (folder / "cost.json").write_text(json.dumps({"parameters": 0, "gflops": None}))
    cost = cost_of(read_grid(grid.root).runs["rule"])
    assert cost.parameters == 0
    assert all(math.isnan(value) for value in (cost.gflops, cost.hours_training, cost.seconds_per_study))
