"""nnU-Net's masks as the predictions of a network: one command for all studies, then an answer for each."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from ignite.engine import Engine, Events
from monai.inferers import Inferer

from ...domain.classes import LABELS
from ...domain.errors import StudyError
from ...domain.prediction import Prediction
from ...domain.study import Study
from ...results.components import slice_areas
from ...studies.case import Case, mask_file_name
from ...studies.reading import read_mask
from .network import NNUNet, find_model
from .program import PREDICT, Program
from .raw_folder import lay_out_images

MOST_HELPERS = 3
"""Processes that read, and that write, beside the network; nnU-Net's own number."""


class NNUNetInferer(Inferer):
    """Lets nnU-Net segment every study when the evaluation starts, and then answers from its masks.

    It is a handler of the evaluator too; attach it after the handlers that take the time.

    Args:
        program: nnU-Net's commands.
        cases: the studies to come.
        ckpt_path: the ``model.pt``, beside which nnU-Net's files are.
        device: cpu or cuda.
    """

    size = 0

    def __init__(self, program: Program, cases: Sequence[Case], *, ckpt_path: str | Path, device: str = "cpu") -> None:
        self.program = program
        self.cases = cases
        self.ckpt_path = ckpt_path
        self.device = device
        self.masks = program.work / "predicted"
        self._seconds = 0.0

    def attach(self, engine: Engine) -> None:
        """Predict before the first study."""
        engine.add_event_handler(Events.STARTED, self._predict)

    def __call__(self, inputs: Study, network: NNUNet, *args: Any, **kwargs: Any) -> Prediction:
        """The mask of a study, and its class by the voxels of each value.

        Args:
            inputs: the study.
            network: unused, as the masks are there.
            args: unused, MONAI's signature.
            kwargs: likewise.

        Raises:
            StudyError: nnU-Net left no mask of it.
        """
        file = self.masks / mask_file_name(inputs.case)
        if not file.is_file():
            msg = f"{inputs.case}: nnU-Net left no {file}. Look into its output above"
            raise StudyError(msg)
        mask = read_mask(file, inputs)
        return Prediction(
            tumour=(mask > 0).astype(np.float32),
            regression=None,
            classification=class_shares(mask, inputs.slice_axis),
            seconds=self._seconds,
        )

    def _predict(self, engine: Engine) -> None:
        start = time.perf_counter()
        model = find_model(self.ckpt_path, engine.network)
        self.masks.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=self.program.work, prefix=".images-") as images:
            for case in self.cases:
                (self.masks / mask_file_name(case.case)).unlink(missing_ok=True)
                # The evaluator will meet the same fault, and name it; the others go on.
                with suppress(StudyError):
                    lay_out_images([case], Path(images))
            helpers = min(MOST_HELPERS, self.program.workers)
            arguments = ("-i", images, "-o", self.masks, "-m", model, "-f", 0, "-npp", helpers, "-nps", helpers)
            self.program.run(PREDICT, *arguments, "-device", self.device)
        self._seconds = (time.perf_counter() - start) / len(self.cases)


def class_shares(mask: np.ndarray, slice_axis: int) -> np.ndarray:
    """The share of each class among the tumour voxels of a slice, as a head would give probabilities.

    Args:
        mask: ``(X, Y, Z)`` of ``LABELS`` values.
        slice_axis: over which slices are counted.

    Returns:
        ``(S, 2)`` float32 in the order of ``CLASSES``. A slice without tumour has the shares of the whole study,
        a study without any has NaN: nothing was said of its class.
    """
    tumour, hcc = (slice_areas(part, slice_axis).astype(np.float64) for part in (mask > 0, mask == LABELS["hcc"]))
    overall = hcc.sum() / tumour.sum() if tumour.any() else np.nan
    share = np.divide(hcc, tumour, out=np.full(len(hcc), overall), where=tumour > 0)
    return np.stack([1.0 - share, share], axis=1).astype(np.float32)
