"""The lesions of a reader's mask."""

from __future__ import annotations

import numpy as np

from lib.errors import BadRequestError
from lib.labels.label import LesionLabel
from lib.studies.study import ViewerGrid
from scripts.domain.classes import CLASSES, LABELS, tumour_class_of
from scripts.results.components import Component, find_components

_VALUES = sorted(LABELS.values())


def class_of(component: Component, mask: np.ndarray) -> str:
    """The class of most of a lesion's voxels: readers may paint two classes side by side."""
    return tumour_class_of(np.where(component.mask, mask[component.box], 0))


def lesions_of(mask: np.ndarray, grid: ViewerGrid) -> tuple[LesionLabel, ...]:
    """The 26-connected components of a mask, in order of falling volume.

    Args:
        mask: ``(X, Y, Z)``, values of ``LABELS``.
        grid: of the mask.
    """
    voxel_ml = abs(np.linalg.det(grid.affine[:3, :3])) / 1000.0
    components, _ = find_components(mask > 0)
    return tuple(
        LesionLabel(id=number, tumour_class=class_of(component, mask), volume_ml=float(component.voxels * voxel_ml))
        for number, component in enumerate(components, start=1)
    )


def checked(mask: np.ndarray, grid: ViewerGrid) -> np.ndarray:
    """A mask as uint8.

    Args:
        mask: ``(X, Y, Z)``, whole numbers.
        grid: that it must lie on.

    Raises:
        BadRequestError: another shape, or a value that stands for no class.
    """
    if mask.shape != grid.shape:
        wanted = " x ".join(map(str, grid.shape))
        msg = f"the mask has {' x '.join(map(str, mask.shape))} voxels and the study's reference phase {wanted}"
        raise BadRequestError(msg)
    if mask.dtype.kind not in "iub" or not np.isin(mask, _VALUES).all():
        classes = ", ".join(f"{LABELS[name]} {name}" for name in CLASSES)
        msg = f"the mask holds values that stand for no class: use 0 for background, {classes}"
        raise BadRequestError(msg)
    return mask.astype(np.uint8)
