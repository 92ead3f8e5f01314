"""The phantom's phases as volumes on an acquired grid: axial, sagittal, coronal or oblique, shifted, marked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

import nibabel as nib
import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

from scripts.domain.phases import PHASES
from scripts.phantom.grid import abdominal_grid
from scripts.phantom.subject import PhantomStudy, make_study

# Where columns, rows and slices of an acquired plane grow to, letters of RAS/LPI; right-handed in LPS, as DICOM is.
PLANES = {"axial": "LPS", "sagittal": "PIR", "coronal": "LIP"}

MARKER_VALUE = 4000.0


@dataclass(frozen=True, eq=False)
class Volume:
    """One volume as a scanner acquires it.

    Args:
        array: ``(columns, rows, slices)`` float64, raw units.
        affine: ``(4, 4)`` from ``(column, row, slice)`` to RAS world, mm.
    """

    array: np.ndarray
    affine: np.ndarray

    def world_mm(self, index: tuple[float, float, float]) -> np.ndarray:
        """``(3,)`` RAS world of a voxel."""
        return self.affine[:3, :3] @ np.asarray(index, float) + self.affine[:3, 3]

    def with_array(self, array: np.ndarray) -> Volume:
        """The same grid with other values."""
        return Volume(array, self.affine)

    def slab(self, first: int, last: int) -> Volume:
        """Slices ``first`` to ``last - 1``."""
        affine = self.affine.copy()
        affine[:3, 3] = self.world_mm((0, 0, first))
        return Volume(self.array[:, :, first:last], affine)

    def moved(self, offset_mm: tuple[float, float, float]) -> Volume:
        """The same values somewhere else in RAS world: another part of the body."""
        affine = self.affine.copy()
        affine[:3, 3] += offset_mm
        return Volume(self.array, affine)

    def replanned(self, plane: str) -> Volume:
        """The same voxels, cut along another of ``PLANES``."""
        now = nib.orientations.io_orientation(self.affine)
        wanted = nib.orientations.axcodes2ornt(PLANES[plane])
        change = nib.orientations.ornt_transform(now, wanted)
        array = nib.orientations.apply_orientation(self.array, change)
        return Volume(array, self.affine @ nib.orientations.inv_ornt_aff(change, self.array.shape))


@dataclass(frozen=True)
class Subject:
    """Which phantom lies in the scanner, and how it is planned.

    Args:
        shape: voxels right-left, posterior-anterior, inferior-superior; they cover 384 x 384 x 160 mm.
        tumour_class: of the phantom.
        seed: of the phantom.
        plane: one of ``PLANES``.
        tilt_deg: rotation of the patient about the RAS axes x, y, z: an oblique plan.
        shifts_mm: per phase name an additional displacement of the anatomy in RAS mm, as by breathing: the anatomy
            moves, the grid stays.
        marker: whether one bright voxel is planted in every phase, at ``marker_index`` of the acquired grid.
    """

    shape: tuple[int, int, int] = (40, 32, 14)
    tumour_class: str = "hcc"
    seed: int = 5
    plane: str = "axial"
    tilt_deg: tuple[float, float, float] = (0.0, 0.0, 0.0)
    shifts_mm: Mapping[str, tuple[float, float, float]] = field(default_factory=dict)
    marker: bool = False

    @property
    def phantom(self) -> PhantomStudy:
        """The phantom's study, with its label and truth, on the phantom's own grid."""
        return _phantom(self.tumour_class, self.seed, tuple(self.shape))

    def planned(self, array: np.ndarray) -> Volume:
        """An array ``(X, Y, Z)`` of the phantom's grid on the acquired grid."""
        rotation = np.eye(4)
        rotation[:3, :3] = Rotation.from_euler("xyz", self.tilt_deg, degrees=True).as_matrix()
        upright = Volume(array, self.phantom.affine).replanned(self.plane)
        return Volume(upright.array, rotation @ upright.affine)

    def phases(self) -> dict[str, Volume]:
        """Phase name to volume."""
        volumes = {}
        for name, array in zip(PHASES, self.phantom.image.astype(np.float64), strict=True):
            shift_mm = np.asarray(self.shifts_mm.get(name, (0.0, 0.0, 0.0)))
            if shift_mm.any():
                voxels = np.linalg.solve(self.phantom.affine[:3, :3], shift_mm)
                array = ndimage.shift(array, voxels, order=1, mode="nearest")
            volume = self.planned(array)
            if self.marker:
                volume.array[self.marker_index] = MARKER_VALUE
            volumes[name] = volume
        return volumes

    @property
    def label(self) -> Volume:
        """The lesion mask on the acquired grid; the arterial phase is the one that it fits."""
        return self.planned(self.phantom.label)

    @property
    def liver(self) -> Volume:
        """The liver mask on the acquired grid."""
        return self.planned(self.phantom.liver)

    @property
    def marker_index(self) -> tuple[int, int, int]:
        """Column, row, slice of the marker, off-centre on each axis."""
        columns, rows, slices = self.planned(self.phantom.label).array.shape
        return columns // 5, rows // 3, (3 * slices) // 4

    @property
    def marker_mm(self) -> np.ndarray:
        """``(3,)`` RAS world of the marker."""
        return self.planned(self.phantom.label).world_mm(self.marker_index)


@lru_cache(maxsize=8)
def _phantom(tumour_class: str, seed: int, shape: tuple[int, int, int]) -> PhantomStudy:
    return make_study(np.random.SeedSequence(seed), tumour_class, abdominal_grid(shape))
