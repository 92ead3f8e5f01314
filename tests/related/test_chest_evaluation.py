"""Boxes of the network grid go back to the voxels of the file."""

import pytest
import torch

from scripts.related.chest_dataset import load_chest, sample
from scripts.related.chest_evaluation import _findings, _in_file
from scripts.related.chest_layout import BOX, read_chest


@pytest.fixture
def arrays(chest_dir):
    case = next(case for case in read_chest(chest_dir) if case.subject_class == "ground_glass" and case.lesions)
    return load_chest([case], 64)[0]


def test_the_true_boxes_come_back_as_the_table_lists_them(arrays):
    listed = {(b.slice_index, b.box) for b in arrays.case.lesions}
    found = {
        (index, tuple(_in_file(box, arrays)[name] for name in BOX))
        for index in range(len(arrays.image))
        for box in sample(arrays, index)["targets"]["boxes"]
    }
    assert found == listed


def test_a_box_ends_where_the_file_does(arrays):
    # The file has 64 x 48 voxels, its second axis pixels 8 to 56 of the network grid.
    assert _in_file(torch.tensor([2.0, 0.0, 60.0, 64.0]), arrays) == dict(zip(BOX, (0, 0, 64, 48), strict=True))


def test_boxes_of_a_low_score_are_left_out(arrays):
    said = {
        "boxes": torch.tensor([[0.0, 0.0, 9.0, 9.0], [8.0, 0.0, 20.0, 30.0]]),
        "labels": torch.tensor([1, 2]),
        "scores": torch.tensor([0.4, 0.75]),
    }
    findings = _findings({"detection": [said]}, arrays, 0.5)
    assert set(findings) == {"case", "boxes"}
    (box,) = findings["boxes"]
    # Columns run along the file's second axis, which has 8 pixels of air before it on the network grid.
    expected = {"x_min": 0.0, "y_min": 0.0, "x_max": 30.0, "y_max": 12.0}
    assert box == {"slice": 0, "class": "ground_glass", "score": 0.75, **expected}
