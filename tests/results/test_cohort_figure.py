import numpy as np

from scripts.results.cohort_figure import draw_curves_by_class

TIMES_S = (0.0, 30.0, 70.0, 180.0)


def test_no_study_is_drawn_as_empty_panels():
    figure = draw_curves_by_class({})
    figure.canvas.draw()
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["hemangioma (n = 0)", "HCC (n = 0)"]


def test_draws_each_study_and_the_median_of_the_complete_ones():
    studies = [(TIMES_S, (0.0, 1.0, 2.0, 3.0)), (TIMES_S, (0.0, 3.0, 2.0, 1.0)), (TIMES_S, (0.0, None, 9.0, 9.0))]
    figure = draw_curves_by_class({"hcc": studies})
    figure.canvas.draw()
    lines = figure.axes[1].lines
    assert len(lines) == 4
    np.testing.assert_allclose(lines[-1].get_data(), (TIMES_S, (0.0, 200.0, 200.0, 200.0)))
