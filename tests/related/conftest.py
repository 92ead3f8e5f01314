"""Tiny cohorts of both kinds, and configs run in this process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.bundle import ConfigParser, ConfigWorkflow

from scripts.phantom.cohort import write_cohort
from scripts.related.chest_phantom import write_chest_cohort

CONFIGS = Path(__file__).resolve().parents[2] / "bundle" / "configs"


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    """Sums in an order that is always the same, in what a module trains once for all its tests, too."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def liver_dir(tmp_path_factory) -> Path:
    """Seven coarse liver studies of 8 slices: 3 to train on, 2 to validate, 2 to test."""
    folder = tmp_path_factory.mktemp("liver") / "cohort"
    write_cohort(7, 5, folder, split_sizes=[3, 2, 2], shape=(48, 40, 8), workers=1)
    return folder


@pytest.fixture(scope="session")
def chest_dir(tmp_path_factory) -> Path:
    """Nine chests of 64 x 48 x 4, three of each class: 3 to train on, 3 to validate, 3 to test."""
    folder = tmp_path_factory.mktemp("chest") / "cohort"
    write_chest_cohort(9, 3, folder, shape=(64, 48, 4))
    return folder


@pytest.fixture(scope="session")
def compose() -> Callable[..., ConfigParser]:
    """Configs by name, one behind the other, and overrides behind them."""

    def composed(*names: str, **overrides: Any) -> ConfigParser:
        parser = ConfigParser()
        parser.read_config([str(CONFIGS / name) for name in names])
        parser.update(overrides)
        return parser

    return composed


@pytest.fixture(scope="session")
def prepared() -> Callable[..., ConfigWorkflow]:
    """A workflow after ``initialize``, as ``python -m monai.bundle run`` has it before it runs a run id."""

    def prepare(names: list[str], run_id: str, overrides: dict[str, Any]) -> ConfigWorkflow:
        workflow = ConfigWorkflow(
            config_file=[str(CONFIGS / name) for name in names],
            workflow_type="train",
            logging_file=False,
            run_id=run_id,
            **{key: str(value) if isinstance(value, Path) else value for key, value in overrides.items()},
        )
        workflow.initialize()
        return workflow

    return prepare


@pytest.fixture(scope="session")
def run(prepared) -> Callable[..., ConfigWorkflow]:
    """Run a run id of configs by name."""

    def ran(names: list[str], run_id: str, **overrides: Any) -> ConfigWorkflow:
        workflow = prepared(names, run_id, overrides)
        workflow.run()
        return workflow

    return ran
