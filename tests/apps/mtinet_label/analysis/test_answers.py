import json
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import nrrd as pynrrd
import numpy as np
import pytest

from lib.analysis import Analyser
from lib.answers import facts, uncertainty, write_answer
from lib.errors import BadRequestError
from lib.studies.study import OpenStudy


@pytest.mark.parametrize("extension", [".exe", "nrrd", "/../x.nrrd", ".json"])
def test_unknown_extensions_are_refused(opened_study: OpenStudy, true_mask: np.ndarray, extension: str) -> None:
    with pytest.raises(BadRequestError, match="none of"):
        write_answer(true_mask, opened_study, None, extension=extension)


@pytest.mark.parametrize("extension", [".nrrd", ".nii.gz", ".nii", None])
def test_the_mask_on_the_grid_of_the_series(
    opened_study: OpenStudy, true_mask: np.ndarray, extension: str | None
) -> None:
    file = write_answer(true_mask, opened_study, opened_study.reference, extension=extension)
    try:
        if extension == ".nrrd":
            voxels, _ = pynrrd.read(str(file))
        else:
            image = nib.load(file)
            voxels = np.asarray(image.dataobj)
            np.testing.assert_allclose(image.affine, opened_study.grid(None).affine, atol=1e-4)
        assert voxels.dtype == np.uint8
        assert np.array_equal(voxels, true_mask)
    finally:
        Path(file).unlink()


def test_facts_are_json_and_name_the_values_that_occur(analyser: Analyser, opened_study: OpenStudy) -> None:
    analysed = analyser.analyse(opened_study)
    said = json.loads(json.dumps(facts(analysed), allow_nan=False))
    assert said["subject"] == "liver-01"
    assert said["rule"]["agrees"] is (said["rule"]["class"] == said["class"])
    assert said["label_names"] == {lesion["class"]: 1 + (lesion["class"] == "hcc") for lesion in said["lesions"]}
    assert 0 < said["uncertainty"]["mask"] < 1
    assert said["uncertainty"]["disagreement"] == max(x["enhancement"]["disagreement"] for x in said["lesions"])


def test_uncertainty_where_the_network_is_sure_and_where_not(analyser: Analyser, opened_study: OpenStudy) -> None:
    result = analyser.analyse(opened_study).result
    even = replace(result, probabilities={"hemangioma": 0.5, "hcc": 0.5})
    assert uncertainty(even, np.full((2, 2, 2), 0.5))["mask"] == pytest.approx(1.0)
    assert uncertainty(even, np.full((2, 2, 2), 0.5))["class"] == pytest.approx(1.0)
    sure = replace(result, probabilities={"hemangioma": 0.0, "hcc": 1.0}, lesions=())
    assert uncertainty(sure, np.array([1.0, 0.0])) == {
        "mask": pytest.approx(0.0, abs=1e-9),
        "class": pytest.approx(0.0, abs=1e-9),
        "disagreement": None,
    }
    nothing = replace(result, probabilities=None, lesions=())
    assert uncertainty(nothing, np.zeros(8)) == {"mask": None, "class": None, "disagreement": None}
