"""Reads a case's files as a ``Study`` in RAS+, and writes masks back onto the grid they came from."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.orientations import (
    apply_orientation,
    axcodes2ornt,
    inv_ornt_aff,
    io_orientation,
    ornt2axcodes,
    ornt_transform,
)
from nibabel.processing import resample_from_to

from ..domain.classes import LABELS
from ..domain.errors import StudyError
from ..domain.phases import PHASES, REFERENCE_INDEX, REFERENCE_PHASE
from ..domain.study import Study
from ..domain.writing import replace_when_written
from .case import Case
from .nifti import FileError, read_phases, read_volume, require_varying, same_grid
from .nifti_writing import write_nifti
from .normalisation import body_mask, intensity_statistics

logger = logging.getLogger(__name__)

COARSE_RATIO = 1.5
"""An axis this much coarser than the stored third one is the acquired slice normal instead."""

_RAS = axcodes2ornt(("R", "A", "S"))


def read_study(case: Case) -> Study:
    """Read, orient, align and measure a study.

    Phases on other grids than the reference phase's are resampled onto it (linear; zero, i.e. air,
    outside). Without the reference phase the first one that is there takes its place.

    Args:
        case: where the files are.

    Returns:
        The study, on the grid of the reference phase.

    Raises:
        StudyError: no phase at all, or a file is unusable; the message names the file and the fix.
    """
    volumes, affine = _reference_grid_phases(case)
    available = tuple(volume is not None for volume in volumes)
    shape = next(volume.shape for volume in volumes if volume is not None)
    ornt = io_orientation(affine)
    axcodes = ornt2axcodes(ornt)
    ras_shape = tuple(shape[int(axis)] for axis in np.argsort(ornt[:, 0]))
    # NIfTI stores X fastest: the same layout here makes slices contiguous and spares a transposition.
    image = np.zeros((len(PHASES), *ras_shape[::-1]), dtype=np.float32).transpose(0, 3, 2, 1)
    for phase, volume in enumerate(volumes):
        if volume is not None:
            image[phase] = apply_orientation(volume, ornt)
    ras_affine = affine @ inv_ornt_aff(ornt, shape)
    body = body_mask(image)
    try:
        offset, scale = intensity_statistics(image, available, body=body)
    except StudyError as error:
        msg = f"{case.case}: {error}"
        raise StudyError(msg) from error
    label = _read_mask(case.label_file, shape, affine, ornt, highest=max(LABELS.values()))
    liver = _read_mask(case.liver_file, shape, affine, ornt, highest=255)
    return Study(
        case=case.case,
        image=image,
        affine=ras_affine,
        available=available,
        times_s=case.times_s,
        nominal_times=case.nominal_times,
        offset=offset,
        scale=scale,
        slice_axis=_slice_axis(ras_affine, stored_third=int(ornt[2, 0])),
        native_axcodes=axcodes,
        label=label,
        liver=None if liver is None else liver > 0,
    )


def write_mask(mask: np.ndarray, study: Study, path: str | Path) -> Path:
    """Write a mask as NIfTI on the grid of the study's reference file: same shape, axes and affine.

    Args:
        mask: ``(X, Y, Z)`` on the study's grid, integer values 0-255.
        study: the study that the mask belongs to.
        path: a ``.nii.gz`` file; written aside, then renamed.

    Returns:
        ``path``.

    Raises:
        StudyError: the mask is not on the study's grid.
    """
    path = Path(path)
    if mask.shape != study.image.shape[1:]:
        msg = f"{path}: the mask's shape {mask.shape} is not the study's {study.image.shape[1:]}. Bring it back first."
        raise StudyError(msg)
    ornt = ornt_transform(_RAS, axcodes2ornt(study.native_axcodes))
    native = np.ascontiguousarray(apply_orientation(mask.astype(np.uint8), ornt))
    with replace_when_written(path) as aside:
        write_nifti(native, study.affine @ inv_ornt_aff(ornt, mask.shape), aside)
    return path


def read_mask(path: str | Path, study: Study) -> np.ndarray:
    """Read back what ``write_mask`` wrote, ``(X, Y, Z)`` uint8 on the study's grid.

    Raises:
        StudyError: the file is unusable, or of another study.
    """
    path = Path(path)
    stored, affine = read_volume(path)
    ornt = io_orientation(affine)
    mask = apply_orientation(stored.astype(np.uint8), ornt)
    if not same_grid(mask.shape, affine @ inv_ornt_aff(ornt, stored.shape), study.image.shape[1:], study.affine):
        raise FileError(path, f"not on the grid of {study.case}", "Give the dataset that it was predicted from")
    return mask


def _reference_grid_phases(case: Case) -> tuple[list[np.ndarray | None], np.ndarray]:
    """The phases as stored, all on one grid, and its affine."""
    if case.volume_file is not None:
        data, affine = read_phases(case.volume_file)
        for phase in range(len(PHASES)):
            require_varying(data[..., phase], case.volume_file)
        return [data[..., phase] for phase in range(len(PHASES))], affine
    present = [phase for phase, file in enumerate(case.phase_files) if file is not None]
    if not present:
        msg = f"{case.case}: no phase file. Give at least one of {', '.join(PHASES)}."
        raise StudyError(msg)
    with ThreadPoolExecutor(len(present)) as pool:  # unpacking, which dominates, releases the GIL
        read = dict(zip(present, pool.map(lambda phase: _read_phase(case.phase_files[phase]), present), strict=True))
    reference = REFERENCE_INDEX if REFERENCE_INDEX in read else present[0]
    if reference != REFERENCE_INDEX:
        logger.warning("%s: no %s phase, so results are on the %s grid", case.case, REFERENCE_PHASE, PHASES[reference])
    shape, affine = read[reference][0].shape, read[reference][1]
    volumes: list[np.ndarray | None] = [None] * len(PHASES)
    for phase, (volume, own_affine) in read.items():
        if not same_grid(volume.shape, own_affine, shape, affine):
            logger.info("%s: %s resampled onto the %s grid", case.case, PHASES[phase], PHASES[reference])
            moving = nib.Nifti1Image(volume.astype(np.float32), own_affine)
            volume = np.asarray(resample_from_to(moving, (shape, affine), order=1).dataobj)
        volumes[phase] = volume
    return volumes, affine


def _read_phase(file: Path) -> tuple[np.ndarray, np.ndarray]:
    volume, affine = read_volume(file)
    require_varying(volume, file)
    return volume, affine


def _read_mask(
    file: Path | None, shape: tuple[int, ...], affine: np.ndarray, ornt: np.ndarray, *, highest: int
) -> np.ndarray | None:
    if file is None:
        return None
    mask, own_affine = read_volume(file)
    if not same_grid(mask.shape, own_affine, shape, affine):
        fix = f"Resample it (nearest neighbour) onto the {REFERENCE_PHASE} phase"
        raise FileError(file, f"not on the {REFERENCE_PHASE} phase's grid", fix)
    whole = mask.astype(np.uint8)
    if not np.array_equal(whole, mask) or whole.max() > highest:
        fix = f"Use {', '.join(f'{value} for {name}' for name, value in LABELS.items())}, in a liver mask 0 and 1"
        raise FileError(file, f"voxel values are not whole numbers from 0 to {highest}", fix)
    return apply_orientation(whole, ornt)


def _slice_axis(ras_affine: np.ndarray, *, stored_third: int) -> int:
    spacing_mm = np.linalg.norm(ras_affine[:3, :3], axis=0)
    coarsest = int(np.argmax(spacing_mm))
    return coarsest if spacing_mm[coarsest] > COARSE_RATIO * spacing_mm[stored_third] else stored_third
