"""The tiny dataset's first study as the server opens it, and an analyser that answers without a network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from lib.analysis import Analysed
from lib.orientation import file_affine, to_file_order
from lib.queue import AnalysisQueue
from lib.refining import StudyRefiner
from lib.studies.study import Address, OpenStudy, ViewerGrid
from scripts.domain.phases import PHASES
from scripts.domain.prediction import Prediction
from scripts.engines.refinement import Refiner
from scripts.results.lesions import analyse
from scripts.studies.layout import read_dataset
from scripts.studies.reading import read_study


class Follows(torch.nn.Module):
    """Stands for a trained refinement: lesion where the guidance says so, none where it says that."""

    def forward(self, patch):
        return torch.logit(patch[:, 4:5], eps=0.01) + 20.0 * (patch[:, 5:6] - patch[:, 6:7])


class KnownAnalyser:
    """Stands for the analyser: found the study's true lesion, and calls it a hemangioma, which it is not."""

    def __init__(self, opened: OpenStudy) -> None:
        self.image = read_study(opened.case)
        self.volumes = self
        self.queue = AnalysisQueue(waiting=0)
        slices = self.image.image.shape[1 + self.image.slice_axis]
        prediction = Prediction(
            tumour=np.where(self.image.label > 0, 0.9, 0.02).astype(np.float32),
            regression=np.zeros((slices, 4), np.float32),
            classification=np.tile(np.float32([0.8, 0.2]), (slices, 1)),
        )
        result, mask = analyse(self.image, prediction, model={"version": "1", "weights_sha256": "0" * 64})
        self.analysed = Analysed(
            result=result,
            mask=to_file_order(mask, self.image),
            tumour=to_file_order(prediction.tumour.astype(np.float16), self.image),
            affine=file_affine(self.image),
            regression=prediction.regression,
            classification=prediction.classification,
            seconds=0.1,
        )

    def analyse(self, study: OpenStudy) -> Analysed:
        return self.analysed

    def study(self, study: OpenStudy):
        return self.image


class OneStudy:
    """A source of one study, known by its case and by its series."""

    def __init__(self, study: OpenStudy) -> None:
        self.one = study

    def resolve(self, image_id: str) -> Address:
        return Address(self.one.case_id, None if image_id == self.one.case_id else image_id)

    def open(self, case_id: str) -> OpenStudy:
        return self.one


@pytest.fixture
def opened(dataset_dir: Path) -> OpenStudy:
    """``liver-01``, an HCC; the delayed series is numbered backwards along two axes, as a viewer may see it."""
    case = next(case for case in read_dataset(dataset_dir) if case.case == "liver-01")
    header = nib.load(case.phase_files[1])
    grids = {name: ViewerGrid(header.shape, header.affine) for name in PHASES}
    flipped = header.affine @ np.array(
        [[-1, 0, 0, header.shape[0] - 1], [0, 1, 0, 0], [0, 0, -1, header.shape[2] - 1], [0, 0, 0, 1]]
    )
    grids["delayed"] = ViewerGrid(header.shape, flipped)
    return OpenStudy(case.case, case, grids, {name: name for name in PHASES}, reference="arterial")


@pytest.fixture
def truth(opened: OpenStudy) -> np.ndarray:
    """The lesion in the axes of the reference file, bool."""
    return np.asarray(nib.load(opened.case.label_file).dataobj) > 0


@pytest.fixture
def source(opened: OpenStudy) -> OneStudy:
    """Of that study."""
    return OneStudy(opened)


@pytest.fixture
def refiner(opened: OpenStudy) -> StudyRefiner:
    """Follows the reader's clicks."""
    made = StudyRefiner(KnownAnalyser(opened))
    made._refiner = Refiner(Follows())
    return made


@pytest.fixture
def without_delayed(refiner: StudyRefiner) -> StudyRefiner:
    """The same where the delayed phase is missing, and with it the kinetic rule."""
    known = refiner.analyser
    known.image = replace(known.image, available=(True, True, True, False))
    return refiner
