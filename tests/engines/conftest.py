"""A network small enough for unit tests, and batches that it can learn from."""

import numpy as np
import pytest
import torch

from scripts.networks.mtinet import MTINet


@pytest.fixture
def network():
    torch.manual_seed(0)
    return MTINet(
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


@pytest.fixture
def batch():
    """Four slices of 32 x 48, three with a bright square as tumour."""
    rng = np.random.default_rng(0)
    image = torch.from_numpy(rng.normal(0, 0.1, (4, 4, 32, 48)).astype(np.float32))
    label = torch.zeros(4, 1, 32, 48)
    label[:3, :, 8:20, 12:24] = 1.0
    image = image + label * torch.tensor([0.0, 1.5, 0.5, 1.0]).view(1, 4, 1, 1)
    curve = (image * label).sum((2, 3)) / label.sum((2, 3)).clamp(min=1)
    return {
        "image": image,
        "label": label,
        "curve": curve,
        "tumour_class": torch.tensor([0, 1, 0, -1]),
        "available": torch.ones(4, 4, dtype=torch.bool),
        "times_s": torch.tensor([0.0, 30.0, 70.0, 180.0]).expand(4, -1),
        "case": ["a", "b", "c", "d"],
        "slice": torch.arange(4),
    }
