"""The committed results of the grid: its tables are those of its runs, and the runs say where they come from."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import pytest

from scripts.experiments.tables.building import build_tables

RESULTS = Path(__file__).resolve().parents[3] / "bundle" / "docs" / "results" / "grid"
TABLES = sorted(path.name for path in (RESULTS / "tables").glob("*.csv"))
RUNS = sorted((RESULTS / "runs").glob("*/fold*/seed*"))


@pytest.fixture(scope="module")
def rebuilt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tables of the committed runs, built anew."""
    folder = tmp_path_factory.mktemp("tables")
    build_tables(str(RESULTS), str(folder))
    return folder


def rows_of(path: Path) -> list[dict[str, str]]:
    """The lines of a table."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def is_same(text: str, again: str) -> bool:
    """Whether two cells are equal, numbers up to what another processor rounds otherwise."""
    try:
        return math.isclose(float(text), float(again), rel_tol=1e-4)
    except ValueError:
        return text == again


@pytest.mark.parametrize("name", TABLES)
def test_a_committed_table_is_that_of_the_committed_runs(rebuilt: Path, name: str) -> None:
    committed, built = rows_of(RESULTS / "tables" / name), rows_of(rebuilt / name)
    assert len(committed) == len(built) > 0
    for line, again in zip(committed, built, strict=True):
        assert line.keys() == again.keys()
        differing = {column: (text, again[column]) for column, text in line.items() if not is_same(text, again[column])}
        assert not differing, line


@pytest.mark.parametrize("run", RUNS, ids=lambda run: "-".join(run.parts[-3:]))
def test_a_committed_run_says_where_it_comes_from(run: Path) -> None:
    said = json.loads((run / "provenance.json").read_text())
    assert (said["arm"], f"fold{said['fold']}", f"seed{said['seed']}") == run.parts[-3:]
    assert len(said["commit"]) == 40
    assert said["dirty"] is False
    assert said["hardware"]["cores"] > 0
    assert rows_of(run / "per_subject.csv")
    for command in ("train_command", "evaluate_command"):
        assert " /" not in said[command]
