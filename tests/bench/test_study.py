"""The measured study goes all the way: lesions found, mask, result and picture written."""

from __future__ import annotations

import math

import numpy as np

from scripts.bench import study


def test_value_is_finite(conditions):
    values = study.measure(conditions)
    assert values.keys() == set(study.UNITS)
    assert math.isfinite(values["study_excess_s"])


def test_results_of_the_true_lesions_are_written(conditions, tmp_path):
    evaluator = study.study_evaluator(conditions, tmp_path)
    evaluator.run()
    analysis = evaluator.state.output
    assert analysis.result.lesions
    assert analysis.result.lesions[0].probabilities is not None
    assert np.array_equal(analysis.prediction.tumour > 0, analysis.study.label > 0)
    written = {file.name for file in (tmp_path / analysis.case.case).iterdir()}
    assert written == {"mask.nii.gz", "result.json", "figure.png"}
