"""The refiner on a study's own grid: what it changes, what it leaves, what it refuses."""

import numpy as np
import pytest
import torch

from scripts.domain.errors import ConfigurationError, StudyError
from scripts.domain.study import Study
from scripts.engines.refinement import OBEYED_MM, ROUGH, Refiner, from_rough, to_slices
from scripts.engines.refinement_clicks import Click
from scripts.networks.refinement import RefinementNet
from scripts.studies.network_grid import NetworkGrid

SHAPE = (96, 80, 20)


class Follows(torch.nn.Module):
    """Stands for a trained network: lesion where the guidance says so, none where it says that."""

    def forward(self, patch):
        return torch.logit(patch[:, 4:5], eps=0.01) + 20.0 * (patch[:, 5:6] - patch[:, 6:7])


class Ignores(torch.nn.Module):
    """Stands for a network that makes nothing of a click."""

    def forward(self, patch):
        return torch.logit(patch[:, 4:5], eps=0.01)


@pytest.fixture
def study():
    rng = np.random.default_rng(0)
    affine = np.diag([3.0, 2.5, 6.0, 1.0])
    image = rng.normal(200, 30, (4, *SHAPE)).astype(np.float32)
    return Study("a", image, affine, (True,) * 4, (0.0, 25.0, 70.0, 180.0), offset=200.0, scale=30.0)


@pytest.fixture
def tumour():
    probability = np.full(SHAPE, 0.02, dtype=np.float32)
    probability[30:38, 30:40, 8:12] = 0.9
    return probability


def refiner(network=None):
    return Refiner(Follows() if network is None else network)


def test_nothing_to_refine_by_is_refused(study, tumour):
    with pytest.raises(ConfigurationError, match="at least one click"):
        refiner()(study, tumour)


@pytest.mark.parametrize("index", [(-1, 5, 5), (96, 5, 5), (5, 5, float("nan")), (5, 5)])
def test_a_click_outside_the_study_is_refused(study, tumour, index):
    with pytest.raises((ConfigurationError, ValueError), match=r"outside the study|zip"):
        refiner()(study, tumour, [Click(index, True)])


def test_a_probability_on_another_grid_is_refused(study, tumour):
    with pytest.raises(StudyError, match="does not fit"):
        refiner()(study, tumour[:-1], [Click((5, 5, 5), True)])


def test_a_rough_mask_on_another_grid_is_refused(study, tumour):
    with pytest.raises(StudyError, match="does not fit"):
        refiner()(study, tumour, rough=np.zeros((3, 3, 3), dtype=bool))


def test_clicks_steer(study, tumour):
    lesion, none = Click((60, 50, 10), True), Click((34, 35, 10), False)
    refined = refiner()(study, tumour, [lesion, none])
    assert refined[60, 50, 10] >= 0.5 > tumour[60, 50, 10]
    assert refined[34, 35, 10] < 0.5 < tumour[34, 35, 10]
    assert refined.shape == SHAPE
    assert refined.dtype == np.float32
    assert 0.0 <= refined.min() <= refined.max() <= 1.0


def test_far_from_clicks_nothing_changes_at_all(study, tumour):
    refined = refiner()(study, tumour, [Click((60, 50, 18), True)])
    assert np.array_equal(refined[:, :, :7], tumour[:, :, :7])


def test_what_the_network_makes_nothing_of_is_obeyed_nonetheless(study, tumour):
    click = Click((60, 50, 10), True)
    refined = refiner(Ignores())(study, tumour, [click])
    changed = np.argwhere(np.abs(refined - tumour) > 0.1)
    assert set(changed[:, 2]) == {10}
    distance_mm = np.linalg.norm((changed - click.index) * study.spacing_mm, axis=1)
    assert distance_mm.max() <= OBEYED_MM
    assert refined[click.index] >= 0.5


def test_the_order_of_clicks_does_not_matter_and_answers_repeat(study, tumour):
    torch.manual_seed(0)
    network = RefinementNet()
    torch.nn.init.normal_(network.change.weight)
    clicks = [Click((60, 50, 10), True), Click((34, 35, 10), False), Click((50, 45, 12), True)]
    answers = [refiner(network)(study, tumour, each) for each in (clicks, clicks[::-1], clicks)]
    np.testing.assert_allclose(answers[0], answers[1], atol=1e-5)
    assert np.array_equal(answers[0], answers[2])


def test_inputs_are_left_as_they_are(study, tumour):
    image, before = study.image.copy(), tumour.copy()
    refiner()(study, tumour, [Click((60, 50, 10), True)])
    assert np.array_equal(study.image, image)
    assert np.array_equal(tumour, before)


def test_a_rough_mask_takes_the_masks_place(study, tumour):
    rough = np.zeros(SHAPE, dtype=bool)
    rough[55:65, 45:55, 9:13] = True
    refined = refiner(RefinementNet())(study, tumour, rough=rough) >= 0.5
    assert np.count_nonzero(refined ^ rough) < 0.05 * np.count_nonzero(rough)


def test_where_a_rough_mask_agrees_the_probability_counts(tumour):
    start = from_rough(tumour, tumour >= 0.5)
    assert np.array_equal(start, tumour)
    other = from_rough(tumour, np.zeros(SHAPE, dtype=bool))
    assert np.array_equal(other < 0.5, np.ones(SHAPE, dtype=bool))
    assert other[0, 0, 0] == tumour[0, 0, 0]
    assert other[32, 32, 9] == np.float32(ROUGH[0])


def test_with_clicks_a_rough_mask_is_refined_around_them_only(study, tumour):
    rough = np.zeros(SHAPE, dtype=bool)
    rough[10:16, 45:55, 2:4] = True
    refined = refiner()(study, tumour, [Click((60, 50, 18), True)], rough=rough)
    assert np.array_equal(refined[:, :, :7], from_rough(tumour, rough)[:, :, :7])


def test_the_network_sees_phases_normalised_and_missing_ones_as_zero(study, tumour):
    seen = []

    class Records(Follows):
        def forward(self, patch):
            seen.append(patch.clone())
            return super().forward(patch)

    missing = Study(**(vars(study) | {"available": (True, True, False, True)}))
    refiner(Records())(missing, tumour, [Click((48, 40, 10), True)])
    patch = seen[0][0]
    assert not patch[2].any()
    assert abs(float(patch[0].mean())) < 0.5
    assert float(patch[5].max()) == pytest.approx(1.0, abs=0.15)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_click_lands_where_the_network_grid_shows_it(study, axis):
    grid = NetworkGrid(SHAPE, study.spacing_mm, axis, 128)
    index = (40, 33, 9)
    volume = np.zeros((1, *SHAPE), dtype=np.float32)
    volume[(0, *index)] = 1.0
    slices = grid.to_slices(volume)[:, 0]
    brightest = np.unravel_index(slices.argmax(), slices.shape)
    assert np.abs(np.subtract(to_slices(index, grid), brightest)).max() <= 1.0
