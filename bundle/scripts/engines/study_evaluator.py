"""Analyses whole studies, one per iteration, for `evaluating` and `inferring`."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from monai.data import ThreadDataLoader
from monai.engines import Evaluator
from monai.engines.utils import IterationEvents
from torch import nn
from torch.utils.data import Dataset

from ..domain.errors import StudyError
from ..domain.prediction import Prediction
from ..domain.result import Result
from ..domain.study import Study
from ..results.lesions import analyse
from ..studies.layout import Case
from ..studies.normalisation import body_mask
from ..studies.reading import read_study
from .inferer import StudyInferer

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Analysis:
    """One analysed study: what went in, what the network said, what comes out."""

    case: Case
    study: Study
    prediction: Prediction
    result: Result
    mask: np.ndarray


class StudyDataset(Dataset):
    """Reads cases; a study that cannot be read is returned as its error, so that the others go on.

    Args:
        cases: the cases, in the order in which they are analysed.
    """

    def __init__(self, cases: Sequence[Case]) -> None:
        self.data = list(cases)

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> tuple[Case, Study | StudyError]:
        case = self.data[index]
        try:
            return case, read_study(case)
        except StudyError as error:
            return case, error


def study_loader(dataset: StudyDataset) -> ThreadDataLoader:
    """Read the next study in a thread while the network works on the current one."""
    return ThreadDataLoader(dataset, batch_size=None, num_workers=0, buffer_size=1)


class StudyEvaluator(Evaluator):
    """Analyse one study per iteration; ``state.output`` is an ``Analysis``, or the study's ``StudyError``.

    Args:
        device: where the network runs.
        val_data_loader: yields ``(case, study or error)``.
        network: MTI-Net with its weights.
        inferer: the study inferer.
        val_handlers: objects with ``attach(engine)``.
    """

    def __init__(
        self,
        device: torch.device | str,
        val_data_loader: ThreadDataLoader,
        network: nn.Module,
        inferer: StudyInferer,
        *,
        val_handlers: Sequence | None = None,
    ) -> None:
        self.network = network
        self.inferer = inferer
        self.model = {"version": "", "weights_sha256": ""}
        """Copied into every result."""
        self.failures: dict[str, StudyError] = {}
        super().__init__(device=device, val_data_loader=val_data_loader, val_handlers=val_handlers, decollate=False)

    def run(self, global_epoch: int = 1) -> None:
        """Analyse every study of the loader."""
        self.failures.clear()
        super().run(global_epoch)

    def _iteration(self, engine: StudyEvaluator, batchdata: tuple[Case, Study | StudyError]) -> Analysis | StudyError:
        case, study = batchdata
        if isinstance(study, StudyError):
            logger.error("%s", study)
            self.failures[case.case] = study
            return study
        prediction = self.inferer(study, self.network)
        self.fire_event(IterationEvents.FORWARD_COMPLETED)
        result, mask = analyse(study, prediction, model=self.model, body=body_mask(study.image))
        self.fire_event(IterationEvents.MODEL_COMPLETED)
        return Analysis(case=case, study=study, prediction=prediction, result=result, mask=mask)
