"""COCO's average precision against hand computation."""

import numpy as np

from scripts.related.average_precision import IOU_THRESHOLDS, average_precisions, box_iou, joined, match

BOX = [10.0, 10.0, 20.0, 20.0]
FAR = [50.0, 50.0, 60.0, 60.0]


def matched(boxes, scores, true_boxes, labels=None, true_labels=None):
    return match(
        np.array(boxes, dtype=float).reshape(-1, 4),
        np.array(scores, dtype=float),
        np.ones(len(boxes), dtype=int) if labels is None else np.array(labels),
        np.array(true_boxes, dtype=float).reshape(-1, 4),
        np.ones(len(true_boxes), dtype=int) if true_labels is None else np.array(true_labels),
    )


def test_iou_by_hand():
    shifted = [15.0, 10.0, 25.0, 20.0]  # 50 shared of 150
    iou = box_iou(np.array([BOX, FAR]), np.array([BOX, shifted]))
    np.testing.assert_allclose(iou, [[1.0, 1 / 3], [0.0, 0.0]])


def test_no_true_box_has_no_precision():
    assert np.isnan(average_precisions(matched([BOX], [0.9], []))).all()


def test_nothing_found_is_0():
    np.testing.assert_array_equal(average_precisions(matched([], [], [BOX])), 0.0)


def test_everything_found_is_1():
    np.testing.assert_allclose(average_precisions(matched([FAR, BOX], [0.2, 0.9], [BOX, FAR])), 1.0)


def test_a_better_scored_false_one_halves_the_precision():
    np.testing.assert_allclose(average_precisions(matched([FAR, BOX], [0.9, 0.2], [BOX])), 0.5)


def test_a_worse_scored_false_one_costs_nothing():
    np.testing.assert_allclose(average_precisions(matched([FAR, BOX], [0.2, 0.9], [BOX])), 1.0)


def test_half_of_the_boxes_found_is_51_of_101_recalls():
    # Recall .5 is reached with precision 1: the recalls 0, .01 ... .5 count 1, the others 0.
    np.testing.assert_allclose(average_precisions(matched([BOX], [0.9], [BOX, FAR])), 51 / 101)


def test_the_precision_between_two_finds():
    # right, wrong, right: precision 1 up to recall 1/2, then 2/3.
    said = matched([BOX, [80, 80, 90, 90], FAR], [0.9, 0.8, 0.7], [BOX, FAR])
    np.testing.assert_allclose(average_precisions(said), (51 * 1 + 50 * 2 / 3) / 101)


def test_an_iou_of_two_thirds_counts_up_to_the_threshold_of_65():
    said = matched([[12.0, 10.0, 22.0, 20.0]], [0.9], [BOX])  # 80 shared of 120
    expected = (IOU_THRESHOLDS <= 2 / 3).astype(float)
    assert expected.sum() == 4
    np.testing.assert_allclose(average_precisions(said), expected)


def test_a_box_is_found_once():
    said = matched([BOX, BOX], [0.9, 0.8], [BOX])
    assert said.right[:, 0].tolist() == [True, False]


def test_a_detection_takes_the_box_that_it_shares_most_with():
    near = [11.0, 10.0, 21.0, 20.0]
    said = matched([near, BOX], [0.9, 0.8], [BOX, near])
    assert said.right[:, 0].all()
    assert said.right[:, -1].all()


def test_another_class_finds_nothing_and_classes_count_alike():
    said = matched([BOX, FAR], [0.9, 0.8], [BOX, FAR, FAR], labels=[1, 1], true_labels=[1, 2, 2])
    # Class 1: found first, the false one after it; class 2: never.
    np.testing.assert_allclose(average_precisions(said), 0.5)


def test_scores_are_ranked_over_all_images():
    right, wrong = matched([BOX], [0.5], [BOX]), matched([FAR], [0.9], [BOX])
    # Ranked: wrong, right of two true boxes: precision 1/2 up to recall 1/2.
    np.testing.assert_allclose(average_precisions(joined([right, wrong])), 51 / 101 / 2)
