"""A four-phase study, as every room of the project sees it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .phases import PHASES


@dataclass(frozen=True, eq=False)
class Study:
    """One subject's four phases on the reference phase's grid, in RAS+ and raw scanner units.

    Args:
        case: identifier, unique in a dataset.
        image: ``(4, X, Y, Z)`` float32, raw units, phases in the order of ``PHASES``;
            an unavailable phase is all zeros.
        affine: ``(4, 4)`` voxel to RAS world, mm.
        available: whether each phase was acquired.
        times_s: seconds after the injection, per phase.
        offset: mean of the available phases inside the body, raw units.
        scale: standard deviation likewise; normalised = (raw - offset) / scale.
        nominal_times: the contrast phases whose time is not known but nominal.
        slice_axis: the array axis (0-2 of ``(X, Y, Z)``) nearest the acquired slice normal.
        native_axcodes: orientation of the file that the study came from, e.g. ``("L", "P", "S")``;
            masks are written back in it.
        label: ``(X, Y, Z)`` uint8 of ``LABELS`` values, where a ground truth exists.
        liver: ``(X, Y, Z)`` bool, where a liver mask exists.
    """

    case: str
    image: np.ndarray
    affine: np.ndarray
    available: tuple[bool, bool, bool, bool]
    times_s: tuple[float, float, float, float]
    offset: float
    scale: float
    nominal_times: tuple[str, ...] = ()
    slice_axis: int = 2
    native_axcodes: tuple[str, str, str] = ("R", "A", "S")
    label: np.ndarray | None = None
    liver: np.ndarray | None = None

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Voxel size along each array axis, from the affine."""
        return tuple(float(v) for v in np.linalg.norm(self.affine[:3, :3], axis=0))

    @property
    def voxel_ml(self) -> float:
        """Volume of one voxel."""
        return float(abs(np.linalg.det(self.affine[:3, :3])) / 1000.0)

    def normalised(self, phase: int) -> np.ndarray:
        """One phase in normalised intensity, ``(X, Y, Z)``."""
        return (self.image[phase] - self.offset) / self.scale

    def missing(self) -> tuple[str, ...]:
        """Names of the phases that this study lacks."""
        return tuple(name for name, there in zip(PHASES, self.available, strict=True) if not there)
