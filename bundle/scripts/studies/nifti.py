"""Opens one NIfTI file and refuses, with the file's name and a remedy, what is not a sound volume."""

from __future__ import annotations

import math
import zlib
from pathlib import Path

import nibabel as nib
import numpy as np
from isal import igzip

from ..domain.errors import StudyError
from ..domain.phases import PHASES

GRID_TOLERANCE = 1e-3
"""Largest difference of two affines' entries, mm, at which their grids count as the same."""

_GZIP_MAGIC = b"\x1f\x8b"


class FileError(StudyError):
    """One file is unusable.

    Args:
        file: which.
        problem: what is wrong with it.
        fix: what to do, as an imperative.
    """

    def __init__(self, file: Path, problem: str, fix: str) -> None:
        super().__init__(f"{file}: {problem}. {fix}.")
        self.file = file
        self.problem = problem
        self.fix = fix


def open_nifti(file: Path) -> nib.Nifti1Image:
    """Unpack a ``.nii`` or ``.nii.gz`` file and check its header and its length.

    Args:
        file: the file; whether it is packed is told from its content.

    Returns:
        The image, its voxels not yet converted.

    Raises:
        FileError: missing, truncated, damaged or not NIfTI; complex, RGB or no numbers; a spacing of 0
            or an affine that cannot be inverted.
    """
    content = _unpacked(file)
    kinds = [kind for kind in (nib.Nifti1Image, nib.Nifti2Image) if kind.header_class.may_contain_header(content)]
    if not kinds:
        raise FileError(file, "not a NIfTI file", "Convert it with dcm2niix or nibabel and name it .nii.gz")
    header_class = kinds[0].header_class
    # nibabel silently turns a spacing of 0 into 1, so look before it does.
    size = header_class.template_dtype.itemsize
    spacing = np.asarray(header_class(content[:size], check=False)["pixdim"][1:4], dtype=float)
    if not (np.isfinite(spacing) & (spacing != 0)).all():
        raise FileError(file, f"voxel spacing {_text(spacing)} mm", "Write the true spacing in mm into its header")
    try:
        image = kinds[0].from_bytes(content)
        dtype, shape = image.get_data_dtype(), image.shape
    except Exception as error:  # nibabel raises many kinds for one thing: a header that makes no sense
        raise FileError(file, f"its NIfTI header makes no sense ({error})", "Convert the study again") from error
    if dtype.kind not in "iuf":
        name = "RGB" if dtype.names else str(dtype)
        raise FileError(file, f"voxels are {name}, not real numbers", "Save a magnitude image as int16 or float32")
    if len(content) < int(image.dataobj.offset) + math.prod(shape) * dtype.itemsize:
        raise FileError(file, f"truncated: too short for its shape {shape}", "Copy or convert it again")
    if not np.isfinite(image.affine).all() or abs(np.linalg.det(image.affine[:3, :3])) < 1e-9:
        raise FileError(file, "its affine cannot be inverted", "Write a valid sform or qform, spacing above 0")
    return image


def read_volume(file: Path) -> tuple[np.ndarray, np.ndarray]:
    """A three-dimensional volume and its affine, both as stored; int16 stays int16.

    Raises:
        FileError: as ``open_nifti``; not 3D, NaN or infinite voxels.
    """
    image = open_nifti(file)
    if len(image.shape) != 3 or min(image.shape) < 2:
        problem = f"{_dimensions(image.shape)} of shape {image.shape}, but a phase or a mask is one 3D volume"
        raise FileError(file, problem, "Give one 3D file per phase, or one 4D file with the four phases")
    return _voxels(image, file), image.affine


def read_phases(file: Path) -> tuple[np.ndarray, np.ndarray]:
    """The four phases ``(X, Y, Z, 4)`` of a 4-channel file and its affine, as stored.

    Raises:
        FileError: as ``open_nifti``; not four 3D volumes, NaN or infinite voxels.
    """
    image = open_nifti(file)
    require_four_phases(image, file)
    return _voxels(image, file), image.affine


def require_four_phases(image: nib.Nifti1Image, file: Path) -> None:
    """Refuse an image that is not ``(X, Y, Z, 4)``.

    Raises:
        FileError: with the number of volumes found and how to select four.
    """
    shape = image.shape
    if len(shape) == 4 and shape[3] == len(PHASES) and min(shape[:3]) > 1:
        return
    found = f"{shape[3]} volumes" if len(shape) == 4 else f"{_dimensions(shape)} of shape {shape}"
    raise FileError(
        file,
        f"found {found}, but a study is 4 volumes in this order: {', '.join(PHASES)}",
        f"Select them, e.g. the first four with nibabel: nib.save(nib.load('{file.name}').slicer[..., :4], "
        f"'four.nii.gz'), or with FSL: fslroi {file.name} four 0 4",
    )


def require_varying(volume: np.ndarray, file: Path) -> None:
    """Refuse a volume of one value.

    Raises:
        FileError: every voxel is the same.
    """
    low, high = volume.min(), volume.max()
    if low == high:
        raise FileError(file, f"constant volume: every voxel is {low:g}", "Export this phase again")


def same_grid(shape: tuple[int, ...], affine: np.ndarray, other_shape: tuple[int, ...], other: np.ndarray) -> bool:
    """Whether two volumes share shape and affine."""
    return tuple(shape) == tuple(other_shape) and np.allclose(affine, other, rtol=0, atol=GRID_TOLERANCE)


def _unpacked(file: Path) -> bytes:
    try:
        content = file.read_bytes()
    except OSError as error:
        raise FileError(file, f"cannot be read ({error.strerror})", "Check the path and the permissions") from error
    if not content.startswith(_GZIP_MAGIC):
        return content
    try:
        return igzip.decompress(content)
    except EOFError as error:
        raise FileError(file, "truncated gzip: the file ends too early", "Copy or convert it again") from error
    except (OSError, zlib.error) as error:
        raise FileError(file, f"damaged gzip ({error})", "Copy or convert it again") from error


def _voxels(image: nib.Nifti1Image, file: Path) -> np.ndarray:
    # The image's header has forgotten its scaling once it is loaded; the array proxy has not.
    unscaled = (image.dataobj.slope, image.dataobj.inter) == (1.0, 0.0)
    # Scaled voxels would come as float64, twice the memory for nothing.
    data = image.dataobj.get_unscaled() if unscaled else np.asarray(image.dataobj, dtype=np.float32)
    # NaN and infinity both show in the extremes, which is quicker than testing every voxel.
    if data.dtype.kind == "f" and not np.isfinite([data.min(), data.max()]).all():
        bad = int(data.size - np.count_nonzero(np.isfinite(data)))
        raise FileError(file, f"{bad} voxels are NaN or infinite", "Replace them, e.g. with 0 outside the body")
    return data


def _dimensions(shape: tuple[int, ...]) -> str:
    return "2D image" if len(shape) == 2 or min(shape[:3]) < 2 else f"{len(shape)}D image"


def _text(numbers: np.ndarray) -> str:
    return " x ".join(f"{v:g}" for v in numbers)
