import numpy as np
import pytest

from scripts.domain.classes import CLASSES, LABELS, NO_LESION, UNKNOWN_LABEL, tumour_class_of


def test_the_contract_of_classes_and_labels():
    assert CLASSES == ("hemangioma", "hcc")
    assert LABELS == {"background": 0, "hemangioma": 1, "hcc": 2}
    assert UNKNOWN_LABEL not in LABELS.values()


@pytest.mark.parametrize(("voxels", "expected"), [((0, 0), NO_LESION), ((3, 0), "hemangioma"), ((0, 1), "hcc")])
def test_a_subjects_class_is_in_its_label(voxels, expected):
    label = np.zeros((5, 4, 3), dtype=np.uint8)
    label.flat[: voxels[0]] = 1
    label.flat[voxels[0] : sum(voxels)] = 2
    assert tumour_class_of(label) == expected
