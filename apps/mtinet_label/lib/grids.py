"""Masks from one voxel grid to another: the nearest voxel, exact where the grids coincide.

Between the reference and a phase that was registered they go along the displacement that was found.
"""

from __future__ import annotations

import nibabel as nib
import numpy as np
from scipy import ndimage

from lib.errors import BadRequestError, UnknownError
from lib.studies.study import OpenStudy
from scripts.domain.errors import StudyError
from scripts.domain.phases import REFERENCE_INDEX
from scripts.studies.moved_mask import mask_on_phase, mask_on_reference

_WHOLE_STEP, _WHOLE_SHIFT = 1e-4, 1e-2
"""Steps and shifts, in voxels, closer to whole ones than this are meant to be: headers are written with few digits."""


def reference_grid(study: OpenStudy) -> tuple[tuple[int, int, int], np.ndarray]:
    """Shape and affine of the file whose voxels the case's masks have: its first phase's where there is no arterial.

    Raises:
        UnknownError: the case has no file of a phase.
        StudyError: its file is gone or damaged.
    """
    case = study.case
    for file in (case.phase_files[REFERENCE_INDEX], *case.phase_files, case.volume_file):
        if file is not None:
            try:
                header = nib.load(file)
            except (OSError, nib.filebasedimages.ImageFileError) as error:
                msg = "the study's reference phase cannot be read. Look whether somebody moved or changed it"
                raise StudyError(msg) from error
            return tuple(int(n) for n in header.shape[:3]), header.affine
    msg = "the study has no file of any phase"
    raise UnknownError(msg)


def on_grid(mask: np.ndarray, study: OpenStudy, series: str | None) -> np.ndarray:
    """A mask of the case as a viewer that shows one of its series wants it.

    Args:
        mask: ``(X, Y, Z)`` uint8 on the case's reference grid, in the axes of its file.
        study: the case.
        series: the series or phase file that is shown; None is the reference.

    Returns:
        ``(columns, rows, slices)`` uint8; 0 where the series reaches farther than the reference.

    Raises:
        BadRequestError: the mask is not on the case's reference grid.
    """
    shape, affine = reference_grid(study)
    if mask.shape != shape:
        msg = f"the mask has {_text(mask.shape)} voxels and the study's reference grid {_text(shape)}"
        raise BadRequestError(msg)
    grid, displacement = study.grid(series), study.displacement(series)
    if displacement is None:
        return nearest(mask, affine, shape=grid.shape, target=grid.affine)
    return mask_on_phase(mask, affine, shape=grid.shape, target=grid.affine, displacement=displacement)


def from_series(mask: np.ndarray, affine: np.ndarray, study: OpenStudy, series: str | None) -> np.ndarray:
    """A mask that was drawn over one of the series, on the case's reference grid.

    Args:
        mask: ``(X, Y, Z)`` uint8, on any grid of the series' scanner coordinates.
        affine: ``(4, 4)`` of its voxels, to RAS world, mm.
        study: the case.
        series: over which it was drawn; None is the reference.

    Returns:
        ``(X, Y, Z)`` uint8 in the axes of the reference file.
    """
    shape, reference = reference_grid(study)
    displacement = study.displacement(series)
    if displacement is None:
        return nearest(mask, affine, shape=shape, target=reference)
    return mask_on_reference(mask, affine, shape=shape, target=reference, displacement=displacement)


def nearest(volume: np.ndarray, affine: np.ndarray, *, shape: tuple[int, int, int], target: np.ndarray) -> np.ndarray:
    """Bring a volume to another grid by its nearest voxel; 0 outside.

    Args:
        volume: ``(X, Y, Z)``.
        affine: ``(4, 4)`` of its voxels, to world, mm.
        shape: of the result.
        target: ``(4, 4)`` of the result's voxels, to the same world, mm.

    Returns:
        ``shape``, the volume's type.
    """
    to_source = np.linalg.inv(affine) @ target
    whole = np.round(to_source)
    close = np.abs(to_source - whole) < np.array([[_WHOLE_STEP, _WHOLE_STEP, _WHOLE_STEP, _WHOLE_SHIFT]])
    to_source = np.where(close, whole, to_source)
    axes = _parallel_axes(to_source[:3, :3])
    if axes is None:
        # "grid-constant" reaches to the outer edge of the outermost voxels, where "constant" stops at their centres.
        return ndimage.affine_transform(
            volume, to_source[:3, :3], to_source[:3, 3], shape, order=0, mode="grid-constant", prefilter=False
        )
    return _along_axes(volume, to_source, axes, shape)


def _parallel_axes(matrix: np.ndarray) -> tuple[int, ...] | None:
    """For each axis of the target the one of the source that it runs along; None where the grids are oblique."""
    used = matrix != 0
    if (used.sum(axis=0) == 1).all() and (used.sum(axis=1) == 1).all():
        return tuple(int(axis) for axis in used.argmax(axis=0))
    return None


def _along_axes(
    volume: np.ndarray, to_source: np.ndarray, axes: tuple[int, ...], shape: tuple[int, int, int]
) -> np.ndarray:
    """The nearest voxels where axes are parallel: one row of indices for each axis, instead of one for each voxel."""
    result = np.zeros(shape, dtype=volume.dtype)
    source, inside = [None] * 3, []
    for axis, along in enumerate(axes):
        position = np.floor(to_source[along, axis] * np.arange(shape[axis]) + to_source[along, 3] + 0.5).astype(int)
        there = (position >= 0) & (position < volume.shape[along])
        source[along] = position[there]
        inside.append(np.flatnonzero(there))
    result[np.ix_(*inside)] = volume[np.ix_(*source)].transpose(axes)
    return result


def _text(shape: tuple[int, ...]) -> str:
    return " x ".join(str(n) for n in shape)
