import dataclasses
import io

import numpy as np
import pytest
from matplotlib.text import Text
from PIL import Image

from scripts.results.figures import draw_study
from scripts.results.lesions import analyse

PANELS = 4


@pytest.fixture
def draw(make_prediction, model):
    def draw_it(study, predicted, **heads):
        prediction = dataclasses.replace(make_prediction(predicted), **heads)
        result, mask = analyse(study, prediction, model=model)
        return draw_study(study, mask, result)

    return draw_it


def rendered(figure) -> np.ndarray:
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return np.asarray(Image.open(file).convert("RGB"))


def texts(figure) -> str:
    return "\n".join(text.get_text() for text in figure.findobj(Text))


def curves(figure) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    return {line.get_label(): line.get_data() for line in figure.axes[PANELS].lines}


def test_draws_four_phases_the_curves_and_the_class(draw, make_study, both_lesions, known):
    figure = draw(make_study(both_lesions), both_lesions)
    assert rendered(figure).shape == (640, 1200, 3)
    assert [len(axes.images) for axes in figure.axes] == [1, 1, 1, 1, 0, 0]
    drawn = curves(figure)
    np.testing.assert_allclose(drawn["lesion, under the mask"], (known.times_s, known.hcc_curve))
    np.testing.assert_allclose(drawn["ring 3-10 mm around"], (known.times_s, known.liver_curve))
    words = texts(figure)
    for word in (
        "case_01",
        "ground truth: HCC",
        "Class: HCC",
        "HCC 90%",
        "Kinetic rule: HCC, agrees",
        "28 s",
        "1 more",
    ):
        assert word in words


def test_the_patients_right_is_on_the_left_and_the_front_on_top(draw, make_study, one_hcc, known):
    study = make_study(one_hcc)
    study.image[:, 90, 75, :] = 900.0
    shown = np.asarray(draw(study, one_hcc).axes[1].images[0].get_array())
    row, column = np.argwhere(shown == 900.0)[0]
    # RAS+: index 90 of 96 is far to the right, 75 of 80 far to the front.
    assert (row, column) == (79 - 75, 95 - 90)
    assert shown.shape == (80, 96)


@pytest.mark.parametrize(("slice_axis", "aspect"), [(0, 4.0 / 2.0), (1, 4.0 / 1.5), (2, 2.0 / 1.5)])
def test_pixels_have_their_physical_aspect(make_study, make_prediction, one_hcc, model, slice_axis, aspect):
    study = make_study(one_hcc, slice_axis=slice_axis)
    result, mask = analyse(study, make_prediction(one_hcc, slice_axis=slice_axis), model=model)
    figure = draw_study(study, mask, result)
    assert figure.axes[0].get_aspect() == pytest.approx(aspect)
    assert ("A" if slice_axis == 0 else "R") in [text.get_text() for text in figure.axes[0].texts]


def test_the_slice_with_the_largest_lesion_is_shown(draw, make_study, one_hcc):
    study = make_study(one_hcc)
    study.image[:] = np.arange(20, dtype=np.float32)
    image = draw(study, one_hcc).axes[0].images[0].get_array()
    assert np.unique(np.asarray(image)) == [int((one_hcc > 0).sum(axis=(0, 1)).argmax())]


def test_the_air_around_the_body_is_cut_off(draw, make_study, one_hcc):
    study = make_study(one_hcc)
    study.image[:, 70:] = study.image[:, :, 60:] = 0.0
    image = draw(study, one_hcc).axes[0].images[0].get_array()
    assert image.shape == (60 + 6, 70 + 6)


def test_all_phases_share_one_window(draw, make_study, one_hcc):
    windows = {axes.images[0].get_clim() for axes in draw(make_study(one_hcc), one_hcc).axes[:PANELS]}
    assert len(windows) == 1


def test_an_empty_result_is_drawn(draw, make_study, known):
    figure = draw(make_study(), np.zeros(known.shape))
    rendered(figure)
    words = texts(figure)
    assert "Class: no lesion" in words
    assert "ground truth" not in words


def test_a_missed_lesion_is_drawn_with_its_true_curve(draw, make_study, one_hcc, known):
    figure = draw(make_study(one_hcc), np.zeros(known.shape))
    rendered(figure)
    assert list(curves(figure)) == ["all lesions, true mask"]


@pytest.mark.parametrize("lost", range(4))
def test_a_missing_phase_is_said_and_left_out_of_the_curves(draw, make_study, one_hcc, known, lost):
    figure = draw(make_study(one_hcc, available=tuple(phase != lost for phase in range(4))), one_hcc)
    rendered(figure)
    assert [len(axes.images) for axes in figure.axes[:PANELS]] == [int(phase != lost) for phase in range(4)]
    assert "not acquired" in texts(figure)
    for times_s, values in curves(figure).values():
        assert list(times_s) == [t for phase, t in enumerate(known.times_s) if phase != lost]
        assert np.isfinite(values).all()


def test_a_network_without_heads_is_drawn(draw, make_study, one_hcc):
    figure = draw(make_study(one_hcc), one_hcc, regression=None, classification=None)
    rendered(figure)
    words = texts(figure)
    assert "Class: unknown" in words
    assert "no probabilities" in words


def test_a_rule_that_says_otherwise_is_marked(draw, make_study, one_hcc):
    figure = draw(make_study(one_hcc), one_hcc, classification=np.tile([0.9, 0.1], (20, 1)))
    assert "Kinetic rule: HCC, DISAGREES" in texts(figure)
