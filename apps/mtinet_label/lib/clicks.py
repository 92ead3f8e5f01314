"""The clicks of a request: where they lie in the body, and what the reader said with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np

from lib.errors import BadRequestError
from lib.grids import reference_grid
from lib.studies.study import OpenStudy
from scripts.domain.classes import CLASSES

FOREGROUND, BACKGROUND = "foreground", "background"
POINT_LISTS = (FOREGROUND, BACKGROUND, *CLASSES)
"""Keys of a request that hold points; a point under a class's name says lesion of that class."""

VOXELS, MILLIMETRES = "voxels", "mm"

_MOST = 256


@dataclass(frozen=True)
class ReaderClick:
    """One click of a reader.

    Args:
        world_mm: where, RAS, in the reference phase.
        lesion: whether there is one, or none.
        tumour_class: of the lesion, where the reader said so.
    """

    world_mm: tuple[float, float, float]
    lesion: bool
    tumour_class: str | None = None


def read_clicks(request: Mapping[str, Any], study: OpenStudy, series: str | None) -> list[ReaderClick]:
    """The clicks of an inference request.

    MONAI Label's clients send voxels of the image that they show: OHIF of the series, 3D Slicer of the reference
    phase's file, which it downloaded. A DeepGrow client names the points ``foreground`` and ``background`` and the
    class in ``label``; a DeepEdit client names them by class and ``background``. What was clicked on a phase that was
    registered is followed to the reference.

    Args:
        request: ``foreground``, ``background``, ``hemangioma``, ``hcc``: lists of points ``[i, j, k]``; ``label``: the
            class of ``foreground``, if it is one; ``points_in``: ``"voxels"``, or ``"mm"`` for RAS scanner
            coordinates of the series.
        study: the case.
        series: the series that is shown; None is the reference phase's file.

    Returns:
        One entry a point.

    Raises:
        BadRequestError: points that are none, lie outside the image, or are too many.
    """
    unit = request.get("points_in") or VOXELS
    if unit not in (VOXELS, MILLIMETRES):
        msg = f"points_in is neither {VOXELS} nor {MILLIMETRES}"
        raise BadRequestError(msg)
    shape, affine = reference_grid(study)
    if series is not None:
        shape, affine = study.grid(series).shape, study.grid(series).affine
    displacement = study.displacement(series)
    named = request.get("label")
    meant = {FOREGROUND: named if named in CLASSES else None, BACKGROUND: None, **{name: name for name in CLASSES}}
    clicks = []
    for key in POINT_LISTS:
        for point in _points(key, request.get(key)):
            world_mm = point if unit == MILLIMETRES else _to_world(key, point, shape, affine)
            if displacement is not None:
                world_mm = displacement.to_reference(np.array(world_mm)).tolist()
            clicks.append(ReaderClick(tuple(world_mm), lesion=key != BACKGROUND, tumour_class=meant[key]))
    if len(clicks) > _MOST:
        msg = f"{len(clicks)} points are more than {_MOST}"
        raise BadRequestError(msg)
    return clicks


def _points(key: str, points: object) -> list[tuple[float, float, float]]:
    if points is None:
        return []
    if not isinstance(points, list | tuple) or not all(_is_point(point) for point in points):
        msg = f"{key} is no list of points of three numbers, such as [[120, 96, 14]]"
        raise BadRequestError(msg)
    return [tuple(float(value) for value in point) for point in points]


def _is_point(point: object) -> bool:
    return (
        isinstance(point, list | tuple)
        and len(point) == 3
        and all(isinstance(v, Real) and not isinstance(v, bool) and np.isfinite(v) for v in point)
    )


def _to_world(
    key: str, voxel: tuple[float, float, float], shape: tuple[int, int, int], affine: np.ndarray
) -> tuple[float, ...]:
    if not all(-0.5 <= i <= n - 0.5 for i, n in zip(voxel, shape, strict=True)):
        size = " x ".join(str(n) for n in shape)
        msg = f"a point of {key} lies outside the image of {size} voxels"
        raise BadRequestError(msg)
    return tuple(float(v) for v in affine[:3, :3] @ voxel + affine[:3, 3])
