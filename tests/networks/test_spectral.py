"""The Gaussian high-pass filter."""

import math

import numpy as np
import pytest
import torch

from scripts.domain.errors import ConfigurationError
from scripts.networks.spectral import HighPass


def _reference(image: np.ndarray, cutoff: float) -> np.ndarray:
    """Filter ``(H, W)`` by NumPy's transform in double precision."""
    u, v = (np.fft.fftfreq(n) / (0.5 * cutoff) for n in image.shape)
    response = 1 - np.exp(-(u[:, None] ** 2 + v[None, :] ** 2) / 2)
    return np.fft.ifft2(np.fft.fft2(image) * response).real


@pytest.fixture
def picture() -> np.ndarray:
    return np.random.default_rng(0).normal(2.0, 1.0, (96, 80))


def _run(image: np.ndarray, **options) -> np.ndarray:
    return HighPass(**options)(torch.tensor(image, dtype=torch.float32)[None, None])[0, 0].numpy()


@pytest.mark.parametrize("cutoff", [0.0, -0.1, 1.5])
def test_cutoff_outside_nyquist_is_refused(cutoff):
    with pytest.raises(ConfigurationError, match="fraction of the Nyquist"):
        HighPass(cutoff=cutoff)


def test_unknown_method_is_refused():
    with pytest.raises(ConfigurationError, match=r"one of .*got 'wavelet'"):
        HighPass(method="wavelet")


def test_matrices_have_no_spectrum():
    with pytest.raises(ConfigurationError, match="high_pass='fft'"):
        HighPass(method="matrix", log_magnitude=True)
    with pytest.raises(ConfigurationError, match="high_pass='fft'"):
        HighPass(log_magnitude=True).use_matrices()


@pytest.mark.parametrize("cutoff", [0.05, 0.1, 0.2])
@pytest.mark.parametrize("method", ["fft", "matrix"])
def test_equals_numpy(picture, method, cutoff):
    np.testing.assert_allclose(_run(picture, cutoff=cutoff, method=method), _reference(picture, cutoff), atol=1e-5)


@pytest.mark.parametrize("shape", [(256, 256), (96, 80), (15, 33)])
def test_both_methods_agree(shape):
    image = np.random.default_rng(1).normal(size=shape)
    np.testing.assert_allclose(_run(image, method="matrix"), _run(image, method="fft"), atol=1e-5)


@pytest.mark.parametrize("method", ["fft", "matrix"])
def test_a_constant_vanishes(method):
    np.testing.assert_allclose(_run(np.full((48, 64), 7.0), method=method), 0.0, atol=1e-5)


@pytest.mark.parametrize("method", ["fft", "matrix"])
def test_response_at_the_cutoff(method):
    """A cosine of exactly the cut-off frequency keeps 1 - exp(-1/2) of its amplitude."""
    wave = np.cos(2 * math.pi * 4 * np.arange(80) / 80)[None, :].repeat(96, axis=0)
    np.testing.assert_allclose(_run(wave, cutoff=0.1, method=method), (1 - math.exp(-0.5)) * wave, atol=1e-5)


def test_three_dimensions_agree():
    volume = torch.randn(2, 1, 12, 16, 20, generator=torch.Generator().manual_seed(0))
    by_fft = HighPass(spatial_dims=3)(volume)
    torch.testing.assert_close(HighPass(spatial_dims=3, method="matrix")(volume), by_fft, atol=1e-5, rtol=0)


def test_log_magnitude_is_the_spectrum_with_its_centre_empty(picture):
    spectrum = np.fft.fft2(_reference(picture, 0.1), norm="ortho")
    expected = np.fft.fftshift(np.log1p(np.abs(spectrum)))
    computed = _run(picture, log_magnitude=True)
    np.testing.assert_allclose(computed, expected, atol=1e-5)
    assert computed[48, 40] == pytest.approx(0.0, abs=1e-5)


@pytest.mark.parametrize("method", ["fft", "matrix"])
def test_float32_under_autocast(picture, method):
    image = torch.tensor(picture, dtype=torch.float32)[None, None]
    high_pass = HighPass(method=method)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        computed = high_pass(image)
    assert computed.dtype == torch.float32
    torch.testing.assert_close(computed, high_pass(image))
