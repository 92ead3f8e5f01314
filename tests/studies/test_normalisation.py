from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from scripts.domain.errors import StudyError
from scripts.studies.layout import read_dataset
from scripts.studies.normalisation import body_mask, intensity_statistics, otsu_threshold
from scripts.studies.reading import read_study

ALL = (True,) * 4


def _ellipse(shape: tuple[int, int, int]) -> np.ndarray:
    i, j, _ = np.meshgrid(*map(np.arange, shape), indexing="ij")
    x, y = i / shape[0] - 0.55, j / shape[1] - 0.45
    return (x / 0.38) ** 2 + (y / 0.3) ** 2 <= 1


def _study(shape: tuple[int, int, int] = (96, 80, 20)) -> tuple[np.ndarray, np.ndarray]:
    """A noisy body with a dark cavity inside and a bright speck outside."""
    rng = np.random.default_rng(1)
    body = _ellipse(shape)
    image = rng.normal(0, 6, (4, *shape)) + body * np.array([150.0, 200, 250, 220])[:, None, None, None]
    cavity = tuple(slice(int(0.5 * n), int(0.6 * n)) for n in shape)
    image[(slice(None), *cavity)] = 0
    image[:, 2:4, 2:4, 2:4] = 900
    return np.abs(image).astype(np.float32), body


@pytest.mark.parametrize("value", [0.0, 7.0])
def test_a_constant_image_is_refused(value: float) -> None:
    with pytest.raises(StudyError, match=r"constant intensities.*Check that"):
        intensity_statistics(np.full((4, 12, 10, 8), value, np.float32), ALL)


def test_no_body_in_a_constant_image() -> None:
    assert not body_mask(np.ones((4, 12, 10, 8), np.float32)).any()


@pytest.mark.parametrize("shape", [(96, 80, 20), (300, 170, 12)])
def test_the_body_is_found_filled_and_without_specks(shape: tuple[int, int, int]) -> None:
    image, truth = _study(shape)
    found = body_mask(image)
    assert found.shape == shape
    overlap = 2 * (found & truth).sum() / (found.sum() + truth.sum())
    assert overlap > (0.99 if max(shape) <= 128 else 0.97)  # coarser steps on a large grid
    assert not found[2:4, 2:4, 2:4].any()
    assert found[tuple(int(0.55 * n) for n in shape)]


def test_missing_phases_and_units_do_not_change_the_body() -> None:
    image, _ = _study()
    image[[0, 3]] = 0
    expected = body_mask(image[1:3])
    np.testing.assert_array_equal(body_mask(image), expected)
    np.testing.assert_array_equal(body_mask(image * 40), expected)


def test_otsus_threshold_maximises_the_variance_between_classes() -> None:
    rng = np.random.default_rng(2)
    values = np.concatenate([rng.normal(10, 4, 6000), rng.normal(90, 20, 3000)])
    values = np.minimum(values, np.percentile(values, 99))
    found = otsu_threshold(values)

    def between(threshold: float) -> float:
        below, above = values[values <= threshold], values[values > threshold]
        return len(below) * len(above) * (below.mean() - above.mean()) ** 2

    best = max(between(threshold) for threshold in np.linspace(values.min(), values.max(), 500)[1:-1])
    assert between(found) >= 0.999 * best


def test_offset_and_scale_are_mean_and_deviation_of_all_available_phases() -> None:
    image, _ = _study()
    body = body_mask(image)
    pooled = np.array([image[p][x, y, z] for p in (0, 1, 3) for x, y, z in np.argwhere(body)], dtype=np.float64)
    offset, scale = intensity_statistics(image, (True, True, False, True))
    assert offset == pytest.approx(np.sum(pooled) / len(pooled), rel=1e-6)
    assert scale == pytest.approx(np.sqrt(np.sum((pooled - offset) ** 2) / len(pooled)), rel=1e-5)


def test_a_study_carries_the_numbers_that_give_raw_units_back(dataset_dir: Path) -> None:
    study = read_study(read_dataset(dataset_dir)[0])
    body = body_mask(study.image)
    normalised = np.stack([study.normalised(phase)[body] for phase in range(4)])
    assert normalised.mean() == pytest.approx(0.0, abs=1e-4)
    assert normalised.std() == pytest.approx(1.0, abs=1e-4)
    np.testing.assert_allclose(study.normalised(1) * study.scale + study.offset, study.image[1], atol=1e-2)
