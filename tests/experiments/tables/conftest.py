"""Synthetic run folders of a grid, as the runner leaves them."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

PHASES = ("pre", "arterial", "portal_venous", "delayed")
TRUE_CURVE = (-0.4, 1.2, 1.0, 0.6)
SCALE = 100.0


def subject(
    case: str,
    *,
    dice: float | None = 0.8,
    error: float | None = 0.1,
    correct: bool | None = True,
    tumour_class: str = "hcc",
) -> dict[str, Any]:
    """A row of ``per_subject.csv``: the regression head is wrong by ``error`` in every phase, normalised."""
    lesion = tumour_class != "none"
    row = {
        "case": case,
        "slice_index": "",
        "true_class": tumour_class,
        "dice": dice,
        "iou": None if dice is None else dice / (2 - dice),
        "true_lesions": int(lesion),
        "scale": SCALE,
        "mask_given": dice is None,
        "correct_on_true_slices": correct if lesion else None,
    }
    row |= {f"true_{phase}": value if lesion else None for phase, value in zip(PHASES, TRUE_CURVE, strict=True)}
    said = [None] * 4 if error is None or not lesion else [value + error for value in TRUE_CURVE]
    return row | {f"true_slices_{phase}": value for phase, value in zip(PHASES, said, strict=True)}


def levelled_off(epochs: int = 20, step: float = 0.0) -> list[dict[str, Any]]:
    """A training log: validated every second epoch, moving by ``step`` in the last fifth."""
    return [
        {
            "epoch": epoch,
            "loss": 1.0 / epoch,
            "val_score": (0.8 + step * (epoch > 0.8 * epochs) if epoch % 2 == 0 or epoch == epochs else ""),
        }
        for epoch in range(1, epochs + 1)
    ]


class GridWriter:
    """Writes run folders.

    Args:
        root: the grid's output folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def folder(self, arm: str, fold: int = 0, seed: int = 0) -> Path:
        """Where a run lies."""
        return self.root / "runs" / arm / f"fold{fold}" / f"seed{seed}"

    def write(
        self,
        arm: str,
        rows: Sequence[Mapping[str, Any]],
        *,
        fold: int = 0,
        seed: int = 0,
        split: str = "test",
        log: Sequence[Mapping[str, Any]] | None = None,
        metrics: Mapping[str, Any] | None = None,
        **provenance: Any,
    ) -> Path:
        """Write a finished run; its log has levelled off unless another is given."""
        folder = self.folder(arm, fold, seed)
        folder.mkdir(parents=True)
        write_csv(folder / "per_subject.csv", rows)
        write_csv(folder / "training_log.csv", levelled_off() if log is None else log)
        machine = {"processor": "Test CPU", "cores": 2, "memory_gb": 8.0, "gpus": [], "system": "Linux"}
        about = {"arm": arm, "fold": fold, "seed": seed, "split": split, "commit": "abc123", "dirty": False}
        about |= {"hardware": machine, "seconds_training": 3600.0, "peak_rss_mb": 500.0}
        for name, content in (
            ("metrics", metrics or {}),
            ("provenance", about | provenance),
            ("cost", {"parameters": 2_000_000, "gflops": 12.5, "image_size": 128, "seconds_per_study": 1.5}),
            ("done", {"status": "done"}),
        ):
            (folder / f"{name}.json").write_text(json.dumps(content))
        return folder


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """A table; None is empty."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        writer.writerows({name: "" if value is None else value for name, value in row.items()} for row in rows)


@pytest.fixture(scope="module")
def module_grid(tmp_path_factory: pytest.TempPathFactory) -> GridWriter:
    """The same for the tests of a file that only read it."""
    return GridWriter(tmp_path_factory.mktemp("shared") / "grid")


@pytest.fixture
def grid(tmp_path: Path) -> GridWriter:
    """An empty grid to write runs into."""
    return GridWriter(tmp_path / "grid")


@pytest.fixture(scope="session")
def row() -> Callable[..., dict[str, Any]]:
    """Makes a row of ``per_subject.csv``."""
    return subject


@pytest.fixture(scope="session")
def log() -> Callable[..., list[dict[str, Any]]]:
    """Makes a training log."""
    return levelled_off


@pytest.fixture(scope="session")
def cohort() -> Callable[..., list[dict[str, Any]]]:
    """Makes the rows of a run on many subjects, with a spread that is the same for every arm and a mean of its own."""

    def make(dice: float, error: float, accuracy: float, *, n: int = 24, seed: int = 0) -> list[dict[str, Any]]:
        shared, own = np.random.default_rng(99), np.random.default_rng(seed)
        rows = []
        for index in range(n):
            hard = shared.normal(0, 0.05)
            rows.append(
                subject(
                    f"liver-{index:02d}",
                    dice=float(np.clip(dice + hard + own.normal(0, 0.01), 0, 1)),
                    error=float(abs(error + hard / 5 + own.normal(0, 0.005))),
                    correct=bool(own.random() < accuracy),
                    tumour_class="hcc" if index % 2 else "hemangioma",
                )
            )
        return rows

    return make
