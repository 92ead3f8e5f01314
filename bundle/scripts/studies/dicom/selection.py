"""Chooses the four phases of a study among its stacks, and says why; or says that it cannot."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

import numpy as np

from ...domain.errors import StudyError
from ...domain.phases import PHASES, REFERENCE_PHASE
from .enhancement import signal_fits
from .evidence import Facts, facts_of, sentences
from .exclusion import Left, name_of, sort_out
from .overrides import named_stacks, shown, value_of
from .stack import Stack
from .timeline import Placed, place
from .vocabulary import in_words

logger = logging.getLogger(__name__)

THRESHOLD = 0.75
"""Three to one. The order of four series alone stays below it, so that the pixels are asked; the order together with
what they show, or with names or times, comes above it. A name that contradicts a known time stays below."""

LEAST_PHASES = 2

_BEST_TIMES_S = {"arterial": (30.0, 40.0), "portal_venous": (70.0, 70.0), "delayed": (180.0, 180.0)}
"""Between them one is as good as another; s after the injection."""


@dataclass(frozen=True, eq=False)
class Chosen:
    """The stack of one phase.

    Args:
        stack: which.
        time_s: after the injection, and 0 before it; supposed from the order where no header tells the injection (the
            evidence says so); None where there is no time.
        confidence: 0-1.
        evidence: sentences, neutral.
    """

    stack: Stack
    time_s: float | None
    confidence: float
    evidence: tuple[str, ...]


@dataclass(frozen=True)
class Candidate:
    """A row of the table for a person who has to choose.

    Args:
        override: what ``--phases`` takes for it: ``7``, ``7:2`` for part 2 of series 7, or a SeriesInstanceUID.
        series_number: where there is one.
        part: as of ``Stack``.
        slices: how many.
        time_s: after the injection; None where unknown.
        time_known: whether the injection's time is in the header; supposed otherwise.
        phase: the likeliest, in words; may be ``early arterial`` or ``hepatobiliary``.
        score: its probability.
        evidence: sentences, neutral.
    """

    override: str
    series_number: int | None
    part: str
    slices: int
    time_s: float | None
    time_known: bool
    phase: str
    score: float
    evidence: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Selection:
    """What was decided for one study.

    Args:
        phases: by name, in the order of ``PHASES``; empty where the choice is not sure. A phase that the study lacks
            is not in it.
        left: every other stack, with the reason; the candidates are missing where the choice is not sure. A phase
            whose only image, or whose best one, is a broken stack is missing.
        confident: whether ``phases`` can be used.
        problem: one line that says what is not sure and what to do; empty where confident.
        candidates: every stack that may be a contrast phase, in the order of time.
    """

    phases: dict[str, Chosen]
    left: list[Left]
    confident: bool
    problem: str = ""
    candidates: tuple[Candidate, ...] = ()

    @property
    def missing(self) -> tuple[str, ...]:
        """Phases that were not found."""
        return tuple(phase for phase in PHASES if phase not in self.phases)

    def table(self) -> str:
        """The candidates as lines of text."""
        rows = [("--phases", "slices", "time", "likely phase", "score")]
        for row in self.candidates:
            time = "-" if row.time_s is None else f"{'' if row.time_known else '~'}{row.time_s:.0f} s"
            rows.append((row.override, str(row.slices), time, row.phase, f"{row.score:.2f}"))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
        )


@dataclass(frozen=True, eq=False)
class _Choice:
    """Which candidate a phase gets, and how sure that is; ``placed`` is None for a phase that there is not."""

    placed: Placed | None
    confidence: float
    why: str = ""


def choose_phases(
    stacks: Sequence[Stack],
    *,
    overrides: Mapping[str, object] | None = None,
    threshold: float = THRESHOLD,
) -> Selection:
    """Find pre, arterial, portal venous and delayed.

    Args:
        stacks: all stacks of one study.
        overrides: phase name to SeriesInstanceUID or SeriesNumber, with ``:2`` for part 2 of the series.
        threshold: least confidence of every phase, and of a phase's absence.

    Raises:
        ConfigurationError: the overrides name what there is not, or what cannot be used.
        StudyError: the stacks belong to several studies.
    """
    if len({stack.study_uid for stack in stacks}) > 1:
        msg = "the series belong to several studies. Choose the phases of one study at a time."
        raise StudyError(msg)
    named = named_stacks(stacks, overrides or {})
    facts = facts_of(stacks)
    candidates, left = sort_out(facts, keep=tuple(named.values()))
    broken = {item.stack for item in left if item.broken}
    # What is broken takes its place in time, or the phase after it would seem to be its own.
    timed = [fact for fact in facts if fact in candidates or (candidates and fact.stack in broken)]
    everything, choices, said = _decide(timed, candidates, named, broken, threshold)
    placed = [item for item in everything if item.facts.stack not in broken]
    evidence = {item.facts.stack: _evidence(item, placed, named, said) for item in placed}
    rows = tuple(_row(item, stacks, evidence[item.facts.stack]) for item in placed)
    problem = _problem(choices, threshold, rows, placed)
    if problem:
        return Selection({}, left, confident=False, problem=problem, candidates=rows)
    phases = {
        phase: Chosen(
            stack=choice.placed.facts.stack,
            time_s=_reported_time_s(choice.placed),
            confidence=round(choice.confidence, 3),
            evidence=(*evidence[choice.placed.facts.stack], *filter(None, [choice.why])),
        )
        for phase, choice in choices.items()
        if choice.placed is not None
    }
    taken = {chosen.stack: phase for phase, chosen in phases.items()}
    unused = [Left(item.facts.stack, _reason(item, phases)) for item in placed if item.facts.stack not in taken]
    return Selection(phases, left + unused, confident=True, candidates=rows)


def _decide(
    timed: Sequence[Facts],
    candidates: Sequence[Facts],
    named: Mapping[str, Stack],
    broken: Set[Stack],
    threshold: float,
) -> tuple[list[Placed], dict[str, _Choice], dict[Stack, str]]:
    """What each stack is and which are chosen: by the headers, and where they leave doubts by the pixels."""
    placed = place(timed, named=named)
    choices = _choices(placed, named, broken)
    # Signals are told as shares of their range over the study, which nobody knows where a phase of it is broken.
    if not candidates or broken or _is_sure(choices, threshold):
        return placed, choices, {}
    fits, said = _signals(candidates)
    if fits:
        placed_by_signal = place(timed, named=named, signals=fits)
        choices_by_signal = _choices(placed_by_signal, named, broken)
        if not _passes_over(placed_by_signal, choices_by_signal, fits):
            return placed_by_signal, choices_by_signal, said
    return placed, choices, said


def _choices(placed: Sequence[Placed], named: Mapping[str, Stack], broken: Set[Stack]) -> dict[str, _Choice]:
    choices = {}
    for phase in PHASES:
        if phase in named:
            item = next(item for item in placed if item.facts.stack is named[phase])
            choices[phase] = _Choice(item, 1.0, "named by --phases")
            continue
        free = [item for item in placed if item.facts.stack not in named.values()]
        rivals = [item for item in free if item.state == phase]
        if phase == "arterial" and not rivals:
            rivals = [item for item in free if item.state == "early_arterial"]
        # A series that was broken off is usually repeated; one whose files are damaged is the one that was meant.
        whole = [item for item in rivals if item.facts.stack not in broken]
        rivals = [item for item in rivals if item in whole or item.facts.stack.faults or not whole]
        if not rivals:
            absent = 1.0 - max((item.probabilities[phase] for item in free), default=0.0)
            choices[phase] = _Choice(None, absent)
            continue
        best = max(rivals, key=lambda item: _rank(item, phase))
        if best.facts.stack in broken:
            choices[phase] = _Choice(None, best.probability(phase))
            continue
        choices[phase] = _Choice(best, best.probability(phase), _why(best, whole, phase))
    return choices


def _rank(item: Placed, phase: str) -> tuple:
    """Fat-suppressed ones first, then by time; of repeated breath-holds the last, of delayed images the first."""
    later = -item.order if phase == "delayed" else item.order
    # A supposed injection cannot tell early from late arterial, only that one came after the other.
    if item.time_s is None or phase == "pre" or (phase == "arterial" and not item.time_known):
        return item.facts.quality, 0.0, later
    first_s, last_s = _BEST_TIMES_S[phase]
    return item.facts.quality, -max(0.0, first_s - item.time_s, item.time_s - last_s), later


def _why(best: Placed, rivals: Sequence[Placed], phase: str) -> str:
    if best.state == "early_arterial":
        return "early arterial: the study has no late arterial image"
    if len(rivals) == 1:
        return ""
    if best.facts.quality > max(item.facts.quality for item in rivals if item is not best):
        return f"the only fat-suppressed one of {len(rivals)} candidates for the phase"
    if phase != "pre" and best.time_s is not None and (best.time_known or phase != "arterial"):
        return f"the best timed of {len(rivals)} candidates for the phase"
    return f"the {'first' if phase == 'delayed' else 'last'} of {len(rivals)} candidates for the phase"


def _is_sure(choices: Mapping[str, _Choice], threshold: float) -> bool:
    return choices[REFERENCE_PHASE].placed is not None and all(
        choice.confidence >= threshold for choice in choices.values()
    )


def _passes_over(placed: Sequence[Placed], choices: Mapping[str, _Choice], fits: Mapping[Stack, np.ndarray]) -> bool:
    """Whether an image of which the pixels told nothing lies between those that were chosen by them."""
    orders = [choice.placed.order for choice in choices.values() if choice.placed is not None]
    silent = [item.order for item in placed if item.facts.stack not in fits]
    return any(min(orders, default=0) < order < max(orders, default=0) for order in silent)


def _signals(candidates: Sequence[Facts]) -> tuple[dict[Stack, np.ndarray], dict[Stack, str]]:
    from .pixels import read_volume  # decoding libraries are needed for the last resort only

    def read(stack: Stack) -> np.ndarray | None:
        try:
            return read_volume(stack)
        except (StudyError, OSError):
            logger.info("Nothing can be told by the signal of %s: its pixel data cannot be read.", name_of(stack))
            return None

    return signal_fits([fact.stack for fact in candidates], read)


def _evidence(
    item: Placed, placed: Sequence[Placed], named: Mapping[str, Stack], said: Mapping[Stack, str]
) -> tuple[str, ...]:
    stack = item.facts.stack
    lines = sentences(item.facts, [other.facts for other in placed if other is not item])
    if item.time_s is not None and item.time_known:
        lines.append(f"{_since_injection(item.time_s)} (AcquisitionTime - ContrastBolusStartTime)")
    elif item.time_s is not None:
        first = next(other for other in placed if other.time_s is not None)
        if first is not item:
            lines.append(f"{item.time_s - first.time_s:.0f} s after {name_of(first.facts.stack)}, the first candidate")
        lines.append("the header does not tell the injection: its time is supposed from the times between the images")
    elif item.facts.words.time_s is not None:
        lines.append(f"the description gives {item.facts.words.time_s:.0f} s")
    lines.append(f"number {placed.index(item) + 1} of {len(placed)} candidates in time")
    if stack in said:
        lines.append(said[stack])
    return tuple(lines)


def _row(item: Placed, stacks: Sequence[Stack], evidence: tuple[str, ...]) -> Candidate:
    return Candidate(
        override=value_of(item.facts.stack, stacks),
        series_number=item.facts.stack.series_number,
        part=item.facts.stack.part,
        slices=len(item.facts.stack.frames),
        time_s=None if item.time_s is None else round(item.time_s, 1),
        time_known=item.time_known,
        phase=in_words(item.state),
        score=round(item.probabilities[item.state], 3),
        evidence=evidence,
    )


def _problem(
    choices: Mapping[str, _Choice], threshold: float, rows: Sequence[Candidate], placed: Sequence[Placed]
) -> str:
    if not rows:
        return "no T1-weighted image of a contrast phase found. Check that the study is a dynamic liver MRI."
    doubtful = [phase for phase, choice in choices.items() if choice.confidence < threshold]
    found = [phase for phase, choice in choices.items() if choice.placed is not None]
    if doubtful:
        scores = ", ".join(f"{in_words(phase)} {choices[phase].confidence:.2f}" for phase in doubtful)
        what = f"not sure which images are which phase ({scores}; {threshold:g} is needed)"
    elif REFERENCE_PHASE not in found:
        what, doubtful = f"no {REFERENCE_PHASE} phase found, to which the others are registered", [REFERENCE_PHASE]
    elif len(found) < LEAST_PHASES:
        what = f"only the {in_words(found[0])} phase found"
        doubtful = [phase for phase in PHASES if phase not in found]
    else:
        return ""
    values = {row.override: item for row, item in zip(rows, placed, strict=True)}
    guesses = {}
    for phase in doubtful:
        choice = choices[phase].placed
        guess = next((value for value, item in values.items() if item is choice), "<series uid or number>")
        guesses[phase] = shown(guess)
    return f"{what}. Look at the candidates and name the phases, for example --phases '{json.dumps(guesses)}'."


def _since_injection(time_s: float) -> str:
    return f"{abs(time_s):.0f} s {'before' if time_s < 0 else 'after'} the injection"


def _reported_time_s(item: Placed) -> float | None:
    return None if item.time_s is None else round(max(0.0, item.time_s), 1)


def _reason(item: Placed, phases: Mapping[str, Chosen]) -> str:
    phase = "arterial" if item.state == "early_arterial" else item.state
    time = "" if item.time_s is None else f", {_since_injection(item.time_s)}"
    if item.state == "hepatobiliary":
        return f"hepatobiliary phase{time}: not one of the four"
    name = in_words(item.state)
    if phase not in phases:
        return f"{name} image{time}, but the phase is not sure"
    chosen = phases[phase].stack
    if item.state == "early_arterial":
        return f"early arterial{time}: {name_of(chosen)} is taken for the arterial phase"
    return f"another {name} image{time}: {name_of(chosen)} is preferred"
