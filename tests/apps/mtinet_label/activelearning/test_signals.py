import pytest
import torch

from lib.activelearning.signals import (
    class_uncertainty,
    describe,
    disagreement,
    mask_uncertainty,
    measure,
    suspicion,
)

AVAILABLE = torch.ones(4, dtype=torch.bool)


def test_samples_that_agree_are_certain_however_blurred_they_are():
    blurred = torch.full((6, 2, 8, 8), 0.5)
    assert mask_uncertainty(blurred, voxel_ml=1.0) == pytest.approx(0.0, abs=1e-6)


def test_samples_that_contradict_each_other_are_uncertain_whatever_the_tumours_size():
    for size in (2, 6):
        tumour = torch.zeros(4, 2, 8, 8)
        tumour[:2, 0, :size, :4] = 1.0
        # A bit for each voxel, of which half the samples say that it is none.
        assert mask_uncertainty(tumour, voxel_ml=1.0) == pytest.approx(2.0, abs=1e-2)


def test_a_large_tumour_of_which_only_the_rim_is_doubted_is_more_certain_than_a_small_doubted_one():
    large, small = torch.zeros(4, 2, 8, 8), torch.zeros(4, 2, 8, 8)
    large[:, :, :6, :6] = 1.0
    large[:2, :, 6, :6] = 1.0
    small[:2, :, 0, :3] = 1.0
    assert 0.0 < mask_uncertainty(large, voxel_ml=1.0) < 0.3 * mask_uncertainty(small, voxel_ml=1.0)


def test_where_hardly_any_tumour_is_expected_the_study_is_certain():
    tumour = torch.full((4, 2, 8, 8), 1e-5)
    tumour[0] = 3e-5
    assert mask_uncertainty(tumour, voxel_ml=0.01) < 0.01


def test_the_class_is_uncertain_where_whole_answers_differ():
    steady = torch.tensor([0.5, 0.5]).expand(4, 3, 2)
    torn = torch.tensor([[1.0, 0.0], [0.0, 1.0]]).repeat(2, 1)[:, None].expand(4, 3, 2)
    area = torch.tensor([5.0, 1.0, 0.0])
    assert class_uncertainty(steady, area) == pytest.approx(0.0, abs=1e-6)
    assert class_uncertainty(torn, area) == pytest.approx(1.0, abs=1e-3)


def test_slices_without_suspicion_say_nothing_about_the_class():
    classes = torch.tensor([0.9, 0.1]).repeat(4, 2, 1)
    classes[:2, 1] = torch.tensor([0.0, 1.0])
    assert class_uncertainty(classes, torch.tensor([1.0, 0.0])) == pytest.approx(0.0, abs=1e-6)


def test_suspicion_is_somewhere_even_if_nothing_is_found():
    tumour = torch.tensor([[[0.01, 0.04], [0.019, 0.03]]])
    torch.testing.assert_close(suspicion(tumour), torch.tensor([[[0.0, 0.04], [0.0, 0.03]]]))


def _slices_with_a_square():
    suspected = torch.zeros(2, 8, 8)
    suspected[0, 2:4, 2:4] = 1.0
    image = torch.zeros(2, 4, 8, 8)
    image[0, :, 2:4, 2:4] = torch.tensor([0.1, 1.0, 0.8, 0.6]).view(4, 1, 1)
    image[1] = 7.0
    return suspected, image


def test_head_and_mask_agree_where_the_head_says_the_mean_under_the_mask():
    suspected, image = _slices_with_a_square()
    regression = torch.tensor([[0.1, 1.0, 0.8, 0.6], [99.0, 99.0, 99.0, 99.0]])
    assert disagreement(suspected, image, regression, AVAILABLE) == pytest.approx(0.0, abs=1e-5)


def test_their_disagreement_is_the_mean_difference_over_the_phases_that_there_are():
    suspected, image = _slices_with_a_square()
    regression = torch.tensor([[0.1, 1.0, 0.8, 0.6], [0.0, 0.0, 0.0, 0.0]]) + torch.tensor([0.0, 0.3, -0.6, 50.0])
    available = torch.tensor([True, True, True, False])
    assert disagreement(suspected, image, regression, available) == pytest.approx(0.3, abs=1e-5)


def test_features_come_from_where_the_tumour_is_suspected():
    suspected = torch.zeros(1, 32, 32)
    suspected[0, :16, 16:] = 0.9
    deepest = torch.zeros(1, 3, 2, 2)
    deepest[0, :, 0, 1] = torch.tensor([1.0, 2.0, 3.0])
    torch.testing.assert_close(describe(deepest, suspected), torch.tensor([1.0, 2.0, 3.0]), rtol=1e-3, atol=0)


def test_a_study_is_measured_alike_each_time_and_its_slices_in_any_number(small_network):
    image = torch.randn(20, 4, 32, 32, generator=torch.Generator().manual_seed(0))
    times = torch.tensor([0.0, 30.0, 70.0, 180.0])
    one, again = (measure(small_network, image, AVAILABLE, times, voxel_ml=0.5) for _ in range(2))
    assert one.uncertainty == again.uncertainty > 0
    assert one.consistency == again.consistency > 0
    assert one.features.shape == (4 * 8,)
    assert not small_network.training
