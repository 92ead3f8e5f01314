"""Light augmentation of one four-phase slice, every random number from the generator that it is given."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from ..domain.phases import PHASES, REFERENCE_INDEX


@dataclass(frozen=True)
class Augmentation:
    """How much a training slice may be changed; 0 switches a change off.

    Args:
        rotation_deg: largest rotation either way.
        scale: largest relative change of size.
        shift: largest shift, as a share of the field of view.
        flip_probability: of mirroring the first in-plane axis, left-right on axial slices (a mirrored
            abdomen does not occur, so it is off by default).
        phase_gain: standard deviation of each phase's relative gain.
        gain: standard deviation of the relative gain that all phases share.
        offset: standard deviation of the shared offset, normalised intensity.
        noise: largest standard deviation of the pixel noise, normalised intensity.
    """

    rotation_deg: float = 10.0
    scale: float = 0.1
    shift: float = 0.04
    flip_probability: float = 0.0
    phase_gain: float = 0.02
    gain: float = 0.05
    offset: float = 0.05
    noise: float = 0.05

    def move(
        self, image: torch.Tensor, label: torch.Tensor, rng: np.random.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Rotate, scale, shift and mirror image and label alike.

        Args:
            image: ``(4, H, W)``.
            label: ``(1, H, W)``, 0 or 1.
            rng: source of the transform.

        Returns:
            Both, resampled linearly, the border repeated; the label is 0 or 1 again.
        """
        angle = np.deg2rad(rng.uniform(-self.rotation_deg, self.rotation_deg))
        scale = 1.0 + rng.uniform(-self.scale, self.scale)
        shift = 2.0 * rng.uniform(-self.shift, self.shift, size=2)
        mirror = -1.0 if rng.random() < self.flip_probability else 1.0
        cos, sin = np.cos(angle) / scale, np.sin(angle) / scale
        # grid_sample names the last axis first, and the first in-plane axis is the one that is mirrored.
        theta = torch.tensor([[[cos, -sin * mirror, shift[0]], [sin, cos * mirror, shift[1]]]], dtype=torch.float32)
        both = torch.cat([image, label])[None]
        grid = functional.affine_grid(theta, list(both.shape), align_corners=False)
        moved = functional.grid_sample(both, grid, padding_mode="border", align_corners=False)[0]
        return moved[:-1], (moved[-1:] >= 0.5).float()

    def brighten(self, image: torch.Tensor, air: float, rng: np.random.Generator) -> torch.Tensor:
        """Change each phase's gain, and the gain and offset of all.

        Args:
            image: ``(4, H, W)`` normalised.
            air: normalised intensity of raw zero, which a gain leaves where it is.
            rng: source of the gains.

        Returns:
            A new image.
        """
        gain = np.exp(self.phase_gain * rng.standard_normal(len(PHASES)) + self.gain * rng.standard_normal())
        offset = air + self.offset * rng.standard_normal()
        gain = torch.from_numpy(gain.astype(np.float32))[:, None, None]
        return (image - air) * gain + offset

    def add_noise(self, image: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
        """Add pixel noise of a random strength.

        Args:
            image: ``(4, H, W)`` normalised.
            rng: source of the noise.

        Returns:
            A new image.
        """
        strength = np.float32(rng.uniform(0.0, self.noise))
        return image + torch.from_numpy(strength * rng.standard_normal(image.shape, dtype=np.float32))


def drop_phases(available: np.ndarray, probability: float, rng: np.random.Generator) -> np.ndarray:
    """Pretend, now and then, that one or two phases other than the reference were not acquired.

    Args:
        available: ``(4,)`` bool.
        probability: of dropping any.
        rng: source of the choice.

    Returns:
        ``(4,)`` bool; at least the reference phase stays as it was.
    """
    if rng.random() >= probability:
        return available
    others = [phase for phase in range(len(PHASES)) if phase != REFERENCE_INDEX]
    dropped = rng.choice(others, size=rng.integers(1, 3), replace=False)
    kept = available.copy()
    kept[dropped] = False
    return kept if kept.any() else available
