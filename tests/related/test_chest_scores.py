"""Scores of chest subjects by hand."""

import pytest
import torch

from scripts.domain.errors import DatasetError
from scripts.related.chest_scores import score_subject, summarise, validation_scores


def batch_of(case, classes, label=None, boxes=()):
    count = len(classes)
    label = torch.zeros(count, 1, 4, 4) if label is None else label
    empty = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}
    targets = [dict(empty) for _ in range(count)]
    for index, box, kind in boxes:
        targets[index] = {"boxes": torch.tensor([box]), "labels": torch.tensor([kind])}
    return {
        "case": [case] * count,
        "slice_class": torch.tensor(classes),
        "label": label,
        "image": torch.full((count, 1, 4, 4), 0.5),
        "targets": targets,
    }


def logits_of(classes):
    return 4.0 * torch.nn.functional.one_hot(torch.tensor(classes), 3).float()


@pytest.fixture
def nodule():
    """A nodule of 2 x 2 pixels in the second of three slices."""
    label = torch.zeros(3, 1, 4, 4)
    label[1, 0, 1:3, 1:3] = 1.0
    return batch_of("a", [0, 1, 0], label, [(1, [1.0, 1.0, 3.0, 3.0], 1)])


def test_a_subject_is_what_its_slices_with_a_lesion_are_said_to_be(nodule):
    row = score_subject({"classification": logits_of([2, 1, 2])}, nodule).row
    assert (row["true_class"], row["said_class"], row["correct"], row["slices_correct"]) == (
        "nodule",
        "nodule",
        True,
        1,
    )
    row = score_subject({"classification": logits_of([0, 2, 0])}, nodule).row
    assert (row["said_class"], row["correct"], row["slices_correct"]) == ("ground_glass", False, 2)


def test_a_normal_subject_is_what_all_its_slices_are_said_to_be():
    row = score_subject({"classification": logits_of([0, 0, 1])}, batch_of("n", [0, 0, 0])).row
    assert (row["true_class"], row["correct"]) == ("normal", True)


def test_dice_of_all_lesion_pixels_together(nodule):
    segmentation = torch.zeros(3, 2, 4, 4)
    segmentation[:, 0] = 1.0
    segmentation[1, 1, 1, 1:3] = 2.0  # two of four found
    segmentation[0, 1, 0, 0] = 2.0  # and one false
    row = score_subject({"segmentation": segmentation}, nodule).row
    assert row["dice"] == pytest.approx(2 * 2 / (3 + 4))
    assert row["iou"] == pytest.approx(2 / 5)
    normal = score_subject({"segmentation": segmentation}, batch_of("n", [0, 0, 0])).row
    assert normal["dice"] is None


def test_the_reconstructions_squared_error(nodule):
    row = score_subject({"reconstruction": torch.full((3, 1, 4, 4), 0.7)}, nodule).row
    assert row["reconstruction_error"] == pytest.approx(0.04)


def test_detections_are_matched_slice_by_slice(nodule):
    box = torch.tensor([[1.0, 1.0, 3.0, 3.0]])
    said = [{"boxes": box, "scores": torch.tensor([s]), "labels": torch.tensor([1])} for s in (0.9, 0.8, 0.1)]
    score = score_subject({"detection": said}, nodule)
    assert (score.row["true_boxes"], score.row["boxes_found"]) == (1, 1)
    # The same box in a slice without the nodule is wrong, and scored better: precision 1/2.
    assert summarise([score])["detection_ap50"]["value"] == pytest.approx(0.5)
    assert validation_scores([score]) == {"ap50": pytest.approx(0.5), "score": pytest.approx(0.5)}


def test_absent_tasks_are_empty_and_the_score_is_of_those_there_are(nodule):
    score = score_subject({"classification": logits_of([0, 1, 0]), "reconstruction": nodule["image"]}, nodule)
    assert score.row["dice"] is None
    assert score.row["boxes_found"] is None
    found = validation_scores([score])
    assert found == {"balanced_accuracy": 1.0, "reconstruction_error": 0.0, "score": 1.0}
    metrics = summarise([score])
    assert metrics["accuracy"] == {"value": 1.0, "ci95": None, "n": 3}
    for absent in ("dsc_mean", "detection_ap", "detection_ap50"):
        assert metrics[absent] == {"value": None, "ci95": None, "n": 0}


def test_a_segmentation_without_any_lesion_has_nothing_to_choose_by():
    segmentation = torch.zeros(2, 2, 4, 4)
    with pytest.raises(DatasetError, match="no validation subject has a lesion"):
        validation_scores([score_subject({"segmentation": segmentation}, batch_of("n", [0, 0]))])


def test_segmentation_alone_scores_its_dice(nodule):
    segmentation = torch.stack([1 - nodule["label"][:, 0], nodule["label"][:, 0]], dim=1)
    score = score_subject({"segmentation": segmentation}, nodule)
    assert validation_scores([score]) == {"dice": 1.0, "score": 1.0}


def test_intervals_are_over_subjects(nodule):
    right = score_subject({"classification": logits_of([0, 1, 0])}, nodule)
    wrong = score_subject({"classification": logits_of([1, 0, 1])}, nodule | {"case": ["b"] * 3})
    metrics = summarise([right, wrong])
    assert metrics["accuracy"]["value"] == pytest.approx(0.5)
    assert metrics["accuracy"]["ci95"] == [0.0, 1.0]
    assert metrics["subject_accuracy"] == {"value": 0.5, "ci95": [0.0, 1.0], "n": 2}
