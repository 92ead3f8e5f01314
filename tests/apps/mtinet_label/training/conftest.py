"""The tiny dataset's studies with labels of readers, and a network of milliseconds that is served."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch

from lib.labels.store import LabelStore
from lib.models import ModelShelf
from lib.settings import Settings
from lib.studies.folder import FolderSource
from scripts.engines.weights import save_atomically
from scripts.networks.mtinet import MTINet

NARROW = {"network_def#widths": [4, 4, 8, 8], "network_def#d_model": 16, "network_def#ffn": 16}


@pytest.fixture(scope="session")
def narrow_overrides() -> dict[str, Any]:
    """What makes the configs' network the one of ``narrow_weights``."""
    return dict(NARROW)


@pytest.fixture(scope="session")
def narrow_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of a narrow network, of a grid of 32 pixels."""
    torch.manual_seed(0)
    network = MTINet(
        widths=(4, 4, 8, 8),
        fusion_levels="all",
        decoder_skips=True,
        head="locate",
        d_model=16,
        heads=2,
        ffn=16,
    )
    network.image_size.fill_(32)
    file = tmp_path_factory.mktemp("weights") / "model.pt"
    save_atomically(network.state_dict(), file)
    return file


@pytest.fixture
def narrow_shelf(narrow_weights: Path, tmp_path: Path) -> ModelShelf:
    """Serves the narrow network; nothing promoted yet."""
    return ModelShelf(tmp_path / "state" / "models", shipped=narrow_weights, version="1.0.0")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """With a state folder of its own."""
    return Settings(state=str(tmp_path / "state"), epochs=1)


@pytest.fixture
def source(dataset_dir: Path) -> FolderSource:
    """The tiny dataset."""
    return FolderSource(dataset_dir)


@pytest.fixture
def label_store(tmp_path: Path) -> LabelStore:
    """Labels of readers only."""
    return LabelStore(tmp_path / "state" / "labels")


@pytest.fixture
def true_label(dataset_dir: Path) -> Callable[[str], np.ndarray]:
    """A case's own mask, in the order of its file."""

    def load(case: str) -> np.ndarray:
        file = next(dataset_dir.glob(f"labels*/{case}.nii.gz"))
        return np.asarray(nib.load(file).dataobj).astype(np.uint8)

    return load


@pytest.fixture
def label_as_reader(
    source: FolderSource, label_store: LabelStore, true_label: Callable[[str], np.ndarray]
) -> Callable[..., None]:
    """Save cases' own masks as a reader's."""

    def save(*cases: str, diagnosis: str | None = None) -> None:
        for case in cases:
            label_store.save(case, mask=true_label(case), study=source.open(case), diagnosis=diagnosis, reader="reader")

    return save


@pytest.fixture
def datastore(source: FolderSource, label_store: LabelStore) -> SimpleNamespace:
    """What the trainer needs of the datastore."""
    return SimpleNamespace(source=source, labels=label_store)
