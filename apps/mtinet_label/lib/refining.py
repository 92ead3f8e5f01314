"""A study's analysis, refined by a reader's clicks or rough mask."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lib.analysis import Analysed, Analyser
from lib.clicks import ReaderClick
from lib.errors import BadRequestError
from lib.orientation import file_affine, to_file_order, to_study_order
from lib.settings import BUNDLE_ROOT
from lib.studies.study import OpenStudy
from scripts.domain.classes import CLASSES, LABELS, tumour_class_of
from scripts.domain.result import Lesion, Result
from scripts.domain.study import Study
from scripts.engines.refinement import Refiner
from scripts.engines.refinement_clicks import Click
from scripts.engines.weights import load_network
from scripts.networks.refinement import RefinementNet
from scripts.results.components import Component, find_components
from scripts.results.lesions import MIN_VOLUME_ML, analyse
from scripts.studies.normalisation import body_mask

REFINER_FILE = BUNDLE_ROOT / "models" / "refiner.pt"

_THRESHOLD = 0.5
"""The refinement was trained to answer shares of a voxel: half of it decides."""

_NOTE = "The mask was refined by the reader's clicks or rough mask."


@dataclass(frozen=True, eq=False)
class Refined:
    """A refined analysis.

    Args:
        analysed: as of the automatic analysis; ``mask`` and ``result`` are the refined ones.
        class_by: for each lesion of the result who gave it its class: ``"reader"``, ``"network"`` or ``"rule"``.
    """

    analysed: Analysed
    class_by: tuple[str, ...]


class StudyRefiner:
    """Answers a reader's clicks on a study that is analysed automatically first, or was before.

    Args:
        analyser: analyses, and keeps studies in memory.
        weights: of ``RefinementNet``.
    """

    def __init__(self, analyser: Analyser, weights: Path = REFINER_FILE) -> None:
        self.analyser = analyser
        self.weights = Path(weights)
        self._loading = threading.Lock()
        self._refiner: Refiner | None = None

    def refine(self, study: OpenStudy, clicks: Sequence[ReaderClick], rough: np.ndarray | None = None) -> Refined:
        """Refine a study's analysis; the same clicks and mask always give the same answer.

        A lesion that the network found keeps its class. A new one gets that of the kinetic rule, or, where a phase
        is missing, of the network's heads on its slices. What the reader said counts more than either.

        Args:
            study: the case.
            clicks: of the reader, all of them so far.
            rough: ``(X, Y, Z)`` uint8 of ``LABELS`` values on the case's reference grid, in the axes of its file: a
                mask to start from instead of the network's own, drawn or an earlier answer. It is refined around the
                clicks; alone, everywhere.

        Returns:
            The refined analysis; without clicks and mask the automatic one.

        Raises:
            BadRequestError: a click outside the study.
            BusyError: too many analyses wait already.
            StudyError: the study cannot be analysed.
            CheckpointError: the weights are missing or damaged.
        """
        analysed = self.analyser.analyse(study)
        if not clicks and rough is None:
            return Refined(analysed, ("network",) * len(analysed.result.lesions))
        refiner = self._loaded()
        image = self.analyser.volumes.study(study)
        made = [_in_voxels(click, image) for click in clicks]
        # One at a time, in the line of the analyses: each takes a core for a second, and copies the study's arrays.
        with self.analyser.queue.turn():
            start = time.perf_counter()
            drawn = None if rough is None else to_study_order(rough, image)
            prediction = analysed.prediction(image)
            tumour = refiner(image, prediction.tumour, made, rough=None if drawn is None else drawn > 0)
            result, mask = analyse(
                image,
                replace(prediction, tumour=tumour),
                model=analysed.result.model,
                threshold=_THRESHOLD,
                min_volume_ml=MIN_VOLUME_ML,
                body=body_mask(image.image),
            )
            own = to_study_order(analysed.mask, image)
            result, class_by = _with_classes(result, mask, own, drawn, list(zip(made, clicks, strict=True)))
            seconds = time.perf_counter() - start
        return Refined(
            Analysed(
                result=result,
                mask=to_file_order(mask, image),
                tumour=to_file_order(tumour.astype(np.float16), image),
                affine=file_affine(image),
                regression=analysed.regression,
                classification=analysed.classification,
                seconds=seconds,
            ),
            class_by,
        )

    def _loaded(self) -> Refiner:
        with self._loading:
            if self._refiner is None:
                self._refiner = Refiner(load_network(RefinementNet(), self.weights))
            return self._refiner


def _in_voxels(click: ReaderClick, study: Study) -> Click:
    place = np.linalg.inv(study.affine) @ (*click.world_mm, 1.0)
    shape = study.image.shape[1:]
    if not all(-0.5 <= i <= n - 0.5 for i, n in zip(place[:3], shape, strict=True)):
        msg = "a click lies outside the reference phase, where the study has no mask"
        raise BadRequestError(msg)
    # Rounding errors of the way through millimetres must not move a click on a voxel's border.
    return Click(tuple(round(float(i), 3) for i in place[:3]), click.lesion)


def _with_classes(
    result: Result,
    mask: np.ndarray,
    own: np.ndarray,
    drawn: np.ndarray | None,
    clicks: Sequence[tuple[Click, ReaderClick]],
) -> tuple[Result, tuple[str, ...]]:
    """Give every lesion its class, in the result and in the mask."""
    # In the order of falling volume, as ``analyse`` names them; it left the small ones out of the mask.
    components, _ = find_components(mask > 0)
    lesions, class_by = [], []
    for lesion, component in zip(result.lesions, components, strict=True):
        name, who = _class_of(lesion, component, own, drawn, clicks)
        mask[component.box][component.mask] = LABELS.get(name, mask[component.box][component.mask][0])
        lesions.append(replace(lesion, predicted_class=name))
        class_by.append(who)
    predicted = result.predicted_class
    if any(who != "network" for who in class_by):
        volume_ml = {name: sum(x.volume_ml for x in lesions if x.predicted_class == name) for name in CLASSES}
        predicted = max(volume_ml, key=volume_ml.get)
    notes = (*result.notes, _NOTE)
    return replace(result, lesions=tuple(lesions), predicted_class=predicted, notes=notes), tuple(class_by)


def _class_of(
    lesion: Lesion,
    component: Component,
    own: np.ndarray,
    drawn: np.ndarray | None,
    clicks: Sequence[tuple[Click, ReaderClick]],
) -> tuple[str, str]:
    said = [reader.tumour_class for click, reader in clicks if reader.tumour_class and _within(click, component)]
    if said:
        return said[-1], "reader"
    found = tumour_class_of(own[component.box][component.mask])
    if drawn is not None and (name := tumour_class_of(drawn[component.box][component.mask])) in CLASSES:
        # A viewer sends back the classes that it was given.
        echoed = "network" if name == found else "rule" if found not in CLASSES and name == lesion.rule_class else None
        return name, echoed or "reader"
    if found in CLASSES:
        return found, "network"
    if lesion.rule_class is not None:
        return lesion.rule_class, "rule"
    return lesion.predicted_class, "network"


def _within(click: Click, component: Component) -> bool:
    place = tuple(round(i) - s.start for i, s in zip(click.index, component.box, strict=True))
    return all(0 <= i < n for i, n in zip(place, component.mask.shape, strict=True)) and bool(component.mask[place])
