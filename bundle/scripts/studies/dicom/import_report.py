"""What an import tells its user: a table on the terminal and one HTML file that opens offline and prints."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ...domain.phases import PHASES, REFERENCE_PHASE
from ...domain.writing import replace_when_written
from .vocabulary import in_words

if TYPE_CHECKING:
    from .importing import ImportOutcome
    from .selection import Candidate

REPORT_FILE = "import_report.html"

_TEMPLATE = "import_report.html.j2"
_TAKEN = ("case", "phase", "series", "part", "slices", "time", "confidence", "registration")
_CANDIDATES = ("--phases", "part", "slices", "time", "likely phase", "score")


def outcome_table(outcome: ImportOutcome) -> str:
    """What was taken, what was left and why, as text of fixed width."""
    lines: list[str] = []
    if outcome.records:
        lines += ["", "Taken", *_table(_TAKEN, _taken_rows(outcome.records))]
    left = [(record["case"], *row) for record in outcome.records for row in left_by_reason(record["left"])]
    if left:
        lines += ["", "Left out", *_table(("case", "series", "reason"), left)]
    notes = [(record["case"], note) for record in outcome.records for note in record["notes"]]
    if notes:
        lines += ["", "Notes", *_table(("case", "note"), notes)]
    if outcome.already:
        lines += ["", f"Imported before and left as they are: {', '.join(outcome.already)}"]
    if outcome.failed:
        lines += ["", "Not imported"]
        for failed in outcome.failed:
            lines.append(f"  {failed.case} ({failed.images} images): {failed.reason}")
            if failed.candidates:
                lines += [f"  {line}" for line in _table(_CANDIDATES, map(_candidate_row, failed.candidates))]
            lines += [f"    left out: series {series}: {reason}" for series, reason in left_by_reason(failed.left)]
    if outcome.skipped:
        lines += ["", "Files that are no image of a study"]
        lines += [f"  {count} {reason}" for reason, count in sorted(outcome.skipped.items(), key=lambda p: -p[1])]
    found = len(outcome.studies) + len(outcome.failed) + len(outcome.already)
    lines += ["", f"Imported {len(outcome.studies)} of {found} studies into {outcome.output_dir}"]
    if outcome.studies or outcome.already:
        lines.append(f"Look at {outcome.output_dir / REPORT_FILE}")
    return "\n".join(lines)


def left_by_reason(left: Iterable[dict[str, Any]]) -> list[tuple[str, str]]:
    """Series that were left out, those with one reason together: ``("series 1, 2 (part)", reason)``."""
    by_reason: dict[str, list[str]] = {}
    for each in left:
        by_reason.setdefault(each["reason"], []).append(_series(each))
    return [(", ".join(dict.fromkeys(series)), reason) for reason, series in by_reason.items()]


def figure_file_name(phase: str) -> str:
    """The picture of a phase's registration, beside the study's ``import.json``."""
    return f"registration_{phase}.jpg"


def write_import_report(path: Path, outcome: ImportOutcome, records: Sequence[tuple[dict[str, Any], Path]]) -> None:
    """Write the report; everything it shows is inside the file.

    Args:
        path: the HTML file.
        outcome: of the import that has just ended.
        records: ``import.json`` of every study in the dataset, earlier imports included, and the folder with its
            figures.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"pictures": _pictures, "number": _number, "time": _time, "unnamed": _unnamed}
    environment.filters["in_words"] = in_words
    html = environment.get_template(_TEMPLATE).render(
        studies=records,
        new={study.case.case for study in outcome.studies},
        failed=outcome.failed,
        skipped=sorted(outcome.skipped.items(), key=lambda pair: -pair[1]),
        phases=PHASES,
        reference=REFERENCE_PHASE,
        left_by_reason=left_by_reason,
        candidate_columns=_CANDIDATES,
        candidate_row=_candidate_row,
    )
    with replace_when_written(path) as aside:
        aside.write_text(html, encoding="utf-8")


def _taken_rows(records: Iterable[dict[str, Any]]) -> list[tuple[str, ...]]:
    return [
        (
            record["case"],
            in_words(name),
            _number(phase["series_number"], 0),
            phase["part"],
            str(phase["slices"]),
            _time(phase["time_s"]),
            _number(phase["confidence"], 2),
            _registration(phase),
        )
        for record in records
        for name, phase in record["phases"].items()
    ]


def _registration(phase: dict[str, Any]) -> str:
    registration = phase["registration"]
    if registration is None:
        return "reference" if phase["reference"] else "none"
    said = f"{registration['method']}, moved {registration['displacement_mm']['median']:.1f} mm"
    return said if registration["kept"] else f"{said} (dropped: {registration['reason']})"


def _candidate_row(candidate: Candidate) -> tuple[str, ...]:
    supposed = "" if candidate.time_known or candidate.time_s is None else "~"
    time = f"{supposed}{_time(candidate.time_s)}"
    return (
        candidate.override,
        candidate.part,
        str(candidate.slices),
        time,
        candidate.phase,
        _number(candidate.score, 2),
    )


def _unnamed(override: str) -> str:
    """A candidate's name for a file that is kept: a SeriesInstanceUID leads to the patient."""
    return override if "." not in override else "by its UID"


def _series(each: dict[str, Any]) -> str:
    part = f" ({each['part']})" if each["part"] else ""
    return f"{_number(each['series_number'], 0)}{part}"


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    rows = [columns, *rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(columns))]
    return [
        "  " + "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def _number(value: float | None, digits: int = 2) -> str:
    return "–" if value is None else f"{value:.{digits}f}"  # noqa: RUF001


def _time(time_s: float | None) -> str:
    return "unknown" if time_s is None else f"{time_s:.0f} s"


def _pictures(folder: Path) -> dict[str, str]:
    """The figures in a folder, inside the page, by the phase that they show."""
    files = {phase: folder / figure_file_name(phase) for phase in PHASES}
    return {
        phase: "data:image/jpeg;base64," + base64.b64encode(file.read_bytes()).decode("ascii")
        for phase, file in files.items()
        if file.is_file()
    }
