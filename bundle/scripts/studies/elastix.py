"""Asks elastix for the motion between two volumes.

Everything here takes and gives numpy arrays ``(X, Y, Z)`` with nibabel's RAS affines; ITK's order of axes and its
LPS world stay inside.
"""

from __future__ import annotations

import os
from threading import RLock
from types import ModuleType
from typing import Any

import numpy as np

from ..domain.errors import ConfigurationError

RIGID_LEVELS_MM = (8.0, 4.0)
"""Voxel sizes of the image pyramid; an axis that is coarser, such as the slices', is never downsampled."""

DEFORMABLE_LEVELS_MM = (3.0, 1.5)
"""Likewise; coarser ones let the B-spline align noise and blurred outlines in place of anatomy."""

GRID_MM = 48.0
"""Distance between the B-spline's control points."""

BENDING_WEIGHT = 20000.0
"""Of the bending energy against the mutual information; mm squared. Without it the B-spline moves a liver, which
has little texture, by millimetres that are not there; much more on a much finer grid diverges."""

RIGID_ITERATIONS, DEFORMABLE_ITERATIONS = 250, 150
SAMPLES, BENDING_SAMPLES = 2048, 200
HISTOGRAM_BINS = 32

_ONE_AT_A_TIME = RLock()
"""ITK's modules load when they are first named, and elastix keeps a state of its own: neither stands two threads."""

_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


class NoMotionFoundError(RuntimeError):
    """Elastix gave up, mostly because too little of the one volume lies in the other."""


class Motion:
    """Where the points of the fixed volume are found in the moving one.

    Args:
        transform: ITK's, from the fixed to the moving volume's LPS world.
        parameters: elastix' own description of it, from which another step can start.
    """

    def __init__(self, transform: Any, parameters: Any = None) -> None:
        self._transform = transform
        self.parameters = parameters

    def displacement_mm(self, shape: tuple[int, int, int], affine: np.ndarray) -> np.ndarray:
        """What is added to each voxel's place to find it in the moving volume.

        Args:
            shape: of any grid.
            affine: its voxel to RAS world, mm.

        Returns:
            ``(X, Y, Z, 3)`` float32, RAS.
        """
        itk = require_itk()
        size, spacing, origin, direction = _geometry(shape, affine)
        field = itk.transform_to_displacement_field_filter(
            self._transform,
            size=size,
            output_spacing=spacing,
            output_origin=origin,
            output_direction=itk.matrix_from_array(direction),
            number_of_work_units=thread_count(),
        )
        return itk.array_view_from_image(field).transpose(2, 1, 0, 3) * np.array([-1.0, -1.0, 1.0], np.float32)


def find_motion(
    moving: np.ndarray,
    moving_affine: np.ndarray,
    fixed: np.ndarray,
    fixed_affine: np.ndarray,
    *,
    body: np.ndarray,
    start: Motion | None = None,
    seed: int = 0,
) -> Motion:
    """Find the motion between two volumes by mutual information (Mattes et al. 2003; Klein et al. 2010).

    A rigid one, from the scanner's own coordinates, which breath-holds of one study share; or after a start, with a
    B-spline on top of it, held smooth by its bending energy (Rueckert et al. 1999).

    Args:
        moving: ``(X, Y, Z)``.
        moving_affine: its voxel to RAS world, mm.
        fixed: ``(X, Y, Z)``, the reference.
        fixed_affine: likewise.
        body: ``(X, Y, Z)`` bool on the fixed grid; the similarity is measured inside.
        start: the rigid motion, from which the B-spline starts; None to find that one.
        seed: of the random samples; the same seed gives the same bits.

    Returns:
        The whole motion, the start included.

    Raises:
        ConfigurationError: itk-elastix is not installed.
        NoMotionFoundError: elastix failed.
    """
    with _ONE_AT_A_TIME:
        return _find_motion(moving, moving_affine, fixed, fixed_affine, body=body, start=start, seed=seed)


def _find_motion(
    moving: np.ndarray,
    moving_affine: np.ndarray,
    fixed: np.ndarray,
    fixed_affine: np.ndarray,
    *,
    body: np.ndarray,
    start: Motion | None,
    seed: int,
) -> Motion:
    itk = require_itk()
    # In full size, elastix would spend most of its time and memory on smoothing what it then skips.
    moving, moving_affine = _shrunk(moving, moving_affine)
    body, _ = _shrunk(body, fixed_affine)
    fixed, fixed_affine = _shrunk(fixed, fixed_affine)
    spacing_mm = np.linalg.norm(fixed_affine[:3, :3], axis=0)
    parameters = itk.ParameterObject.New()
    parameters.AddParameterMap(_texts(_rigid(spacing_mm, seed) if start is None else _deformable(spacing_mm, seed)))
    fixed_image = to_itk(fixed, fixed_affine)
    image_type = type(fixed_image)
    elastix = itk.ElastixRegistrationMethod[image_type, image_type].New()
    elastix.SetFixedImage(fixed_image)
    elastix.SetMovingImage(to_itk(moving, moving_affine))
    elastix.SetFixedMask(to_itk((body >= 0.5).astype(np.uint8), fixed_affine))
    elastix.SetParameterObject(parameters)
    if start is not None:
        # Not as an ITK transform: from that one no bending energy can be had, and threads crash.
        elastix.SetInitialTransformParameterObject(start.parameters)
    # With more, two metrics at once crash (ITKElastix issue 160), and the bits would depend on the machine.
    elastix.SetNumberOfThreads(1)
    elastix.SetLogToConsole(False)
    elastix.SetLogToFile(False)
    try:
        elastix.UpdateLargestPossibleRegion()
    except RuntimeError as error:
        raise NoMotionFoundError(str(error)) from error
    transform = elastix.ConvertToItkTransform(elastix.GetCombinationTransform())
    return Motion(transform, elastix.GetTransformParameterObject())


def to_itk(volume: np.ndarray, affine: np.ndarray) -> Any:
    """A volume ``(X, Y, Z)`` with its RAS affine as an ITK image, which is LPS; float32, or uint8 for a mask."""
    itk = require_itk()
    kind = np.uint8 if volume.dtype == np.uint8 else np.float32
    # ITK's buffer has x fastest: (Z, Y, X) in numpy's words.
    image = itk.image_from_array(np.ascontiguousarray(volume.T, dtype=kind))
    _, spacing, origin, direction = _geometry(volume.shape, affine)
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    image.SetDirection(itk.matrix_from_array(direction))
    return image


def thread_count() -> int:
    """The cores that this process may use, or fewer where OMP_NUM_THREADS says so."""
    cores = len(os.sched_getaffinity(0))
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return min(cores, int(asked)) if asked.isdigit() and int(asked) else cores


def require_itk() -> ModuleType:
    """ITK with elastix in it.

    Raises:
        ConfigurationError: not installed.
    """
    try:
        import itk

        with _ONE_AT_A_TIME:
            itk.ElastixRegistrationMethod  # noqa: B018 - loads what it needs
    except (ImportError, AttributeError) as error:
        msg = (
            "registration needs itk-elastix, which is not installed. Run `pip install -r requirements/dicom.txt`, "
            "or go without it by --register none"
        )
        raise ConfigurationError(msg) from error
    return itk


def _shrunk(volume: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means over blocks of voxels of about the finest level's size, float32, and their affine."""
    spacing_mm = np.linalg.norm(affine[:3, :3], axis=0)
    factors = np.minimum(np.maximum(1, np.rint(min(DEFORMABLE_LEVELS_MM) / spacing_mm)), volume.shape).astype(int)
    # Axis by axis from the slowest in memory, which is many times quicker than block by block.
    for axis in np.argsort(volume.strides)[::-1]:
        factor, count = factors[axis], volume.shape[axis] // factors[axis]
        starts = (volume[(slice(None),) * axis + (slice(first, count * factor, factor),)] for first in range(factor))
        volume = sum(start.astype(np.float32) for start in starts) / np.float32(factor)
    blocks = affine @ np.diag([*factors, 1.0])
    blocks[:3, 3] = affine[:3, 3] + affine[:3, :3] @ ((factors - 1) / 2)
    return volume, blocks


def _rigid(spacing_mm: np.ndarray, seed: int) -> dict[str, Any]:
    return _parameters(spacing_mm, seed, RIGID_LEVELS_MM) | {
        "Registration": "MultiResolutionRegistration",
        "Metric": "AdvancedMattesMutualInformation",
        "MaximumNumberOfIterations": RIGID_ITERATIONS,
        "Transform": "EulerTransform",
        "AutomaticScalesEstimation": True,
    }


def _deformable(spacing_mm: np.ndarray, seed: int) -> dict[str, Any]:
    return _parameters(spacing_mm, seed, DEFORMABLE_LEVELS_MM) | {
        "Registration": "MultiMetricMultiResolutionRegistration",
        "Metric": ["AdvancedMattesMutualInformation", "TransformBendingEnergyPenalty"],
        "Metric0Weight": 1.0,
        "Metric1Weight": BENDING_WEIGHT,
        # One sampler a metric: the bending energy needs few samples, and each of them is dear.
        "ImageSampler": ["RandomCoordinate", "RandomCoordinate"],
        "ImageSampler1NumberOfSpatialSamples": BENDING_SAMPLES,
        "MaximumNumberOfIterations": DEFORMABLE_ITERATIONS,
        "Transform": "BSplineTransform",
        "FinalGridSpacingInPhysicalUnits": GRID_MM,
        "GridSpacingSchedule": [1] * len(DEFORMABLE_LEVELS_MM),
    }


def _parameters(spacing_mm: np.ndarray, seed: int, levels_mm: tuple[float, ...]) -> dict[str, Any]:
    """What both steps share, in elastix' own words."""
    return {
        "NumberOfHistogramBins": HISTOGRAM_BINS,
        "Optimizer": "AdaptiveStochasticGradientDescent",
        "AutomaticParameterEstimation": True,
        "ImageSampler": "RandomCoordinate",
        "NumberOfSpatialSamples": SAMPLES,
        "NewSamplesEveryIteration": True,
        "RandomSeed": seed,
        "FixedImagePyramid": "FixedRecursiveImagePyramid",
        "MovingImagePyramid": "MovingRecursiveImagePyramid",
        "NumberOfResolutions": len(levels_mm),
        "ImagePyramidSchedule": [max(1, round(level / axis)) for level in levels_mm for axis in spacing_mm],
        "Interpolator": "LinearInterpolator",
        "ErodeMask": False,
        "AutomaticTransformInitialization": False,
        "HowToCombineTransforms": "Compose",
        "UseDirectionCosines": True,
        "Resampler": "DefaultResampler",
        "ResampleInterpolator": "FinalLinearInterpolator",
        "WriteResultImage": False,
    }


def _texts(parameters: dict[str, Any]) -> dict[str, list[str]]:
    """The parameters as elastix takes them: lists of texts."""
    return {
        name: [
            str(v).lower() if isinstance(v, bool) else str(v) for v in (value if isinstance(value, list) else [value])
        ]
        for name, value in parameters.items()
    }


def _geometry(
    shape: tuple[int, int, int], affine: np.ndarray
) -> tuple[list[int], list[float], list[float], np.ndarray]:
    """Size, spacing, origin and direction cosines in ITK's LPS world."""
    lps = _LPS @ affine
    spacing_mm = np.linalg.norm(lps[:3, :3], axis=0)
    return [int(n) for n in shape], spacing_mm.tolist(), lps[:3, 3].tolist(), lps[:3, :3] / spacing_mm
