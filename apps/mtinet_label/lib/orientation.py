"""Volumes between the two orders that the app meets: a study's RAS+ and its reference file's own axes."""

from __future__ import annotations

import numpy as np
from nibabel.orientations import apply_orientation, axcodes2ornt, inv_ornt_aff, ornt_transform

from scripts.domain.study import Study

_RAS = axcodes2ornt(("R", "A", "S"))


def to_file_order(volume: np.ndarray, study: Study) -> np.ndarray:
    """A volume ``(X, Y, Z)`` of the study in the axes of its reference file, as ``write_mask`` writes it."""
    return np.ascontiguousarray(apply_orientation(volume, ornt_transform(_RAS, axcodes2ornt(study.native_axcodes))))


def to_study_order(volume: np.ndarray, study: Study) -> np.ndarray:
    """A volume in the axes of the reference file as ``(X, Y, Z)`` of the study, RAS+."""
    return np.ascontiguousarray(apply_orientation(volume, ornt_transform(axcodes2ornt(study.native_axcodes), _RAS)))


def file_affine(study: Study) -> np.ndarray:
    """``(4, 4)`` from the voxels of the reference file to RAS world, mm."""
    ornt = ornt_transform(_RAS, axcodes2ornt(study.native_axcodes))
    return study.affine @ inv_ornt_aff(ornt, study.image.shape[1:])
