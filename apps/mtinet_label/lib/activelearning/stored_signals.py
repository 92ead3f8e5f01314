"""Signals on disk, by case and weights: a study is measured once for each set of weights."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from lib.activelearning.signals import DEFINITION, Signals
from scripts.domain.writing import replace_when_written
from scripts.studies.subjects_table import CASE_PATTERN


class StoredSignals:
    """``<folder>/<weights>-<definition>/<case>.npz``; those of the weights asked for last stay in memory, too.

    Args:
        folder: made by the first signals.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self._in_memory: tuple[str, dict[str, Signals]] = ("", {})

    def known(self, cases: Iterable[str], weights_sha256: str) -> dict[str, Signals]:
        """The signals of those cases that were measured with these weights."""
        if self._in_memory[0] != weights_sha256:
            self._in_memory = (weights_sha256, {})
        read = self._in_memory[1]
        found = {}
        for case in cases:
            signals = read.get(case)
            if signals is None and CASE_PATTERN.fullmatch(case):
                signals = self._read(self._file(case, weights_sha256))
            if signals is not None:
                found[case] = read[case] = signals
        return found

    def keep(self, case: str, weights_sha256: str, signals: Signals) -> None:
        """Keep a case's signals."""
        with replace_when_written(self._file(case, weights_sha256)) as aside:
            np.savez(
                aside,
                uncertainty=signals.uncertainty,
                consistency=signals.consistency,
                features=signals.features,
            )

    def _file(self, case: str, weights_sha256: str) -> Path:
        return self.folder / f"{weights_sha256[:16]}-{DEFINITION}" / f"{case}.npz"

    def _read(self, file: Path) -> Signals | None:
        try:
            with np.load(file, allow_pickle=False) as stored:
                return Signals(float(stored["uncertainty"]), float(stored["consistency"]), stored["features"])
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            # Damaged: it is measured again.
            file.unlink(missing_ok=True)
            return None
