"""Measures the signals of studies in the background, a few a request, while nobody waits for an analysis."""

from __future__ import annotations

import logging
import os
import random
import threading
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch

from lib.activelearning.signals import Signals, measure
from lib.activelearning.stored_signals import StoredSignals
from lib.analysis import Analyser
from lib.studies.study import StudySource
from scripts.domain.errors import MTINetError
from scripts.domain.study import Study
from scripts.networks.inference import inference_copy
from scripts.networks.mtinet import MTINet
from scripts.studies.network_grid import NetworkGrid
from scripts.studies.reading import read_study

logger = logging.getLogger(__name__)

STUDIES_A_REQUEST = 4
FETCHED_A_REQUEST = 1
"""Of them, studies that are not on this machine yet: no request makes the server fetch a whole PACS."""

LONGEST_WAIT_S = 20.0
_NICE = 10
_IDLE_POLL_S = 0.2
_TRY_AGAIN_S = 600.0
"""A study that could not be measured is tried again after this time: the PACS may have been down."""


class SignalScorer:
    """Knows the signals of the studies that were measured, and measures others when strategies ask for them.

    Args:
        analyser: whose weights are used, and whose analyses go first.
        source: opens the studies.
        folder: of the measured signals.
        studies_a_request: how many studies are measured at most because of one request.
        fetched_a_request: how many of them may have to be fetched from a PACS.
    """

    def __init__(
        self,
        analyser: Analyser,
        source: StudySource,
        folder: Path,
        *,
        studies_a_request: int = STUDIES_A_REQUEST,
        fetched_a_request: int = FETCHED_A_REQUEST,
    ) -> None:
        self.analyser = analyser
        self.source = source
        self.stored = StoredSignals(folder)
        self.studies_a_request = studies_a_request
        self.fetched_a_request = fetched_a_request
        self._changed = threading.Condition()
        self._wanted: list[str] = []
        self._measuring = ""
        self._unusable: dict[str, float] = {}
        self._worker: threading.Thread | None = None
        self._network: tuple[str, MTINet] | None = None

    def known(self, cases: Iterable[str]) -> dict[str, Signals]:
        """What is known of the cases, by the weights that are served now."""
        return self.stored.known(cases, self.analyser.shelf.current().sha256)

    def want(self, cases: Iterable[str], rng: random.Random) -> list[str]:
        """Have some of the cases measured in the background.

        Args:
            cases: of which those without signals are candidates, those on this machine first.
            rng: chooses among them.

        Returns:
            Which are measured now; the others have to be asked for again.
        """
        cases = list(cases)
        known = self.known(cases)
        since = time.monotonic() - _TRY_AGAIN_S
        unusable = {case for case, when in list(self._unusable.items()) if when > since}
        settled = {*known, *unusable, self._measuring}
        missing = [case for case in cases if case not in settled]
        rng.shuffle(missing)
        local = [case for case in missing if self._is_local(case)]
        others = [case for case in missing if case not in set(local)]
        chosen = [*local, *others[: self.fetched_a_request]][: self.studies_a_request]
        with self._changed:
            self._wanted = [*chosen, *(case for case in self._wanted if case not in chosen)][: self.studies_a_request]
            if self._wanted and (self._worker is None or not self._worker.is_alive()):
                self._worker = threading.Thread(target=self._work, name="signals", daemon=True)
                self._worker.start()
        return chosen

    def wait_for_one(self, cases: Iterable[str], longest_s: float = LONGEST_WAIT_S) -> dict[str, Signals]:
        """Wait until one of the cases has signals, no case is left to measure, or the time is over."""
        cases, give_up = list(cases), time.monotonic() + longest_s
        with self._changed:
            while not (known := self.known(cases)) and self._worker is not None and time.monotonic() < give_up:
                self._changed.wait(timeout=_IDLE_POLL_S)
        return known

    def measure(self, case: str) -> Signals:
        """Measure a study now, and keep the signals.

        Raises:
            UnknownError: no such study.
            StudyError: it cannot be read.
            CheckpointError: the served weights are damaged.
        """
        weights, network = self._current_network()
        study = read_study(self.source.open(case).case)
        signals = signals_of(study, network)
        self.stored.keep(case, weights, signals)
        return signals

    def _work(self) -> None:
        _be_nice()
        while True:
            with self._changed:
                if not self._wanted:
                    self._worker, self._measuring = None, ""
                    self._changed.notify_all()
                    return
                case = self._measuring = self._wanted.pop(0)
            self._wait_until_idle()
            try:
                self.measure(case)
            except MTINetError as error:
                self._unusable[case] = time.monotonic()
                logger.warning("a study cannot be scored: %s", type(error).__name__)
            except Exception:
                # Whatever one study brings, the thread goes on with the others; here nobody waits who could be told.
                self._unusable[case] = time.monotonic()
                logger.exception("a study cannot be scored")
            with self._changed:
                self._changed.notify_all()

    def _wait_until_idle(self) -> None:
        while (state := self.analyser.queue.state()).running or state.waiting:
            time.sleep(_IDLE_POLL_S)

    def _current_network(self) -> tuple[str, MTINet]:
        prepared = self.analyser.prepared()
        if self._network is None or self._network[0] != prepared.model.sha256:
            # A copy: drawing switches dropout on for a moment, and the analyses share the original.
            self._network = (prepared.model.sha256, inference_copy(prepared.network).cpu())
        return self._network

    def _is_local(self, case: str) -> bool:
        is_local = getattr(self.source, "is_local", None)
        return is_local is None or is_local(case)


def signals_of(study: Study, network: MTINet) -> Signals:
    """The signals of a study.

    Args:
        study: in raw units.
        network: in eval mode; it knows the size of the grid that it was trained on.
    """
    grid = NetworkGrid.of(study, int(network.image_size))
    image = (grid.to_slices(study.image) - np.float32(study.offset)) / np.float32(study.scale)
    available = np.asarray(study.available)
    image[:, ~available] = 0.0
    return measure(
        network,
        torch.from_numpy(image),
        torch.from_numpy(available),
        torch.tensor(study.times_s, dtype=torch.float32),
        voxel_ml=grid.pixel_mm**2 * study.spacing_mm[study.slice_axis] / 1000.0,
    )


def _be_nice() -> None:
    """Lower this thread's priority; on Linux a thread has its own."""
    try:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
    except OSError:
        logger.debug("the priority of a thread cannot be lowered here")
