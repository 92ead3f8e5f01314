"""The automatic analysis of a study: one at a time, from the disk where it was done before."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from monai.bundle import ConfigParser
from torch import nn

from lib.models import ModelShelf, ServedModel
from lib.orientation import file_affine, to_file_order, to_study_order
from lib.queue import AnalysisQueue
from lib.settings import BUNDLE_ROOT, Settings
from lib.stored_result import result_of
from lib.studies.study import OpenStudy
from lib.volumes import Volumes, fingerprint
from scripts.domain.errors import CheckpointError
from scripts.domain.prediction import Prediction
from scripts.domain.result import Result
from scripts.domain.study import Study
from scripts.domain.writing import replace_when_written
from scripts.engines.weights import load_network, model_identity
from scripts.results.lesions import analyse
from scripts.studies.normalisation import body_mask

INFERENCE_CONFIG = BUNDLE_ROOT / "configs" / "inference.yaml"

_KEEP_ON_DISK = 2000
"""Analyses; the oldest go first. One takes some 0.3 MB."""


@dataclass(frozen=True, eq=False)
class Analysed:
    """What the network says about a study.

    ``mask``, ``tumour`` and ``affine`` are in the axes of the case's reference file; ``regression`` and
    ``classification`` are per slice of the study in RAS+, as in ``Prediction``.

    Args:
        result: lesions, classes, curves.
        mask: ``(X, Y, Z)`` uint8 of ``LABELS`` values.
        tumour: ``(X, Y, Z)`` float16, probability of tumour.
        affine: ``(4, 4)`` from their voxels to RAS world, mm.
        regression: ``(S, 4)`` float32, normalised intensity; None where the network has no such head.
        classification: ``(S, 2)`` float32, class probabilities; None likewise.
        seconds: that the network took.
    """

    result: Result
    mask: np.ndarray
    tumour: np.ndarray
    affine: np.ndarray
    regression: np.ndarray | None
    classification: np.ndarray | None
    seconds: float

    def prediction(self, study: Study) -> Prediction:
        """The network's answer in the study's own order, RAS+, to be changed and analysed again."""
        return Prediction(
            tumour=to_study_order(self.tumour, study).astype(np.float32),
            regression=self.regression,
            classification=self.classification,
            seconds=self.seconds,
        )


@dataclass(frozen=True, eq=False)
class Prepared:
    """A network ready to answer, as ``inference.yaml`` builds it.

    Args:
        model: its weights.
        network: with the weights loaded, in evaluation mode.
        inferer: the study inferer, compiled for the network.
        threshold: tumour from this probability on.
        min_volume_ml: smaller lesions are left out.
        identity: the ``model`` entry of its results.
    """

    model: ServedModel
    network: nn.Module
    inferer: Any
    threshold: float
    min_volume_ml: float
    identity: dict[str, str]


class Analyser:
    """Analyses studies with the weights that are served now.

    Args:
        shelf: says which weights.
        cache_dir: of finished analyses.
        settings: how many may wait.
    """

    def __init__(self, shelf: ModelShelf, cache_dir: Path, settings: Settings) -> None:
        self.shelf = shelf
        self.cache_dir = Path(cache_dir)
        self.queue = AnalysisQueue(settings.waiting)
        self.volumes = Volumes()
        self._preparing = threading.Lock()
        self._prepared: Prepared | None = None

    def analyse(self, study: OpenStudy) -> Analysed:
        """The analysis of a study, from the cache where the same files and weights were analysed before.

        Raises:
            BusyError: too many analyses wait already.
            StudyError: the study cannot be read.
            CheckpointError: the served weights are damaged.
        """
        found = self.cached(study)
        if found is not None:
            return found
        with self.queue.turn():
            # Another request may have analysed it while this one waited.
            found = self.cached(study)
            return self._analyse(study) if found is None else found

    def cached(self, study: OpenStudy) -> Analysed | None:
        """The analysis by the weights that are served now, if there is one already."""
        return self._read(self._file(study, self.shelf.current()))

    def prepared(self) -> Prepared:
        """The served network, built anew only after other weights were promoted; its weights must not be changed.

        Raises:
            CheckpointError: the served weights are damaged.
        """
        model = self.shelf.current()
        with self._preparing:
            if self._prepared is None or self._prepared.model.sha256 != model.sha256:
                # The old network goes first: two at once would cost memory for nothing.
                self._prepared = None
                self._prepared = _prepare(model)
            return self._prepared

    def _analyse(self, study: OpenStudy) -> Analysed:
        prepared = self.prepared()
        image = self.volumes.study(study)
        prediction = prepared.inferer(image, prepared.network)
        result, mask = analyse(
            image,
            prediction,
            model=prepared.identity,
            threshold=prepared.threshold,
            min_volume_ml=prepared.min_volume_ml,
            body=body_mask(image.image),
        )
        analysed = Analysed(
            result=result,
            mask=to_file_order(mask, image),
            tumour=to_file_order(prediction.tumour.astype(np.float16), image),
            affine=file_affine(image),
            regression=prediction.regression,
            classification=prediction.classification,
            seconds=prediction.seconds,
        )
        self._write(analysed, self._file(study, prepared.model))
        return analysed

    def _file(self, study: OpenStudy, model: ServedModel) -> Path:
        key = f"{study.case_id}|{fingerprint(study.case)}|{model.sha256}|{model.version}"
        return self.cache_dir / f"{hashlib.sha256(key.encode()).hexdigest()[:40]}.npz"

    def _read(self, file: Path) -> Analysed | None:
        try:
            with np.load(file, allow_pickle=False) as stored:
                document = json.loads(stored["result"].tobytes())
                analysed = Analysed(
                    result=result_of(document),
                    mask=stored["mask"],
                    tumour=stored["tumour"],
                    affine=stored["affine"],
                    regression=stored.get("regression"),
                    classification=stored.get("classification"),
                    seconds=float(stored["seconds"]),
                )
            # The newest stay when the oldest go.
            os.utime(file)
        except FileNotFoundError:
            return None
        except Exception:  # a packed file that is damaged fails in any way, or it is of another version of the app
            file.unlink(missing_ok=True)
            return None
        return analysed

    def _write(self, analysed: Analysed, file: Path) -> None:
        arrays = {
            "result": np.frombuffer(json.dumps(analysed.result.to_dict(), allow_nan=False).encode(), dtype=np.uint8),
            "mask": analysed.mask,
            "tumour": analysed.tumour,
            "affine": analysed.affine,
            "regression": analysed.regression,
            "classification": analysed.classification,
            "seconds": np.float64(analysed.seconds),
        }
        with replace_when_written(file) as aside:
            np.savez_compressed(aside, **{name: array for name, array in arrays.items() if array is not None})
        stored = sorted(self.cache_dir.glob("[!.]*.npz"), key=lambda path: path.stat().st_mtime)
        for old in stored[:-_KEEP_ON_DISK]:
            old.unlink(missing_ok=True)


def _prepare(model: ServedModel) -> Prepared:
    parser = ConfigParser()
    parser.read_config(INFERENCE_CONFIG)
    identity = model_identity(model.version, model.file)
    if identity["weights_sha256"] != model.sha256:
        msg = f"the served weights, version {model.version}, are damaged. Roll back, or promote them again"
        raise CheckpointError(msg)
    network = load_network(parser.get_parsed_content("network"), model.file).eval()
    inferer = parser.get_parsed_content("inferer")
    inferer.prepare(network)
    return Prepared(
        model=model,
        network=network,
        inferer=inferer,
        threshold=parser.get_parsed_content("threshold"),
        min_volume_ml=parser.get_parsed_content("min_volume_ml"),
        identity=identity,
    )
