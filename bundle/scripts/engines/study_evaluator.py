"""Analyses whole studies, one per iteration, for `evaluating` and `inferring`."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import torch
from monai.engines import Evaluator
from monai.engines.utils import IterationEvents
from torch import nn
from torch.utils.data import Dataset

from ..domain.errors import StudyError
from ..domain.prediction import Prediction
from ..domain.result import Result
from ..domain.study import Study
from ..results.lesions import MIN_VOLUME_ML, analyse
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


class ReadAhead:
    """Reads the next study in a thread while the network works on the current one.

    A thread of our own, as MONAI's ``ThreadDataLoader`` ends the epoch silently where reading raises.

    Args:
        dataset: of the studies.
    """

    def __init__(self, dataset: StudyDataset) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __iter__(self) -> Iterator[tuple[Case, Study | StudyError]]:
        with ThreadPoolExecutor(max_workers=1) as pool:
            coming = pool.submit(self.dataset.__getitem__, 0)
            for index in range(1, len(self.dataset) + 1):
                current = coming.result()
                if index < len(self.dataset):
                    coming = pool.submit(self.dataset.__getitem__, index)
                yield current


class StudyEvaluator(Evaluator):
    """Analyse one study per iteration; ``state.output`` is an ``Analysis``, or the study's ``StudyError``.

    Args:
        device: where the network runs.
        val_data_loader: yields ``(case, study or error)``.
        network: MTI-Net with its weights.
        inferer: the study inferer.
        threshold: probability from which a voxel is tumour.
        min_volume_ml: smaller components are left out.
        val_handlers: objects with ``attach(engine)``.
    """

    def __init__(
        self,
        device: torch.device | str,
        val_data_loader: ReadAhead,
        network: nn.Module,
        inferer: StudyInferer,
        *,
        threshold: float = 0.5,
        min_volume_ml: float = MIN_VOLUME_ML,
        val_handlers: Sequence | None = None,
    ) -> None:
        self.network = network
        self.inferer = inferer
        self.threshold = threshold
        self.min_volume_ml = min_volume_ml
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
            return self._failed(case, study)
        try:
            prediction = _with_mask(study, self.inferer(study, self.network))
        except StudyError as error:
            return self._failed(case, error)
        self.fire_event(IterationEvents.FORWARD_COMPLETED)
        result, mask = analyse(
            study,
            prediction,
            model=self.model,
            threshold=self.threshold,
            min_volume_ml=self.min_volume_ml,
            body=body_mask(study.image),
        )
        self.fire_event(IterationEvents.MODEL_COMPLETED)
        return Analysis(case=case, study=study, prediction=prediction, result=result, mask=mask)

    def _failed(self, case: Case, error: StudyError) -> StudyError:
        logger.error("%s", error)
        self.failures[case.case] = error
        return error


def _with_mask(study: Study, prediction: Prediction) -> Prediction:
    """The prediction of a network that does not segment, on the lesion that the study's label gives."""
    if prediction.tumour is not None:
        return prediction
    if study.label is None:
        msg = f"{study.case}: this network does not segment, so the lesion must be given. Put its mask into labelsTs"
        raise StudyError(msg)
    return replace(prediction, tumour=(study.label > 0).astype(np.float32), mask_given=True)
