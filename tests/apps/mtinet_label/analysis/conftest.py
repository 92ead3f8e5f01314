"""The tiny dataset's studies as the server opens them, and an analyser with the bundle's own weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from lib.analysis import Analyser
from lib.models import ModelShelf
from lib.settings import Settings
from lib.studies.study import OpenStudy, ViewerGrid
from scripts.domain.phases import PHASES
from scripts.studies.case import Case
from scripts.studies.layout import read_dataset


def as_opened(case: Case) -> OpenStudy:
    """A case whose phase files viewers number as they are stored."""
    grids = {}
    for file in case.phase_files:
        header = nib.load(file)
        grids[file.name.removesuffix(".nii.gz")] = ViewerGrid(header.shape, header.affine)
    phase_of = dict(zip(grids, PHASES, strict=True))
    return OpenStudy(case.case, case, grids, phase_of, reference=list(grids)[1])


@pytest.fixture
def opened_study(dataset_dir: Path) -> OpenStudy:
    """``liver-01``, an HCC; its series are called as its phase files."""
    return as_opened(next(case for case in read_dataset(dataset_dir) if case.case == "liver-01"))


@pytest.fixture
def true_mask(opened_study: OpenStudy) -> np.ndarray:
    """Its label in the axes of its reference file."""
    return np.asarray(nib.load(opened_study.case.label_file).dataobj).astype(np.uint8)


@pytest.fixture
def without_truth(opened_study: OpenStudy) -> OpenStudy:
    """The same study as a user has it, without label and liver mask."""
    return replace(opened_study, case=replace(opened_study.case, label_file=None, liver_file=None))


@pytest.fixture
def shelf(tmp_path: Path) -> ModelShelf:
    """Nothing promoted yet."""
    return ModelShelf(tmp_path / "shelf")


@pytest.fixture(scope="session")
def _prepared_once(tmp_path_factory: pytest.TempPathFactory) -> object:
    folder = tmp_path_factory.mktemp("prepared")
    return Analyser(ModelShelf(folder), folder, Settings()).prepared()


@pytest.fixture
def make_analyser(shelf: ModelShelf, tmp_path: Path, _prepared_once: object) -> Iterator[Callable[..., Analyser]]:
    """Analysers that share one compiled network, which takes seconds to make."""

    def make(**settings: int) -> Analyser:
        analyser = Analyser(shelf, tmp_path / "cache", Settings(**settings))
        analyser._prepared = _prepared_once
        return analyser

    return make


@pytest.fixture
def analyser(make_analyser: Callable[..., Analyser]) -> Analyser:
    """With an empty cache."""
    return make_analyser()
