"""One subject as another layout describes it, and what its files hold once they are opened."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...domain.errors import StudyError
from ...domain.phases import NOMINAL_TIMES_S, PHASES
from ..nifti import FileError, read_volume, require_varying


@dataclass(frozen=True, eq=False)
class Volume:
    """Voxels ``(X, Y, Z)`` as stored, and the affine that takes their indices to RAS mm."""

    data: np.ndarray
    affine: np.ndarray


@dataclass(frozen=True, eq=False)
class SourceImages:
    """What one subject's files hold.

    Args:
        phases: one volume per phase in the order of ``PHASES``, each on its own grid; None where there is none.
        label: on the reference phase's grid, values of ``LABELS``.
        liver: liver mask on the reference phase's grid.
        remarks: what the user should know about the case, for the table of the import.
    """

    phases: tuple[Volume | None, ...] = (None,) * len(PHASES)
    label: Volume | None = None
    liver: Volume | None = None
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class SourceCase:
    """What is known about one subject before any of its files is opened.

    Args:
        case: identifier, unique and fit for a file name.
        read: opens the files; raises ``StudyError`` where they are unusable.
        tumour_class: one of ``CLASSES``, ``"none"``, or ``""`` to take it from the label.
        split: ``"train"``, ``"val"``, ``"test"``, or ``""`` where the layout leaves it open.
        fold: 0-4, or None where the layout names none.
        site: scanner or centre.
        times_s: seconds after the injection, per phase.
        nominal_times: the contrast phases whose time is not known but nominal.
    """

    case: str
    read: Callable[[], SourceImages]
    tumour_class: str = ""
    split: str = ""
    fold: int | None = None
    site: str = ""
    times_s: tuple[float, float, float, float] = NOMINAL_TIMES_S
    nominal_times: tuple[str, ...] = PHASES[1:]


@dataclass(frozen=True)
class LeftOut:
    """A subject that is not imported, and why."""

    case: str
    reason: str


def read_phase(file: Path, name: str) -> Volume:
    """Read one phase.

    Args:
        file: a 3D NIfTI file.
        name: what the message calls it; a path would show the names of the user's folders.

    Raises:
        StudyError: unusable, or the same value everywhere.
    """
    volume = read_mask(file, name)
    return checked_phase(volume, file, name)


def checked_phase(volume: Volume, file: Path, name: str) -> Volume:
    """The volume, unless it is the same value everywhere.

    Raises:
        StudyError: it is.
    """
    try:
        require_varying(volume.data, file)
    except FileError as error:
        raise _named(error, name) from error
    return volume


def read_mask(file: Path, name: str) -> Volume:
    """Read a volume that may be the same value everywhere.

    Raises:
        StudyError: unusable.
    """
    try:
        return Volume(*read_volume(file))
    except FileError as error:
        raise _named(error, name) from error


def _named(error: FileError, name: str) -> StudyError:
    return StudyError(f"{name}: {error.problem}. {error.fix}.")
