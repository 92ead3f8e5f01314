"""The spectral domain: a Gaussian high-pass filter, by FFT or by real matrices.

The transfer function is ``1 - exp(-f² / (2 f_c²))`` with ``f`` the radial frequency and ``f_c`` the cut-off, so that
the constant component is removed exactly. As ``exp(-f²)`` is a product over the axes, the same filter of a map ``x``
is ``x - A x Bᵀ`` with two real circulant matrices, which every graph compiler can run.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ..domain.errors import ConfigurationError

METHODS = ("fft", "matrix")
NYQUIST = 0.5
"""Cycles a pixel."""

_NEEDS_SPECTRUM = "spectral='log_magnitude' needs the spectrum itself, which matrices cannot give: use high_pass='fft'."


def low_pass_response(size: int, cutoff: float, device: torch.device) -> Tensor:
    """Gaussian response at the ``size`` frequencies of a discrete Fourier transform, ``(size,)`` float32.

    The cut-off is in cycles a pixel, here and below.
    """
    frequency = torch.fft.fftfreq(size, device=device) / cutoff
    return torch.exp(-0.5 * frequency * frequency)


def low_pass_matrix(size: int, cutoff: float, device: torch.device) -> Tensor:
    """The circulant matrix ``(size, size)`` that low-passes a vector; real and symmetric."""
    index = torch.arange(size, device=device)
    # Signed frequency numbers 0, 1, …, -2, -1; cosines of the exact remainder, or float32 loses the phase.
    number = torch.where(index < (size + 1) // 2, index, index - size)
    response = torch.exp(-0.5 * (number / (size * cutoff)) ** 2)
    angle = (index[:, None] * index[None, :]) % size * (2.0 * math.pi / size)
    kernel = torch.cos(angle) @ response / size
    return kernel[(index[:, None] - index[None, :]) % size]


def high_pass_by_matrix(image: Tensor, cutoff: float, spatial_dims: int) -> Tensor:
    """High-pass the last ``spatial_dims`` axes of ``(…, *S)`` by one real matrix an axis."""
    low = image
    for axis in range(-spatial_dims, 0):
        matrix = low_pass_matrix(image.shape[axis], cutoff, image.device)
        low = torch.matmul(low.transpose(axis, -1), matrix).transpose(axis, -1)
    return image - low


def high_pass_spectrum(image: Tensor, cutoff: float, spatial_dims: int) -> Tensor:
    """Complex spectrum ``(…, *S)`` of the high-passed image, orthonormal."""
    low = torch.ones(1, device=image.device)
    for axis in range(image.dim() - spatial_dims, image.dim()):
        low = low.unsqueeze(-1) * low_pass_response(image.shape[axis], cutoff, image.device)
    axes = list(range(-spatial_dims, 0))
    return torch.fft.fftn(image, dim=axes, norm="ortho") * (1.0 - low.squeeze(0))


def high_pass_by_fft(image: Tensor, cutoff: float, spatial_dims: int) -> Tensor:
    """High-pass the last ``spatial_dims`` axes of ``(…, *S)`` by the fast Fourier transform."""
    axes = list(range(-spatial_dims, 0))
    return torch.fft.ifftn(high_pass_spectrum(image, cutoff, spatial_dims), dim=axes, norm="ortho").real


class HighPass(nn.Module):
    """Gaussian high-pass filter; always in float32, as there is no FFT in bfloat16.

    Args:
        cutoff: fraction of the Nyquist frequency at which the response is ``1 - exp(-1/2)``.
        method: ``fft``, or ``matrix`` (the same within 1e-5; for graph compilers).
        log_magnitude: return ``log(1 + |spectrum|)`` with the constant component in the centre, not the image.
        spatial_dims: 2 or 3.

    Raises:
        ConfigurationError: cut-off outside (0, 1], unknown method, or a spectrum asked from matrices.
    """

    def __init__(
        self, *, cutoff: float = 0.1, method: str = "fft", log_magnitude: bool = False, spatial_dims: int = 2
    ) -> None:
        super().__init__()
        if not 0 < cutoff <= 1:
            msg = f"cutoff is a fraction of the Nyquist frequency, in (0, 1]; got {cutoff}."
            raise ConfigurationError(msg)
        if method not in METHODS:
            msg = f"high_pass must be one of {METHODS}; got {method!r}."
            raise ConfigurationError(msg)
        if log_magnitude and method != "fft":
            raise ConfigurationError(_NEEDS_SPECTRUM)
        self.cutoff = cutoff * NYQUIST
        self.method = method
        self.log_magnitude = log_magnitude
        self.spatial_dims = spatial_dims

    @torch.jit.unused
    def use_matrices(self) -> None:
        """Filter by matrices from now on.

        Raises:
            ConfigurationError: the spectrum itself is asked for.
        """
        if self.log_magnitude:
            raise ConfigurationError(_NEEDS_SPECTRUM)
        self.method = "matrix"

    def forward(self, image: Tensor) -> Tensor:
        """``(N, C, *S)`` any float type to the same shape, float32."""
        if torch.jit.is_scripting():
            return self._filter(image.float())
        with torch.autocast(device_type=image.device.type, enabled=False):
            return self._filter(image.float())

    def _filter(self, image: Tensor) -> Tensor:
        if self.log_magnitude:
            magnitude = high_pass_spectrum(image, self.cutoff, self.spatial_dims).abs()
            axes = list(range(-self.spatial_dims, 0))
            return torch.fft.fftshift(torch.log1p(magnitude), dim=axes)
        if self.method == "matrix":
            return high_pass_by_matrix(image, self.cutoff, self.spatial_dims)
        return high_pass_by_fft(image, self.cutoff, self.spatial_dims)
