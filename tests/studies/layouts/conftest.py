"""Small volumes with an anatomy that has no symmetry, to be laid out as other datasets lay theirs out."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

SHAPE = (24, 20, 10)
# Tissue: signal before contrast, arterial, portal-venous, delayed.
SIGNALS = {"body": (150, 165, 175, 170), "liver": (200, 240, 310, 280), "lesion": (170, 420, 260, 230)}


def _anatomy(shape: tuple[int, int, int], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Image ``(4, X, Y, Z)`` int16 and lesion mask uint8; narrow below, wide above, the liver high on one side."""
    rng = np.random.default_rng(seed)
    i, j, k = (axis / (size - 1) for axis, size in zip(np.indices(shape), shape, strict=True))
    body = ((i - 0.5) / (0.25 + 0.2 * k)) ** 2 + ((j - 0.45) / (0.2 + 0.2 * k)) ** 2 <= 1
    liver = body & (((i - 0.35) / 0.2) ** 2 + ((j - 0.45) / 0.2) ** 2 + ((k - 0.75) / 0.3) ** 2 <= 1)
    lesion = liver & (((i - 0.33) / 0.1) ** 2 + ((j - 0.4) / 0.12) ** 2 + ((k - 0.7) / 0.18) ** 2 <= 1)
    image = np.zeros((4, *shape))
    for tissue, name in ((body, "body"), (liver, "liver"), (lesion, "lesion")):
        image[:, tissue] = np.array(SIGNALS[name])[:, None]
    image += rng.normal(0, 4, image.shape)
    return np.clip(image, 0, None).astype(np.int16), lesion.astype(np.uint8)


@pytest.fixture(scope="session")
def anatomy() -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    """``anatomy(seed=0, shape=(24, 20, 10))``: four phases int16 and a lesion mask uint8."""
    return lambda seed=0, shape=SHAPE: _anatomy(shape, seed)


@pytest.fixture(scope="session")
def oblique() -> np.ndarray:
    """An affine of 3 x 2.5 x 6 mm, stored left, posterior, superior, tilted."""
    angle = np.deg2rad(12)
    rotation = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    affine = np.eye(4)
    affine[:3, :3] = rotation @ np.diag([-3.0, -2.5, 6.0])
    affine[:3, 3] = (40.0, 30.0, -120.0)
    return affine


@pytest.fixture(scope="session")
def save() -> Callable[[np.ndarray, Path, np.ndarray | None], Path]:
    """``save(volume, path, affine=None)``: a NIfTI file, its folder made; without an affine, spacing 1 and origin 0."""

    def saved(volume: np.ndarray, path: Path, affine: np.ndarray | None = None) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        nib.save(nib.Nifti1Image(volume, np.eye(4) if affine is None else affine), path)
        return path

    return saved


@pytest.fixture(scope="session")
def imported() -> Callable[[Path], dict[str, dict[str, str]]]:
    """``imported(folder)``: the rows of an ``import.csv`` by case."""

    def rows(folder: Path) -> dict[str, dict[str, str]]:
        with (folder / "import.csv").open(newline="") as file:
            return {row["case"]: row for row in csv.DictReader(file)}

    return rows
