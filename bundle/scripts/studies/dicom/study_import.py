"""Imports one study: choose its phases, bring them onto the arterial grid, write it whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from ...domain.errors import ConfigurationError, StudyError
from ...domain.phases import NOMINAL_TIMES_S, PHASES, REFERENCE_PHASE
from ..case import Case, phase_file_name
from ..displacement import LARGEST_RESIDUAL_MM, Displacement
from ..nifti_writing import write_nifti
from ..registration import Registered
from ..registration_figure import draw_registration
from .alignment import Aligned, Volume, align, as_stored, read_phase
from .destination import RECORD_FILE, SPLIT, Destination
from .exclusion import name_of
from .import_report import figure_file_name
from .pixels import is_philips, philips_scale_slope
from .privacy import Sweep, identity, same_patient
from .record import displacement_file_name, grid_record, left_records, phase_record, scanner
from .selection import Candidate, Selection, choose_phases
from .stack import Frame, Stack
from .stacks import stacks_of
from .vocabulary import in_words

WHOLE_SHARE = 0.98
"""A phase that shows less of the reference gets a note."""

_JPEG_QUALITY = 85


class UndecidedStudyError(StudyError):
    """The phases cannot be told with confidence, or what the user named for them is not there.

    Args:
        message: one neutral line.
        selection: what to choose from, and what was left out.
    """

    def __init__(self, message: str, selection: Selection) -> None:
        super().__init__(message)
        self.candidates: tuple[Candidate, ...] = selection.candidates
        self.left = left_records(selection.left)


@dataclass(frozen=True)
class ImportOptions:
    """How studies are imported.

    Args:
        register: ``"none"``, ``"rigid"`` or ``"deformable"``.
        phases: series number or SeriesInstanceUID by phase, chosen by the user.
        keep_identity: write down who the patient is.
    """

    register: str = "deformable"
    phases: Mapping[str, str] = field(default_factory=dict)
    keep_identity: bool = False


@dataclass(frozen=True, eq=False)
class ImportedStudy:
    """A study that is now in the dataset.

    Args:
        case: its files and times.
        sources: the acquired stack of each phase, for results that go back into the study.
    """

    case: Case
    sources: dict[str, Stack]


def import_study(
    frames: Sequence[Frame], case: str, destination: Destination, options: ImportOptions, sweep: Sweep
) -> tuple[ImportedStudy, dict[str, Any]]:
    """Import one study.

    Args:
        frames: all image planes of one StudyInstanceUID.
        case: its name.
        destination: the dataset.
        options: how.
        sweep: for what is written down.

    Returns:
        The study and its ``import.json``.

    Raises:
        StudyError: two patients, no confident choice of four phases, unusable pixel data, or too little in common;
            nothing of the study is written.
    """
    if not same_patient(frame.header for frame in frames):
        msg = (
            "its images belong to more than one patient under one StudyInstanceUID. Separate the patients, and give "
            "each study a UID of its own"
        )
        raise StudyError(msg)
    stacks = stacks_of(frames)
    selection = _four_phases(stacks, options.phases)
    sources = {phase: selection.phases[phase].stack for phase in PHASES}
    times_s, notes = _times(selection, sources)
    notes += _scale_notes(sources)
    with destination.aside() as prepared:
        folder = Path(prepared)
        reference = read_phase(REFERENCE_PHASE, sources[REFERENCE_PHASE])
        records, displaced = {}, {}
        for index, phase in enumerate(PHASES):
            image, aligned = _on_reference(phase, sources[phase], reference, options.register)
            write_nifti(image, reference.affine, folder / phase_file_name(case, index))
            covered, moved = (None, None) if aligned is None else (aligned.coverage, aligned.registration)
            records[phase] = phase_record(phase, selection.phases[phase], covered, moved, method=options.register)
            if covered is not None and covered.share < WHOLE_SHARE:
                notes.append(f"{in_words(phase)} shows {covered}")
            if moved is not None:
                phase_name = in_words(phase)
                figure = draw_registration(reference.data, reference.affine, aligned.unmoved, moved, phase=phase_name)
                figure.savefig(folder / figure_file_name(phase), pil_kwargs={"quality": _JPEG_QUALITY})
                displaced[phase] = displacement_file_name(phase)
                if not _write_displacement(moved, reference.affine, folder / displaced[phase]):
                    displaced[phase] = None
                    if moved.method != "none":
                        notes.append(f"the registration of {phase_name} has no inverse: masks are not moved along it")
        record = {
            "identity": identity(frames[0].header) if options.keep_identity else None,
            "scanner": scanner(sources),
            "grid": grid_record(sources[REFERENCE_PHASE]),
            "phases": records,
            "left": left_records(selection.left),
            "notes": notes,
        }
        # Their own names say nothing of the patient, whose name may be a part of them.
        record = {"case": case, "salt": destination.salt.fingerprint} | sweep.content(record)
        for phase, name in displaced.items():
            record["phases"][phase]["registration"]["displacement"] = name
        (folder / RECORD_FILE).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        files = destination.add(folder, case, site=record["scanner"], times_s=times_s)
    known = tuple(nominal if time is None else time for time, nominal in zip(times_s, NOMINAL_TIMES_S, strict=True))
    nominal = tuple(phase for phase, time in zip(PHASES[1:], times_s[1:], strict=True) if time is None)
    study = Case(
        case=case, phase_files=files, split=SPLIT, site=record["scanner"], times_s=known, nominal_times=nominal
    )
    return ImportedStudy(study, sources), record


def _own_overrides(phases: Mapping[str, str], stacks: Sequence[Stack]) -> dict[str, str]:
    """Without the series that a UID places in another study."""
    own = {stack.series_uid for stack in stacks}
    return {phase: series for phase, series in phases.items() if "." not in series or series.partition(":")[0] in own}


def _four_phases(stacks: Sequence[Stack], phases: Mapping[str, str]) -> Selection:
    """Choose the phases, and refuse a study of which not every one is known.

    Raises:
        UndecidedStudyError: with what there is to choose from.
    """
    try:
        selection = choose_phases(stacks, overrides=_own_overrides(phases, stacks))
    except ConfigurationError as error:  # of the overrides: the next ones are chosen from the same table
        raise UndecidedStudyError(str(error), choose_phases(stacks)) from error
    if selection.confident and not selection.missing:
        return selection
    # What is broken is the likeliest reason why a phase is not found, so it goes into the same line.
    broken = [
        f"{name_of(left.stack)} cannot be used: {'; '.join(left.stack.faults) or left.reason}."
        for left in selection.left
        if left.broken or (left.stack.faults and left.stack.faults[0] in left.reason)
    ]
    if selection.missing and selection.confident:
        missing = ", ".join(map(in_words, selection.missing))
        problem = f"no {missing} phase found, and a study needs all four. If it is there, name it with --phases."
    else:
        problem = selection.problem
    raise UndecidedStudyError(" ".join([*broken, problem]), selection)


def _times(selection: Selection, sources: Mapping[str, Stack]) -> tuple[list[float | None], list[str]]:
    """Seconds after the injection per phase, None where unknown, and notes for the reader."""
    notes = []
    times_s = [selection.phases[phase].time_s for phase in PHASES]
    filled = [nominal if time is None else time for time, nominal in zip(times_s, NOMINAL_TIMES_S, strict=True)]
    if not all(earlier < later for earlier, later in pairwise(filled)):
        notes.append("the times found contradict the order of the phases: nominal ones are used instead")
        times_s = [None] * len(PHASES)
    if any(time is None for time in times_s):
        unknown = [phase for phase, time in zip(PHASES, times_s, strict=True) if time is None]
        notes.append(f"time after the injection unknown, so nominal: {', '.join(map(in_words, unknown))}")
    if len({str(stack.header.get("FrameOfReferenceUID", "")) for stack in sources.values()}) > 1:
        notes.append("the phases have different frames of reference: the patient may have moved on the table")
    return times_s, notes


def _scale_notes(sources: Mapping[str, Stack]) -> list[str]:
    """A note where Philips' intensities may have a gain of their own in each phase.

    Raises:
        StudyError: some have it for sure.
    """
    headers = {phase: [frame.header for frame in stack.frames] for phase, stack in sources.items()}
    if not any(is_philips(header) for phase in headers.values() for header in phase):
        return []
    lacking = [phase for phase in headers if any(philips_scale_slope(header) is None for header in headers[phase])]
    if not lacking:
        return []
    if any(philips_scale_slope(header) is not None for phase in headers.values() for header in phase):
        msg = (
            "some phases lack Philips' private scale slope (2005,100E), so their intensities cannot be compared: "
            f"{', '.join(map(in_words, lacking))}. Export again with private elements"
        )
        raise StudyError(msg)
    return ["Philips' private scale slope is missing: intensities of the phases may not be comparable"]


def _on_reference(phase: str, stack: Stack, reference: Volume, method: str) -> tuple[np.ndarray, Aligned | None]:
    """A phase's image as it is written; without an alignment for the reference itself."""
    if phase == REFERENCE_PHASE:
        return as_stored(reference.data, reference.stored_dtype), None
    aligned = align(read_phase(phase, stack), reference, method=method)
    return aligned.image, aligned


def _write_displacement(moved: Registered, affine: np.ndarray, file: Path) -> bool:
    """Keep how a phase was moved; whether it was, and can be undone."""
    if moved.method == "none":
        return False
    displacement = Displacement.of(moved, affine)
    # What the registration refuses are folds in the body; those beside it are found here.
    if displacement.residual_mm() > LARGEST_RESIDUAL_MM:
        return False
    displacement.write(file)
    return True
