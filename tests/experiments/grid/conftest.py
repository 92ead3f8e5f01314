"""Tables of subjects, and a small grid over them."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from scripts.phantom.cohort import write_cohort

COLUMNS = ("case", "class", "split", "fold", "site", "t_pre", "t_arterial", "t_portal_venous", "t_delayed")


@pytest.fixture
def table(tmp_path: Path) -> Callable[[Sequence[tuple[str, str, str, str]]], Path]:
    """Writes a dataset of nothing but ``subjects.csv`` and empty labels, from rows of case, class, split, fold."""

    def write(rows: Sequence[tuple[str, str, str, str]]) -> Path:
        root = tmp_path / "table"
        for folder in ("labelsTr", "labelsTs"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        with (root / "subjects.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            writer.writerows([*row, "", 0, 30, 70, 180] for row in rows)
        for case, _, split, _ in rows:
            (root / ("labelsTs" if split == "test" else "labelsTr") / f"{case}.nii.gz").touch()
        return root

    return write


@pytest.fixture(scope="session")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fourteen coarse phantom studies: 8 and 2 in folds, 4 to test."""
    folder = tmp_path_factory.mktemp("grid") / "cohort"
    write_cohort(14, 5, folder, split_sizes=[8, 2, 4], shape=(48, 40, 16), workers=1)
    return folder
