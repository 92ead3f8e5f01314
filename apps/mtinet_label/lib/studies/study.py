"""One four-phase study as the server knows it, whatever it came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from lib.errors import UnknownError
from scripts.studies.case import Case
from scripts.studies.displacement import Displacement

if TYPE_CHECKING:
    from scripts.studies.dicom.study_import import ImportedStudy


@dataclass(frozen=True, eq=False)
class ViewerGrid:
    """The voxels of one series as a viewer numbers them.

    Args:
        shape: ``(columns, rows, slices)``. A viewer orders slices by position along the normal.
        affine: ``(4, 4)`` from ``(column, row, slice)`` to RAS world, mm.
    """

    shape: tuple[int, int, int]
    affine: np.ndarray


@dataclass(frozen=True, eq=False)
class OpenStudy:
    """A study whose files are on this machine.

    Args:
        case_id: its identifier in the server; also ``case.case``.
        case: its phases as NIfTI files on the reference (arterial) grid, registered.
        series: the grid of every series (or phase file) that shows a phase, by the identifier that viewers use.
        phase_of: the phase that each of them shows.
        reference: the identifier of the reference phase's.
        imported: the DICOM stacks; None where the study did not come from DICOM.
        displacements: where the reference's places are found in a series, by its identifier; a series without one
            lies as the reference does, or nobody knows any better.
    """

    case_id: str
    case: Case
    series: Mapping[str, ViewerGrid]
    phase_of: Mapping[str, str]
    reference: str
    imported: ImportedStudy | None = None
    displacements: Mapping[str, Displacement] = field(default_factory=dict)

    def grid(self, series: str | None) -> ViewerGrid:
        """The grid of a series; of the reference where None or the case's own identifier is given.

        Raises:
            UnknownError: the study has no such series, or it shows none of the phases.
        """
        if series is None or series == self.case_id:
            series = self.reference
        if series not in self.series:
            msg = "the study has no such series, or it shows none of the four phases"
            raise UnknownError(msg)
        return self.series[series]

    def displacement(self, series: str | None) -> Displacement | None:
        """That of a series; None where its scanner coordinates are the reference's, as those of the reference are."""
        return self.displacements.get(series or self.reference)


@dataclass(frozen=True)
class Address:
    """What an image identifier of a request means.

    Args:
        case_id: the study.
        series: the series or phase file that was asked for; None for the study as such.
    """

    case_id: str
    series: str | None = None


@dataclass(frozen=True)
class Listed:
    """A study in the list, known without opening it.

    Args:
        case_id: its identifier.
        info: what viewers need to open it, e.g. ``StudyInstanceUID``; nothing about the patient.
    """

    case_id: str
    info: Mapping[str, str] = field(default_factory=dict)


class StudySource(Protocol):
    """Where studies come from."""

    def listing(self) -> list[Listed]:
        """Every study, in a stable order; cached, and no study is opened for it."""

    def resolve(self, image_id: str) -> Address:
        """The study that an identifier means: of a study, or of any of its phases' series.

        Raises:
            UnknownError: none does.
        """

    def open(self, case_id: str) -> OpenStudy:
        """The study with its files on this machine: fetched and imported once, then from the cache; thread-safe.

        Raises:
            UnknownError: no such study.
            StudyError: it cannot be made a four-phase study.
        """

    def is_local(self, case_id: str) -> bool:
        """Whether the study's files are on this machine already, so that opening it is quick."""

    def refresh(self) -> None:
        """Look for new studies when the list is next asked for."""
