"""Readers without a network, both given the true mask: the kinetic rule, and a logistic regression on the curve.

A network that does not beat them has shown nothing. They read a study as any network of the bundle is asked to: trained
by `training`, stored as plain tensors, scored by `evaluating` (``configs/reader.yaml``).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.inferers import Inferer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn
from tqdm import tqdm

from ..domain.classes import CLASSES, NO_LESION
from ..domain.enhancement import mean_curve, relative_enhancement
from ..domain.entry import entry_point
from ..domain.errors import DatasetError
from ..domain.phases import PHASES
from ..domain.prediction import Prediction
from ..domain.study import Study
from ..domain.switches import is_on
from ..engines.weights import save_atomically
from ..results.components import Component, bounding_box
from ..results.enhancement import lesion_curves
from ..results.lesions import analyse, rule_of_study
from ..studies.case import Case
from ..studies.integrity import check
from ..studies.layout import read_dataset, training_part
from ..studies.normalisation import body_mask
from ..studies.reading import read_study

PERCENTILES = (10, 90)

FEATURES = (
    *(f"mean_{phase}" for phase in PHASES),
    *(f"relative_{phase}" for phase in PHASES[1:]),
    *(f"lesion_to_ring_{phase}" for phase in PHASES),
    *(f"deviation_{phase}" for phase in PHASES),
    *(f"percentile_{q}_{phase}" for q in PERCENTILES for phase in PHASES),
)
"""What the logistic regression sees of a subject, in the order of ``curve_features``."""

STRENGTHS = tuple(float(c) for c in np.logspace(-3, 2, 11))
"""Inverse strengths C of the L2 penalty, of which inner cross-validation chooses one."""

INNER_FOLDS = 5

logger = logging.getLogger(__name__)


class Reader(nn.Module):
    """What says hemangioma or hcc of a study whose lesions are given.

    Attributes:
        mean_curve: ``(4,)`` the training part's mean curve, normalised, the reference of ``mae_ratio_from_mask``.
        image_size: 0: a reader sees the study on its own grid.
    """

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean_curve", torch.zeros(len(PHASES)))
        self.register_buffer("image_size", torch.zeros((), dtype=torch.int64))

    def fit(self, features: np.ndarray, is_hcc: np.ndarray, *, seed: int) -> None:
        """Learn from subjects with a lesion, ``(N, F)`` and ``(N,)`` bool; a fixed rule learns nothing."""

    def probability_hcc(self, study: Study) -> float:
        """Of a study with a lesion in its label."""
        raise NotImplementedError


class KineticRule(Reader):
    """hcc where the lesion is brighter than the liver in the arterial phase and darker in the delayed one.

    The rule reads every lesion, the class with the largest volume is the study's. A sign that cannot be seen, for want
    of a phase or of liver around the lesion, counts as absent: a reader has to answer.
    """

    def probability_hcc(self, study: Study) -> float:
        """1 or 0."""
        given = Prediction(tumour=(study.label > 0).astype(np.float32), regression=None, classification=None)
        # The lesions are given, however small.
        result, _ = analyse(study, given, model={}, min_volume_ml=0.0, body=body_mask(study.image))
        return float(rule_of_study(result.lesions) == "hcc")


class CurveLogistic(Reader):
    """L2-penalised logistic regression on ``curve_features``, standardised; what is missing is the training mean."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(len(FEATURES)))
        self.register_buffer("spread", torch.ones(len(FEATURES)))
        self.weight = nn.Parameter(torch.zeros(len(FEATURES)))
        self.bias = nn.Parameter(torch.zeros(()))

    def example_inputs(self, size: int) -> tuple[Tensor]:
        """What the forward pass takes, for counting its operations."""
        return (torch.zeros(1, len(FEATURES)),)

    def forward(self, features: Tensor) -> Tensor:
        """Logit of hcc ``(N,)`` from features ``(N, F)``, NaN where one is missing."""
        standardised = (features - self.centre) / self.spread
        return torch.nan_to_num(standardised, nan=0.0) @ self.weight + self.bias

    def fit(self, features: np.ndarray, is_hcc: np.ndarray, *, seed: int) -> None:
        """Choose C by inner cross-validation within the training part, then fit on all of it."""
        pipeline = fit_logistic(features, is_hcc, seed=seed)
        scale, regression = pipeline["scale"], pipeline["regression"]
        with torch.no_grad():
            self.centre.copy_(torch.from_numpy(scale.mean_))
            self.spread.copy_(torch.from_numpy(scale.scale_))
            self.weight.copy_(torch.from_numpy(regression.coef_[0]))
            self.bias.fill_(regression.intercept_[0])

    def probability_hcc(self, study: Study) -> float:
        """By the fitted regression."""
        with torch.no_grad():
            return float(self(torch.from_numpy(curve_features(study)).float()[None]).sigmoid())


class ReaderInferer(Inferer):
    """Asks a reader in the place of a network: the same answer for every slice, no mask of its own."""

    size = 0

    def __call__(self, inputs: Study, network: Reader, *args: Any, **kwargs: Any) -> Prediction:
        """Read one study.

        Args:
            inputs: the study; without a lesion in its label there is nothing to read.
            network: the reader.
            args: unused, MONAI's signature.
            kwargs: likewise.
        """
        start = time.perf_counter()
        p = network.probability_hcc(inputs) if inputs.label is not None and (inputs.label > 0).any() else 0.5
        slices = inputs.image.shape[1 + inputs.slice_axis]
        return Prediction(
            tumour=None,
            regression=None,
            classification=np.tile(np.array([1.0 - p, p], dtype=np.float32), (slices, 1)),
            seconds=time.perf_counter() - start,
        )


@entry_point
def train_reader(
    reader: Reader,
    dataset_dir: str,
    output_dir: str,
    *,
    fold: int | None,
    seed: int = 0,
    check_dataset: bool | str = True,
) -> None:
    """Fit a reader on the training part of a fold and write ``model.pt``; the run id ``training`` of ``reader.yaml``.

    Args:
        reader: to be fitted.
        dataset_dir: in the nnU-Net raw layout.
        output_dir: of the weights.
        fold: held out; None trains on split train.
        seed: of the inner cross-validation's folds.
        check_dataset: whether to check the dataset's integrity first.

    Raises:
        SystemExit: the dataset has faults, or its training part lacks a class.
    """
    if is_on(check_dataset):
        check(dataset_dir)
    part = training_part(read_dataset(dataset_dir), fold)
    cases = [case for case in part if case.tumour_class != NO_LESION and case.label_file is not None]
    _require_classes(cases, dataset_dir)
    studies = (read_study(case) for case in tqdm(cases, desc="training part", unit="study"))
    curves, features = zip(*((normalised_curve(study), curve_features(study)) for study in studies), strict=True)
    reader.fit(np.stack(features), np.array([case.tumour_class == "hcc" for case in cases]), seed=seed)
    # 0 for a phase that no subject has.
    reader.mean_curve.copy_(torch.from_numpy(np.ma.masked_invalid(curves).mean(axis=0).filled(0.0)))
    save_atomically(reader.state_dict(), Path(output_dir) / "model.pt")
    logger.info("%s: read %d studies, saved %s", type(reader).__name__, len(cases), Path(output_dir) / "model.pt")


def subject_curves(study: Study) -> tuple[np.ndarray, np.ndarray]:
    """Mean curve of a subject's lesions together, and median curve of the ring around them.

    Args:
        study: with a lesion in its label. The ring lies in the liver where it is known, else in the body.

    Returns:
        Two ``(4,)`` curves, raw units; NaN where a phase is missing and where there is no ring.
    """
    lesion = study.label > 0
    box = bounding_box(lesion)
    around = body_mask(study.image) if study.liver is None else study.liver
    return lesion_curves(study, Component(box=box, mask=lesion[box]), allowed=around & ~lesion)


def normalised_curve(study: Study) -> np.ndarray:
    """Mean curve of a subject's lesions together, ``(4,)`` normalised; NaN where a phase is missing."""
    curve = (mean_curve(study.image, study.label > 0) - study.offset) / study.scale
    return np.where(study.available, curve, np.nan)


def curve_features(study: Study) -> np.ndarray:
    """What a reader may measure on the curve under the true mask, ``(F,)`` in the order of ``FEATURES``.

    Mean, standard deviation and percentiles in normalised intensity; relative enhancement and the ratio of lesion to
    ring from raw units. NaN where a phase or the ring is missing.
    """
    curve, around = subject_curves(study)
    voxels = study.image[:, study.label > 0].astype(np.float64)
    there = np.isfinite(curve)
    deviation = np.where(there, voxels.std(axis=1), np.nan) / study.scale
    percentiles = [
        (np.where(there, np.percentile(voxels, q, axis=1), np.nan) - study.offset) / study.scale for q in PERCENTILES
    ]
    ratio = np.divide(curve, around, out=np.full(len(PHASES), np.nan), where=around > 0)
    return np.concatenate(
        [
            (curve - study.offset) / study.scale,
            relative_enhancement(curve)[1:],
            ratio,
            deviation,
            *percentiles,
        ]
    )


def fit_logistic(features: np.ndarray, is_hcc: np.ndarray, *, seed: int) -> Pipeline:
    """Mean imputation, standardisation and logistic regression, fitted together in every inner fold.

    C is that of the best log-likelihood over ``INNER_FOLDS`` folds, fewer where a class has fewer subjects; with a
    single subject of a class there is nothing to choose by, and C is 1.

    Args:
        features: ``(N, F)``, NaN where one is missing.
        is_hcc: ``(N,)`` bool, both values present.
        seed: deals the inner folds.
    """
    pipeline = Pipeline(
        [
            ("impute", SimpleImputer(keep_empty_features=True)),
            ("scale", StandardScaler()),
            ("regression", LogisticRegression(max_iter=5000)),
        ]
    )
    folds = min(INNER_FOLDS, int(is_hcc.sum()), int((~is_hcc).sum()))
    if folds < 2:
        logger.warning("one class has a single subject, so C is not chosen: it is 1")
        return pipeline.fit(features, is_hcc)
    search = GridSearchCV(
        pipeline,
        {"regression__C": STRENGTHS},
        scoring="neg_log_loss",
        cv=StratifiedKFold(folds, shuffle=True, random_state=seed),
    ).fit(features, is_hcc)
    logger.info("C = %.3g of %d inner folds", search.best_params_["regression__C"], folds)
    return search.best_estimator_


def _require_classes(cases: Sequence[Case], dataset_dir: str) -> None:
    absent = [name for name in CLASSES if name not in {case.tumour_class for case in cases}]
    if absent:
        msg = (
            f"{dataset_dir}: no {' and no '.join(absent)} among the {len(cases)} subjects with a lesion to train on, "
            "so a reader cannot learn to tell the classes apart. Add subjects, or deal the folds by class"
        )
        raise DatasetError(msg)
