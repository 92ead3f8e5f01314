"""The pictures: nothing where there is nothing to draw, and what they show of missing and doubtful numbers."""

import numpy as np

from scripts.experiments.tables.arms import Arm
from scripts.experiments.tables.cells import fill
from scripts.experiments.tables.confusion import Confusion
from scripts.experiments.tables.declaration import DSC, Table
from scripts.experiments.tables.figures import draw_confusions, draw_means, draw_training
from scripts.experiments.tables.runs import read_grid

TABLE = Table("segmentation", "Table 1", ("unet", "transunet"), (DSC,))
ARMS = {"unet": Arm("unet", "UNet", ("segmentation",)), "mti_net": Arm("mti_net", "MTI-Net", ("segmentation",))}


def texts(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_one_system_alone_is_not_drawn(grid, row):
    grid.write("mti_net", [row("a"), row("b")])
    assert draw_means(fill(TABLE, ARMS, read_grid(grid.root))) is None


def test_means_lie_where_the_cells_say_and_what_does_not_count_is_hollow(grid, row, log):
    grid.write("mti_net", [row("a", dice=0.7), row("b", dice=0.9)])
    grid.write("unet", [row("a", dice=0.5), row("b", dice=0.7)], log=log(epochs=2))
    figure = draw_means(fill(TABLE, ARMS, read_grid(grid.root)))
    (axes,) = figure.axes
    dots = {float(line.get_xdata()[0]): line for line in axes.lines if line.get_marker() == "o"}
    assert {round(mean) for mean in dots} == {60, 80}
    assert dots[min(dots)].get_markerfacecolor() == "white"
    assert dots[max(dots)].get_markerfacecolor() != "white"
    assert texts(figure) == ["missing"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["UNet", "transunet", "MTI-Net"]


def test_confusions_are_shares_of_the_true_class():
    assert draw_confusions({}) is None
    confusion = Confusion(np.array([[0.75, 0.25], [np.nan, np.nan]]), np.array([8, 0]), runs=1)
    figure = draw_confusions({"MTI-Net": confusion})
    assert texts(figure) == ["75.0 %", "25.0 %", "no subject", "no subject"]
    assert figure.axes[0].get_title() == "MTI-Net"


def test_a_confusion_that_does_not_count_says_so():
    confusion = Confusion(np.full((2, 2), 0.5), np.array([8, 8]), runs=1, converged=False)
    assert draw_confusions({"MTI-Net": confusion}).axes[0].get_title() == "MTI-Net\n(not converged)"


def test_a_training_curve_a_run_and_a_panel_an_arm(grid, row, log):
    grid.write("unet", [row("a")], log=log(step=0.02))
    grid.write("unet", [row("a")], seed=1)
    grid.write("rule", [row("a")], log=[{"epoch": 1, "loss": 0.5}])
    runs = read_grid(grid.root).runs
    assert draw_training({"rule": runs["rule"]}) is None
    (axes,) = draw_training({"UNet": runs["unet"], "rule": runs["rule"]}).axes
    assert "not converged" in axes.get_title()
    assert [line.get_xdata().tolist() for line in axes.lines] == [list(range(2, 21, 2))] * 2
