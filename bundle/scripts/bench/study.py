"""A whole study, from its files to its written mask, result and picture: the time beside the network's."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from torch import nn
from tqdm import tqdm

from ..domain.prediction import Prediction
from ..domain.study import Study
from ..engines.inferer import StudyInferer
from ..engines.study_evaluator import StudyEvaluator
from .conditions import Conditions

UNITS = {"study_excess_s": "s"}

NETWORK_ALLOWANCE = 1.3
"""Times the network's own time that a study may take before the rest counts as excess."""


class TruthfulInferer(StudyInferer):
    """Runs the network, then answers with the true mask.

    A network with random weights finds no lesions, and their analysis would be left out of the time.
    """

    def __call__(self, inputs: Study, network: nn.Module, *args: Any, **kwargs: Any) -> Prediction:
        """Predict one labelled study."""
        prediction = super().__call__(inputs, network, *args, **kwargs)
        return dataclasses.replace(prediction, tumour=(inputs.label > 0).astype(np.float32))


def study_evaluator(conditions: Conditions, output_dir: Path) -> StudyEvaluator:
    """The evaluator of ``inference.yaml`` for the phantom's one test study, writing its result and picture."""
    changes = {
        "dataset_dir": str(conditions.dataset_dir),
        "output_dir": str(output_dir),
        "dataset#cases": "$[case for case in @opened.cases if case.split == 'test']",
        "inferer#_target_": "scripts.bench.study.TruthfulInferer",
        "handlers": ["@writer"],
    }
    return conditions.inference_config(changes).get_parsed_content("evaluator")


def measure(conditions: Conditions) -> dict[str, float]:
    """Seconds beyond ``NETWORK_ALLOWANCE`` times the network's; the model is compiled in the warm-up."""
    evaluator = study_evaluator(conditions, conditions.work_dir / "study")
    evaluator.run()
    excess_s = []
    for _ in tqdm(range(conditions.runs), desc="study", unit="run", leave=False):
        start = time.perf_counter()
        evaluator.run()
        elapsed_s = time.perf_counter() - start
        excess_s.append(elapsed_s - NETWORK_ALLOWANCE * evaluator.state.output.prediction.seconds)
    return {"study_excess_s": median(excess_s)}
