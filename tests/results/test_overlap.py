import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial import cKDTree

from scripts.results.overlap import hausdorff_mm, match_lesions, overlap

SPACING_MM = (1.5, 2.0, 4.0)


def surface_distances(truth: np.ndarray, predicted: np.ndarray, spacing_mm) -> tuple[np.ndarray, np.ndarray]:
    """Distance of each boundary voxel of either mask to the other's boundary, written from the definition."""
    points = []
    for mask in (truth, predicted):
        inner = ndimage.binary_erosion(mask, ndimage.generate_binary_structure(mask.ndim, 1))
        points.append(np.argwhere(mask & ~inner) * np.asarray(spacing_mm))
    return cKDTree(points[1]).query(points[0])[0], cKDTree(points[0]).query(points[1])[0]


def wobbly(known, seed: int) -> np.ndarray:
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=known.shape), 2.0)
    return known.ellipsoid((31, 27, 8), 15.0) & (noise > -0.05)


def test_nothing_predicted_is_the_worst_of_everything(known):
    agreement = overlap(known.hcc_mask, np.zeros(known.shape, dtype=bool), SPACING_MM)
    assert (agreement.dice, agreement.iou, agreement.nsd) == (0.0, 0.0, 0.0)
    assert agreement.hd95_mm == pytest.approx(np.sqrt((96 * 1.5) ** 2 + (80 * 2.0) ** 2 + (20 * 4.0) ** 2))


def test_the_truth_itself_is_perfect(known):
    agreement = overlap(known.hcc_mask, known.hcc_mask, SPACING_MM)
    assert (agreement.dice, agreement.iou, agreement.nsd, agreement.hd95_mm) == (1.0, 1.0, 1.0, 0.0)


def test_a_place_elsewhere_has_no_overlap_but_a_distance(known):
    agreement = overlap(known.hcc_mask, known.hemangioma_mask, SPACING_MM)
    assert (agreement.dice, agreement.nsd) == (0.0, 0.0)
    forth, back = surface_distances(known.hcc_mask, known.hemangioma_mask, SPACING_MM)
    assert agreement.hd95_mm == pytest.approx(max(np.percentile(forth, 95), np.percentile(back, 95)), rel=1e-5)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_equals_the_definitions(known, seed):
    truth, predicted = known.hcc_mask, wobbly(known, seed)
    agreement = overlap(truth, predicted, SPACING_MM)
    shared = (truth & predicted).sum()
    forth, back = surface_distances(truth, predicted, SPACING_MM)
    within = (forth <= 2.0).sum() + (back <= 2.0).sum()
    assert agreement.dice == pytest.approx(2 * shared / (truth.sum() + predicted.sum()))
    assert agreement.iou == pytest.approx(shared / (truth | predicted).sum())
    assert agreement.iou == pytest.approx(agreement.dice / (2 - agreement.dice))
    assert agreement.nsd == pytest.approx(within / (len(forth) + len(back)), rel=1e-5)
    assert agreement.hd95_mm == pytest.approx(max(np.percentile(forth, 95), np.percentile(back, 95)), rel=1e-5)
    assert hausdorff_mm(truth, predicted, SPACING_MM) == pytest.approx(max(forth.max(), back.max()), rel=1e-5)


def test_a_lesion_at_the_border_of_the_image_is_measured_the_same(known):
    truth, predicted = known.ellipsoid((0, 79, 0), 14.0), known.ellipsoid((2, 78, 1), 12.0)
    forth, back = surface_distances(truth, predicted, SPACING_MM)
    expected = max(np.percentile(forth, 95), np.percentile(back, 95))
    assert overlap(truth, predicted, SPACING_MM).hd95_mm == pytest.approx(expected, rel=1e-5)


def test_a_slice_is_measured_in_its_plane(known):
    truth, predicted = known.hcc_mask[:, :, 8], wobbly(known, 4)[:, :, 8]
    forth, back = surface_distances(truth, predicted, SPACING_MM[:2])
    agreement = overlap(truth, predicted, SPACING_MM[:2])
    assert agreement.hd95_mm == pytest.approx(max(np.percentile(forth, 95), np.percentile(back, 95)), rel=1e-5)


def test_spacing_counts():
    truth, predicted = (np.zeros((30, 20, 10), dtype=bool) for _ in range(2))
    truth[5:10, 5:10, 2] = True
    predicted[5:10, 5:10, 4] = True
    assert overlap(truth, predicted, (1.0, 1.0, 1.0)).nsd == 1.0
    agreement = overlap(truth, predicted, SPACING_MM)
    assert agreement.nsd == 0.0
    assert agreement.hd95_mm == pytest.approx(8.0)


def test_no_lesions_match_nothing(known):
    empty = np.zeros(known.shape, dtype=bool)
    assert match_lesions(empty, empty) == (0, 0, 0)
    assert match_lesions(known.hcc_mask, empty) == (1, 0, 0)
    assert match_lesions(empty, known.hcc_mask) == (0, 1, 0)


def test_each_lesion_is_found_once(known):
    both = known.hcc_mask | known.hemangioma_mask
    assert match_lesions(both, both) == (2, 2, 2)
    assert match_lesions(both, known.hemangioma_mask) == (2, 1, 1)


def test_two_predictions_in_one_lesion_match_once():
    truth, predicted = (np.zeros((30, 20, 10), dtype=bool) for _ in range(2))
    truth[5:25, 5:10, 2:6] = True
    predicted[5:12, 5:10, 2:6] = True
    predicted[14:25, 5:10, 2:6] = True
    assert match_lesions(truth, predicted) == (1, 2, 1)


def test_one_prediction_over_two_lesions_finds_one():
    truth, predicted = (np.zeros((30, 20, 10), dtype=bool) for _ in range(2))
    truth[5:12, 5:10, 2:6] = True
    truth[14:25, 5:10, 2:6] = True
    predicted[5:25, 5:10, 2:6] = True
    assert match_lesions(truth, predicted) == (2, 1, 1)


@pytest.mark.parametrize(("length", "matched"), [(10, 1), (9, 0)])
def test_a_tenth_of_the_union_is_enough(length, matched):
    truth, predicted = (np.zeros((110, 20, 10), dtype=bool) for _ in range(2))
    truth[:100, 5, 5] = True
    predicted[:length, 5, 5] = True
    assert match_lesions(truth, predicted) == (1, 1, matched)


def test_a_bad_pair_does_not_block_a_good_one():
    """The pairing is by the sum of IoU: taking the best pair of one lesion first would lose the other."""
    truth, predicted = (np.zeros((60, 9, 9), dtype=bool) for _ in range(2))
    truth[0:10, 1, 1] = True
    truth[12:30, 1, 1] = True
    predicted[4:24, 1, 1] = True
    predicted[26:30, 1, 1] = True
    # IoU: first true with first predicted 6/24, second true with first 12/26, with second 4/18.
    assert match_lesions(truth, predicted) == (2, 2, 2)
