"""A small network, and a cohort of coarse phantom studies for simulations."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from scripts.networks.mtinet import MTINet
from scripts.phantom.cohort import write_cohort


@pytest.fixture(scope="session")
def small_network() -> MTINet:
    """All three tasks on slices of 32 x 32, in eval mode; read only."""
    torch.manual_seed(1)
    network = MTINet(
        widths=(4, 4, 8, 8),
        fusion_levels="all",
        decoder_skips=True,
        head="locate",
        token_grid=2,
        d_model=16,
        heads=2,
        ffn=16,
        blocks=1,
    )
    network.image_size.fill_(32)
    return network.eval()


@pytest.fixture(scope="session")
def coarse_cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fourteen studies: 9 to train, 2 to validate, 3 to test."""
    folder = tmp_path_factory.mktemp("coarse") / "cohort"
    write_cohort(14, 5, folder, split_sizes=[9, 2, 3], shape=(32, 28, 10), workers=1)
    return folder


class UnlabelledStore:
    """Answers the two questions that strategies ask MONAI Label's datastore."""

    def __init__(self, unlabelled: list[str], labelled: list[str]) -> None:
        self.unlabelled, self.labelled = unlabelled, labelled

    def get_unlabeled_images(self, label_tag: str | None = None, labels: list[str] | None = None) -> list[str]:
        return self.unlabelled

    def get_labeled_images(self, label_tag: str | None = None, labels: list[str] | None = None) -> list[str]:
        return self.labelled


@pytest.fixture
def make_store() -> Callable[..., UnlabelledStore]:
    """A datastore of names."""
    return lambda unlabelled=(), labelled=(): UnlabelledStore(list(unlabelled), list(labelled))
