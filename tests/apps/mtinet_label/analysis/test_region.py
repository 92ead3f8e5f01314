import numpy as np
import pytest

from lib.analysis import Analyser
from lib.errors import BadRequestError
from lib.region import region_curves
from lib.studies.study import OpenStudy
from scripts.domain.enhancement import mean_curve
from scripts.studies.reading import read_study


def test_an_empty_mask_is_refused(analyser: Analyser, opened_study: OpenStudy, true_mask: np.ndarray) -> None:
    with pytest.raises(BadRequestError, match="draw a lesion"):
        region_curves(np.zeros_like(true_mask), opened_study, analyser)


def test_the_curve_of_the_mask_without_the_network(
    analyser: Analyser, opened_study: OpenStudy, true_mask: np.ndarray
) -> None:
    said = region_curves(true_mask, opened_study, analyser)
    study = read_study(opened_study.case)
    (lesion,) = said["lesions"]
    np.testing.assert_allclose(lesion["enhancement"]["from_mask"], mean_curve(study.image, study.label > 0), rtol=1e-6)
    assert lesion["rule_class"] == lesion["reader_class"] == "hcc"
    assert lesion["enhancement"]["washout"] is True
    assert lesion["probabilities"] is None
    assert said["analysed"] is False
    assert not any("network" in note for note in said["notes"])


def test_the_network_s_opinion_stands_beside_it_once_it_is_known(analyser: Analyser, opened_study: OpenStudy) -> None:
    analysed = analyser.analyse(opened_study)
    said = region_curves(analysed.mask, opened_study, analyser)
    expected = analysed.result.to_dict()["lesions"]
    assert said["analysed"] is True
    assert [lesion["enhancement"] for lesion in said["lesions"]] == [lesion["enhancement"] for lesion in expected]
    assert [lesion["probabilities"] for lesion in said["lesions"]] == [lesion["probabilities"] for lesion in expected]


def test_lesions_are_read_as_most_of_their_voxels(
    analyser: Analyser, opened_study: OpenStudy, true_mask: np.ndarray
) -> None:
    two = np.where(true_mask > 0, 1, 0).astype(np.uint8)
    two[60:63, 40:42, 5:7] = 2
    said = region_curves(two, opened_study, analyser)
    assert [lesion["reader_class"] for lesion in said["lesions"]] == ["hemangioma", "hcc"]
