"""The locator and its pooling."""

import numpy as np
import pytest
import torch

from scripts.networks.locator import IMAGE_FEATURES, Locator

WIDTHS = (4, 6, 8, 10)
SIZES = ((96, 80), (48, 40), (24, 20), (12, 10), (6, 5))


@pytest.fixture
def maps() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    widths = (*WIDTHS, WIDTHS[-1])
    return [torch.randn(2, 4 * w, *size, generator=generator) for w, size in zip(widths, SIZES, strict=True)]


def _attend_to(locator: Locator, cells: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the locator sure that the tumour is where ``cells (B, 1, h, w)`` is true."""
    monkeypatch.setattr(locator, "_locate", lambda maps: torch.where(cells, 30.0, 0.0))


def test_shapes(maps, image):
    locator = Locator(WIDTHS)
    logits, descriptors, mean = locator(maps, image)
    assert logits.shape == (2, 1, 48, 40)
    assert locator.features == IMAGE_FEATURES + 6 + 8 + 10 + 10
    assert descriptors.shape == (2, 4, locator.features)
    assert mean.shape == (2, 4)


def test_the_full_resolution_map_is_not_read(maps, image):
    locator = Locator(WIDTHS)
    without = [torch.empty(0), *maps[1:]]
    for here, there in zip(locator(without, image), locator(maps, image), strict=True):
        torch.testing.assert_close(here, there)


def test_means_under_a_sure_attention(maps, image, monkeypatch):
    """With all attention on a rectangle, pooled values are NumPy's means over that rectangle."""
    cells = torch.zeros(2, 1, 48, 40, dtype=torch.bool)
    cells[:, :, 16:32, 8:16] = True
    locator = Locator(WIDTHS)
    _attend_to(locator, cells, monkeypatch)
    _, descriptors, mean = locator(maps, image)
    halved = image.numpy().reshape(2, 4, 48, 2, 40, 2).mean(axis=(3, 5))[:, :, 16:32, 8:16]
    np.testing.assert_allclose(mean, halved.mean(axis=(2, 3)), atol=1e-4)
    np.testing.assert_allclose(descriptors[:, :, 0], mean)
    np.testing.assert_allclose(descriptors[:, :, 1], halved.std(axis=(2, 3)), atol=1e-3)
    # Stride 8: the rectangle is cells 4-8 and 2-4 of 12 x 10; the level's channels follow those of strides 2 and 4.
    first = IMAGE_FEATURES + 6 + 8
    expected = maps[3].numpy().reshape(2, 4, 10, 12, 10)[:, :, :, 4:8, 2:4].mean(axis=(3, 4))
    np.testing.assert_allclose(descriptors[:, :, first : first + 10], expected, atol=1e-4)


def test_surround_of_a_bright_tumour_is_darker(maps, monkeypatch):
    """A disc of 1.0 in liver of 0.25: the surround's contrast is about -0.75, and of no sharp centre 0."""
    x, y = np.meshgrid(np.arange(48), np.arange(40), indexing="ij")
    disc = torch.tensor((x - 20) ** 2 + (y - 24) ** 2 <= 36)
    _attend_to(locator := Locator(WIDTHS), disc.expand(2, 1, -1, -1), monkeypatch)
    image = torch.where(disc, 1.0, 0.25).repeat_interleave(2, 0).repeat_interleave(2, 1).expand(2, 4, -1, -1)
    statistics = locator(maps, image)[1][0, 0, :IMAGE_FEATURES]
    np.testing.assert_allclose(statistics, (1.0, 0.0, 0.0, -0.75), atol=0.02)


def test_centre_tells_a_rim_from_a_core(maps, monkeypatch):
    """Attention highest in a dark core: the sharpened mean lies below the broad one."""
    x, y = np.meshgrid(np.arange(48), np.arange(40), indexing="ij")
    squared = torch.tensor((x - 20.0) ** 2 + (y - 24.0) ** 2)
    locator = Locator(WIDTHS)
    monkeypatch.setattr(locator, "_locate", lambda maps: (-squared / 20).expand(2, 1, -1, -1))
    image = torch.where(squared < 9, 0.0, 1.0).repeat_interleave(2, 0).repeat_interleave(2, 1).expand(2, 4, -1, -1)
    _, descriptors, _ = locator(maps, image)
    assert torch.all(descriptors[:, :, 2] < -0.1)


def test_statistics_in_float32_under_autocast(maps, image, monkeypatch):
    cells = torch.zeros(2, 1, 48, 40, dtype=torch.bool)
    cells[:, :, 16:32, 8:16] = True
    locator = Locator(WIDTHS)
    _attend_to(locator, cells, monkeypatch)
    expected = locator(maps, 100.0 + image)[2]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mean = locator(maps, 100.0 + image)[2]
    torch.testing.assert_close(mean, expected, atol=1e-4, rtol=0)
