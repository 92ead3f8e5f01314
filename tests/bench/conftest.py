"""Conditions so small that every measurement takes a second or two."""

from __future__ import annotations

import pytest

from scripts.bench.conditions import Conditions

SMALL = {"image_size": 32, "network_def#widths": [4, 4, 8, 8]}


@pytest.fixture(scope="session")
def conditions(tmp_path_factory) -> Conditions:
    """One run of a tiny network on a phantom of 48x40x12 voxels."""
    return Conditions(
        tmp_path_factory.mktemp("bench"),
        runs=1,
        # PyTorch starts sooner than OpenVINO compiles.
        inference={**SMALL, "backend": "torch"},
        training={**SMALL, "batch_size": 2},
        study_shape=(48, 40, 12),
        gemm_size=64,
    )
