"""How registration moved a phase: kept in a small file, and followed from the reference to the phase and back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.affines import apply_affine
from scipy import ndimage

from ..domain.errors import StudyError
from ..domain.writing import replace_when_written
from .nifti_writing import save_image
from .registration import Registered
from .resampling import linear_weights

FORMAT = "mtinet displacement 1"
"""Stands in the file's ``descrip``; another number is another meaning of its numbers."""

NODE_MM = 12.0
"""Distance at most between two nodes. The B-spline's control points are four times as far apart, so that a line
between two nodes is off by hundredths of a millimetre; a rigid motion is linear anyway."""

LARGEST_RESIDUAL_MM = 1.0
"""What cannot be inverted any better than this is no displacement to move a mask by."""

_INTENT = 1006  # NIFTI_INTENT_DISPVECT

_STEP, _ITERATIONS, _CLOSE_MM = 0.6, 80, 0.01
"""Of the fixed-point iteration. Whole steps would swing for ever where the phase is stretched to twice
its length."""


@dataclass(frozen=True, eq=False)
class Displacement:
    """Where the places of the reference phase are found in another phase, both in RAS world, mm.

    Args:
        field_mm: ``(x, y, z, 3)`` float32 RAS, what is added to a node's place; linear between the nodes, beyond the
            outermost the same as there.
        affine: ``(4, 4)`` of the nodes, to RAS world, mm.
    """

    field_mm: np.ndarray
    affine: np.ndarray

    @classmethod
    def of(cls, registered: Registered, affine: np.ndarray) -> Displacement:
        """That of a registration, with as many nodes as it needs.

        Args:
            registered: from ``register``.
            affine: of the fixed grid, voxel to RAS world, mm.
        """
        field, nodes = registered.field_mm, _nodes(registered.image.shape, affine)
        for axis, (at, step) in enumerate(zip(nodes, registered.steps, strict=True)):
            weights = linear_weights(at / step, field.shape[axis])
            field = np.moveaxis(np.tensordot(weights, field, axes=(1, axis)), 0, axis)
        return cls(field.astype(np.float32), affine @ np.diag([*(at[1] for at in nodes), 1.0]))

    def inverse(self, shape: tuple[int, int, int], affine: np.ndarray) -> Displacement:
        """The way from the phase to the reference, known on nodes of the phase's own grid.

        Args:
            shape: of that grid.
            affine: likewise.
        """
        nodes = _nodes(shape, affine)
        places_mm = apply_affine(affine, np.stack(np.meshgrid(*nodes, indexing="ij"), axis=-1))
        field = self.to_reference(places_mm) - places_mm
        return Displacement(field.astype(np.float32), affine @ np.diag([*(at[1] for at in nodes), 1.0]))

    def to_phase(self, places_mm: np.ndarray) -> np.ndarray:
        """Places of the reference, ``(..., 3)``, in the phase."""
        return places_mm + self._at(places_mm)

    def to_reference(self, places_mm: np.ndarray) -> np.ndarray:
        """Places of the phase, ``(..., 3)``, in the reference: the inverse, by fixed-point iteration.

        Where the field folds there is none, and one of several places comes back.
        """
        found = places_mm - self._at(places_mm)
        for _ in range(_ITERATIONS):
            off = places_mm - self.to_phase(found)
            if np.abs(off).max(initial=0.0) < _CLOSE_MM:
                break
            found = found + _STEP * off
        return found

    def residual_mm(self) -> float:
        """How far the way to the phase and back ends from where it began, the worst of the nodes."""
        nodes = apply_affine(self.affine, np.moveaxis(np.indices(self.field_mm.shape[:3]), 0, -1))
        return float(np.linalg.norm(self.to_reference(self.to_phase(nodes)) - nodes, axis=-1).max())

    def write(self, file: Path) -> None:
        """Write it as NIfTI, aside and then renamed: ``(x, y, z, 1, 3)`` vectors of displacement in RAS, mm, as the
        format has them; ITK 5.4 reads it as a transform from the reference to the phase.

        Args:
            file: ends in ``.nii.gz``.
        """
        image = nib.Nifti1Image(self.field_mm.astype(np.float32)[:, :, :, None], self.affine)
        image.header.set_intent(_INTENT, allow_unknown=True)
        image.header.set_xyzt_units("mm")
        image.header["descrip"] = FORMAT
        image.set_qform(self.affine, code="scanner", strip_shears=True)
        image.set_sform(self.affine, code="scanner")
        with replace_when_written(file) as aside:
            save_image(image, aside)

    @classmethod
    def read(cls, file: Path) -> Displacement:
        """What ``write`` wrote.

        Raises:
            StudyError: no such file, or it holds something else.
        """
        try:
            image = nib.load(file)
            vectors = np.asarray(image.dataobj, np.float32)
            written = bytes(image.header["descrip"].item()).rstrip(b"\0").decode("latin-1")
        except Exception as error:  # nibabel raises many kinds, and their messages name the file with its folder
            msg = "the displacement of a phase cannot be read. Import the study again"
            raise StudyError(msg) from error
        fits = vectors.ndim == 5 and vectors.shape[3:] == (1, 3) and min(vectors.shape[:3]) > 1
        if written != FORMAT or not fits or not np.isfinite(vectors).all():
            msg = f"the displacement of a phase is not in the format {FORMAT!r}. Import the study again"
            raise StudyError(msg)
        return cls(vectors[:, :, :, 0], np.asarray(image.affine, float))

    def _at(self, places_mm: np.ndarray) -> np.ndarray:
        index = apply_affine(np.linalg.inv(self.affine), places_mm).reshape(-1, 3).T
        along = (ndimage.map_coordinates(c, index, order=1, mode="nearest") for c in np.moveaxis(self.field_mm, -1, 0))
        return np.stack(list(along), axis=-1).reshape(np.shape(places_mm))


def _nodes(shape: tuple[int, int, int], affine: np.ndarray) -> list[np.ndarray]:
    """Voxel coordinates along each axis of a grid, the outermost voxels' included, ``NODE_MM`` apart or less."""
    last = np.array(shape) - 1
    extents_mm = last * np.linalg.norm(affine[:3, :3], axis=0)
    return [np.linspace(0, n, max(2, int(np.ceil(mm / NODE_MM)) + 1)) for n, mm in zip(last, extents_mm, strict=True)]
