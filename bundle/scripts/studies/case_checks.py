"""Integrity of one case's files: every fault that shows when they are opened."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..domain.classes import CLASSES, LABELS, NO_LESION
from ..domain.phases import PHASES, REFERENCE_INDEX
from .case import Case, images_folder, labels_folder, mask_file_name, phase_file_name
from .fault import Fault
from .nifti import FileError, read_volume, require_varying, same_grid
from .normalisation import body_mask

_CHANGING_SHARE = 0.01
"""The share of the body's voxels that change most between phases: vessels and their surroundings."""

_SWAP_MARGIN = 1.1
"""How much brighter than a later phase the first may be there; leaves room for gain drift and inflow."""

_LATE_MARGIN = 1.25
"""How much brighter than the arterial phase the delayed one may be there; leaves room for a bolus that came late."""


@dataclass(frozen=True)
class CheckedCase:
    """What the check of one case found.

    Args:
        case: which.
        faults: all of its faults.
        content: checksum of the reference phase's voxels; None where it cannot be read.
    """

    case: Case
    faults: tuple[Fault, ...]
    content: int | None


@dataclass(frozen=True, eq=False)
class _Volume:
    file: Path
    data: np.ndarray
    affine: np.ndarray


def check_case(case: Case, root: Path) -> CheckedCase:
    """Open every file of a case and collect its faults.

    Args:
        case: a case of the dataset.
        root: the dataset folder.
    """
    faults = list(_missing(case, root))
    phases = [_opened(case, file, faults) for file in case.phase_files]
    readable = [volume for volume in phases if volume is not None]
    reference = phases[REFERENCE_INDEX] or next(iter(readable), None)
    label, liver = (_opened(case, file, faults, may_be_constant=True) for file in (case.label_file, case.liver_file))
    if reference is not None:
        others = [*readable, *(mask for mask in (label, liver) if mask is not None)]
        faults += [fault for volume in others for fault in _grid_faults(case, volume, reference)]
    if label is not None:
        faults += _label_faults(case, label)
    faults += _swap_faults(case, phases)
    content = None if phases[REFERENCE_INDEX] is None else zlib.crc32(np.ravel(phases[REFERENCE_INDEX].data, order="K"))
    return CheckedCase(case, tuple(faults), content)


def _opened(case: Case, file: Path | None, faults: list[Fault], *, may_be_constant: bool = False) -> _Volume | None:
    """A file's volume; None where there is no file, or it is unusable, which is added to ``faults``."""
    if file is None:
        return None
    try:
        data, affine = read_volume(file)
        if not may_be_constant:
            require_varying(data, file)
    except FileError as error:
        faults.append(Fault(case.case, error.file, error.problem, error.fix))
        return None
    return _Volume(file, data, affine)


def _missing(case: Case, root: Path) -> Iterator[Fault]:
    for phase, file in enumerate(case.phase_files):
        if file is None:
            expected = root / images_folder(case.split) / phase_file_name(case.case, phase)
            yield Fault(case.case, expected, f"missing phase {PHASES[phase]}", "Add the file, or leave the case out")
    if case.label_file is None and case.split != "test":
        expected = root / labels_folder(case.split) / mask_file_name(case.case)
        yield Fault(
            case.case, expected, "missing label", "Add the file (all 0 without a lesion), or leave the case out"
        )


def _grid_faults(case: Case, volume: _Volume, reference: _Volume) -> Iterator[Fault]:
    fix = f"Resample it onto {reference.file.name}"
    if volume.data.shape != reference.data.shape:
        problem = f"shape {volume.data.shape} disagrees with {reference.data.shape} of {reference.file.name}"
        yield Fault(case.case, volume.file, problem, fix)
    elif not same_grid(volume.data.shape, volume.affine, reference.data.shape, reference.affine):
        difference = np.abs(volume.affine - reference.affine).max()
        problem = f"affine disagrees with that of {reference.file.name} by up to {difference:.3g}"
        yield Fault(case.case, volume.file, problem, fix)


def _label_faults(case: Case, label: _Volume) -> Iterator[Fault]:
    names = {value: name for name, value in LABELS.items()}
    values = _distinct(label.data)
    outside = [value for value in values if value not in names]
    legend = ", ".join(f"{value} {name}" for value, name in names.items())
    if outside:
        shown = ", ".join(f"{value:g}" for value in outside[:5])
        yield Fault(case.case, label.file, f"label values outside 0-2: {shown}", f"Use {legend}")
    found = [names[value] for value in values if value in names and names[value] in CLASSES]
    if case.tumour_class in CLASSES and not any(values):
        fix = f"Draw the lesion, or give the case the class {NO_LESION}"
        yield Fault(case.case, label.file, f"empty mask, but the case's class is {case.tumour_class}", fix)
    contradicting = [name for name in found if name != case.tumour_class]
    if case.tumour_class and contradicting:
        problem = f"label values of {', '.join(contradicting)} contradict the case's class {case.tumour_class}"
        yield Fault(case.case, label.file, problem, f"Correct the class or the label ({legend})")


def _distinct(data: np.ndarray) -> list[float]:
    """The different values of a volume; whole numbers of a small range, the usual case, need no sorting."""
    low, high = data.min(), data.max()
    if data.dtype.kind in "iu" and int(high) - int(low) < 256:
        steps = (data.astype(np.int64) - int(low)).ravel(order="K")
        return [int(low) + int(step) for step in np.flatnonzero(np.bincount(steps))]
    return np.unique(data).tolist()


def _swap_faults(case: Case, phases: list[_Volume | None]) -> Iterator[Fault]:
    """Phases in the wrong order, told from the enhancement of the vessels."""
    if any(volume is None for volume in phases) or len({volume.data.shape for volume in phases}) > 1:
        return
    signal = _vessel_signal(np.stack([volume.data[::2, ::2] for volume in phases]))
    darkest, arterial, delayed = int(np.argmin(signal)), PHASES.index("arterial"), PHASES.index("delayed")
    for margin, phase, other, meaning in (
        (_SWAP_MARGIN, 0, darkest, "it was taken after the contrast agent came"),
        (_LATE_MARGIN, delayed, arterial, "the contrast agent had not left the vessels"),
    ):
        if signal[phase] > margin * signal[other]:
            problem = (
                f"swapped phase: where the image changes most, {PHASES[phase]} is brighter than {PHASES[other]} "
                f"({signal[phase]:.4g} to {signal[other]:.4g}), so {meaning}"
            )
            fix = f"Put {', '.join(PHASES)} into _0000 to _0003, in that order"
            yield Fault(case.case, phases[phase].file, problem, fix)


def _vessel_signal(image: np.ndarray) -> np.ndarray:
    """Mean intensity per phase over the body's voxels that change most between phases, ``(4,)``."""
    inside = image[:, body_mask(image)].astype(np.float32)
    if not inside.size:
        return np.ones(len(image))
    change = np.ptp(inside, axis=0)
    return inside[:, change >= np.quantile(change, 1 - _CHANGING_SHARE)].mean(axis=1)
