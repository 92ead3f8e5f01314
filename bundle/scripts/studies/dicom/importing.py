"""From a folder of DICOM files, any depth and many patients, to a dataset that the other commands take."""

from __future__ import annotations

import errno
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ...domain.entry import entry_point
from ...domain.errors import ConfigurationError, DatasetError, MTINetError, StudyError, where_raised
from ...domain.phases import PHASES
from ...domain.switches import is_on
from ..registration import METHODS
from .destination import UNWRITABLE, Destination, unwritable
from .frames import Scan, Skipped, scan
from .import_report import REPORT_FILE, outcome_table, write_import_report
from .privacy import Sweep, case_id, patient_id, quiet_libraries
from .selection import Candidate
from .stack import Frame, series_number
from .study_import import ImportedStudy, ImportOptions, UndecidedStudyError, import_study

_LASTING = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS)
"""What ails a disk for the next study too."""


@dataclass(frozen=True)
class FailedStudy:
    """A study that was not imported.

    Args:
        case: the name that it would have had.
        images: number of its image planes.
        reason: why, and what to do; one neutral line.
        candidates: what the phases can be chosen from, where that is the reason. What ``--phases`` takes for one may
            be a SeriesInstanceUID: it may be shown to who types the command, and is not written down.
        left: the series that no phase can be chosen from, as in ``import.json``.
    """

    case: str
    images: int
    reason: str
    candidates: tuple[Candidate, ...] = ()
    left: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, eq=False)
class ImportOutcome:
    """What became of every study and every file below a folder.

    Args:
        output_dir: the dataset.
        studies: imported now.
        failed: not imported.
        already: cases that an earlier import had brought; they stay as they are.
        skipped: number of files by the reason why they are no image of a study.
        records: ``import.json`` of the studies imported now.
    """

    output_dir: Path
    studies: tuple[ImportedStudy, ...]
    failed: tuple[FailedStudy, ...]
    already: tuple[str, ...]
    skipped: Mapping[str, int]
    records: tuple[dict[str, Any], ...] = ()


@entry_point
def import_dicom(
    input_dir: str | None,
    output_dir: str,
    register: str = "deformable",
    phases: Mapping[str, Any] | str | None = None,
    keep_identity: bool | str = False,
    salt_file: str | None = None,
) -> None:
    """Import a folder of DICOM studies; the run id ``import_dicom`` of ``configs/import_dicom.yaml``.

    Studies that cannot be imported do not stop the others. The exit code tells whether there is a dataset to go on
    with: it is 0 when at least one study was imported now or earlier, however many others failed.

    Args:
        input_dir: holds DICOM files at any depth.
        output_dir: new, or the dataset of an earlier import, to which studies are added.
        register: ``none``, ``rigid`` or ``deformable``, to the arterial phase.
        phases: series number or SeriesInstanceUID by phase, as a mapping or as JSON; ``"7:2"`` is part 2 of series
            7. A number holds for all studies, a UID for the one that has it.
        keep_identity: name studies by PatientID and write down who they are.
        salt_file: the secret behind the ids; ``<output_dir>/.salt`` by default.

    Raises:
        SystemExit: an argument is wrong, or no study could be imported.
    """
    outcome = import_studies(
        _required(input_dir),
        output_dir,
        register=register,
        phases=phases,
        keep_identity=is_on(keep_identity),
        salt_file=salt_file,
    )
    print(outcome_table(outcome))
    if not outcome.studies and not outcome.already:
        reason = outcome.failed[0].reason if len(outcome.failed) == 1 else "the reasons stand above"
        msg = f"none of {len(outcome.failed)} studies could be imported: {reason}"
        raise StudyError(msg)


def import_studies(
    input_dir: str | Path,
    output_dir: str | Path,
    *,
    register: str = "deformable",
    phases: Mapping[str, Any] | str | None = None,
    keep_identity: bool = False,
    salt_file: str | Path | None = None,
    progress: bool = True,
) -> ImportOutcome:
    """``import_dicom`` as a library function, one study at a time.

    Args:
        input_dir: holds DICOM files at any depth.
        output_dir: new, or the dataset of an earlier import.
        register: ``"none"``, ``"rigid"`` or ``"deformable"``.
        phases: series number or SeriesInstanceUID by phase.
        keep_identity: name studies by PatientID and write down who they are.
        salt_file: the secret behind the ids; ``<output_dir>/.salt`` by default.
        progress: show bars.

    Returns:
        What became of every study; none needs to have been imported.

    Raises:
        ConfigurationError: an argument is wrong, or another import is writing to the folder, and nothing is written;
            or the report cannot be written.
        DatasetError: no such folder, or nothing in it that is a study; nothing is written.
    """
    source, output = Path(input_dir).resolve(), Path(output_dir).resolve()
    options = ImportOptions(register=_method(register), phases=_overrides(phases), keep_identity=keep_identity)
    if output.is_relative_to(source):
        msg = f"output_dir {output} lies in input_dir, so the next import would read it. Give a folder outside."
        raise ConfigurationError(msg)
    destination = Destination(output, salt_file=None if salt_file is None else Path(salt_file).resolve())
    with closing(destination), quiet_libraries():
        outcome = _import_all(scan(source, progress=progress), destination, options, progress=progress)
        if destination.cases:
            _report(destination, outcome)
    return outcome


def _import_all(found: Scan, destination: Destination, options: ImportOptions, *, progress: bool) -> ImportOutcome:
    by_study: dict[str, list[Frame]] = {}
    for frame in found.frames:
        by_study.setdefault(str(frame.header.StudyInstanceUID), []).append(frame)
    if not by_study:
        msg = f"no MR image in input_dir. {_files(found.skipped)}. Give the folder with the studies as it was exported."
        raise DatasetError(msg)
    _require_known_series(options.phases, found.frames)
    studies, failed, already, records = [], [], [], []
    disk = ""
    for study_uid, frames in tqdm(by_study.items(), desc="Importing", unit="study", disable=not progress):
        headers = [frame.header for frame in frames]
        sweep = Sweep() if options.keep_identity else Sweep.of(headers, (frame.file for frame in frames))
        case = case_id(
            destination.salt,
            study_uid=study_uid,
            patient_id=patient_id(headers),
            keep_identity=options.keep_identity,
        )
        if case in destination.cases:
            already.append(case)
            continue
        if disk:
            failed.append(FailedStudy(case, len(frames), f"not tried: {disk}"))
            continue
        try:
            study, record = import_study(frames, case, destination, options, sweep)
        except UndecidedStudyError as error:
            reason, left = sweep.text(str(error)), sweep.content(error.left)
            failed.append(FailedStudy(case, len(frames), reason, error.candidates, tuple(left)))
        except MTINetError as error:
            failed.append(FailedStudy(case, len(frames), sweep.text(str(error))))
        except Exception as error:  # one study's surprise must not cost the others, nor its message their privacy
            number = error.errno if isinstance(error, OSError) else None
            reason = _surprise(error) if number is None else unwritable(error)
            failed.append(FailedStudy(case, len(frames), reason))
            disk = reason if number in _LASTING else ""
        else:
            studies.append(study)
            records.append(record)
    return ImportOutcome(
        output_dir=destination.folder,
        studies=tuple(studies),
        failed=tuple(failed),
        already=tuple(already),
        skipped=Counter(skipped.reason for skipped in found.skipped),
        records=tuple(records),
    )


def _report(destination: Destination, outcome: ImportOutcome) -> None:
    """Write the report, unless the disk has refused studies already.

    Raises:
        ConfigurationError: the disk refuses the report, and no study has told of it.
    """
    try:
        write_import_report(destination.folder / REPORT_FILE, outcome, destination.records())
    except OSError as error:
        if not any(UNWRITABLE in failed.reason for failed in outcome.failed):
            msg = f"{unwritable(error)}. The studies are imported; the report on them is not written"
            raise ConfigurationError(msg) from error


def _surprise(error: Exception) -> str:
    """Where something unforeseen went wrong; its message may quote the study, so it is left out."""
    return f"the importer failed on it ({where_raised(error)}). Report this line to the authors"


def _files(skipped: Sequence[Skipped]) -> str:
    if not skipped:
        return "It holds no file"
    counts = Counter(each.reason for each in skipped)
    return "Its files: " + ", ".join(f"{count} {reason}" for reason, count in counts.most_common())


def _required(input_dir: str | None) -> str:
    if input_dir is None:
        msg = "input_dir is missing. Give the folder that holds the DICOM studies with --input_dir."
        raise ConfigurationError(msg)
    return input_dir


def _method(register: str) -> str:
    if register not in METHODS:
        msg = f"register is {register!r}; it must be one of {', '.join(METHODS)}."
        raise ConfigurationError(msg)
    return register


def _overrides(phases: Mapping[str, Any] | str | None) -> dict[str, str]:
    """Series by phase as the user gave them.

    Raises:
        ConfigurationError: no mapping, an unknown phase, or something else than a series.
    """
    example = """e.g. --phases '{"arterial": "7"}'"""
    if isinstance(phases, str):
        try:
            phases = json.loads(phases)
        except ValueError as error:
            msg = f"phases is not JSON. Give the series number or UID by phase, {example}."
            raise ConfigurationError(msg) from error
    if phases is None:
        return {}
    if not isinstance(phases, Mapping):
        msg = f"phases is not a mapping. Give the series number or UID by phase, {example}."
        raise ConfigurationError(msg)
    unknown = sorted(set(phases) - set(PHASES))
    if unknown:
        msg = f"phases names {', '.join(map(repr, unknown))}; the phases are {', '.join(PHASES)}, {example}."
        raise ConfigurationError(msg)
    for phase, series in phases.items():
        if isinstance(series, bool) or not isinstance(series, int | str) or not str(series).strip():
            msg = f"phases gives {phase} no series number or UID, {example}."
            raise ConfigurationError(msg)
    return {phase: str(series).strip() for phase, series in phases.items()}


def _require_known_series(phases: Mapping[str, str], frames: Sequence[Frame]) -> None:
    """Refuse a series that no study has, before any of them is read.

    Raises:
        ConfigurationError: naming the phase.
    """
    headers = [frame.header for frame in frames]
    known = {str(value) for header in headers for value in (series_number(header), header.SeriesInstanceUID)}
    for phase, series in phases.items():
        if series.partition(":")[0] not in known:
            msg = f"phases gives {phase} the series {series}, which no study in input_dir has."
            raise ConfigurationError(msg)
