"""Which phase each candidate is, decided for all of them together along the order of their acquisition.

Candidates pass through the states pre, early arterial, arterial, portal venous, delayed and hepatobiliary, never back.
Every piece of evidence is a penalty on a candidate in a state, in natural logarithms, 0 where it fits; leaving a phase
out, or taking it twice, costs something too. The sum over all ways through the states (forward-backward, Rabiner 1989)
gives each candidate's probability of each state. Where no header tells when the injection was, every candidate in turn
is supposed to be the first arterial one, and the suppositions are summed over.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...domain.phases import NOMINAL_TIMES_S, PHASES, REFERENCE_INDEX
from .evidence import Facts, bolus_start_s
from .stack import Stack

STATES = ("pre", "early_arterial", "arterial", "portal_venous", "delayed", "hepatobiliary")
EARLY_ARTERIAL_S = 18.0
_IS_PRE = np.array([state == "pre" for state in STATES])

SKIPPED = -2.0
"""A phase of ``PHASES`` that no candidate shows."""

REPEATED = -0.8
"""A second candidate of one state."""

VISITED = {"early_arterial": -1.0, "hepatobiliary": -1.0}
"""States that a study need not have."""

MISNAMED = -5.0
"""A candidate whose description names another phase."""

LEAST_FIT = -6.0
"""No single time weighs more: a clock can be wrong as a whole."""

MISFIT = -6.0
"""Of "none of this is right", against which the penalties of the evidence have to stand together."""

_NEAR_NAMES = {
    ("arterial", "early_arterial"): -1.0,  # "arterial" alone names both
    ("early_arterial", "arterial"): -3.0,
    ("portal_venous", "delayed"): -3.5,  # "venous" is used for late phases too
    ("delayed", "portal_venous"): -3.5,
    ("delayed", "hepatobiliary"): -3.0,  # "20 min delayed"
}

CONTRAST_BEFORE = -2.5
"""A series before the injection whose description or tags tell of contrast agent."""

UNTAGGED = -2.5
"""A candidate after the injection without contrast tags, where others have them."""

NAMED = -50.0
"""A person's word goes before any evidence."""


@dataclass(frozen=True)
class Window:
    """Times at which a state is acquired, s after the injection, and how softly it ends.

    Liver protocols: late arterial 30-40 s (25-45 with a start by bolus tracking), portal venous 55-90 s, delayed 2-5
    min, hepatobiliary 10-20 min (LI-RADS v2018, technique).
    """

    first_s: float
    last_s: float
    softness_before_s: float
    softness_after_s: float

    def fit(self, time_s: float, *, trust: float = 1.0) -> float:
        """Log penalty of a time; a lower trust widens the ends."""
        before = max(0.0, self.first_s - time_s) / self.softness_before_s
        after = max(0.0, time_s - self.last_s) / self.softness_after_s
        return max(LEAST_FIT, -0.5 * (trust * max(before, after)) ** 2)


WINDOWS = {
    "pre": Window(-np.inf, 3.0, 1.0, 3.0),
    "early_arterial": Window(8.0, 22.0, 3.0, 3.0),
    "arterial": Window(26.0, 45.0, 4.0, 7.0),
    "portal_venous": Window(55.0, 95.0, 7.0, 15.0),
    "delayed": Window(120.0, 320.0, 15.0, 90.0),
    "hepatobiliary": Window(600.0, np.inf, 60.0, 1.0),
}


@dataclass(frozen=True, eq=False)
class Placed:
    """A candidate with its place in time and its probabilities.

    Args:
        facts: of the candidate.
        order: number in time, from 0.
        state: one of ``STATES``, such that the states never go back.
        probabilities: by state; with "none of this is right" they sum to 1.
        time_s: after the injection; None where unknown.
        time_known: whether a header tells the injection, rather than supposing it from the order.
    """

    facts: Facts
    order: int
    state: str
    probabilities: Mapping[str, float]
    time_s: float | None
    time_known: bool

    def probability(self, phase: str) -> float:
        """That it may be taken for a phase; an early arterial image is an arterial one too."""
        early = self.probabilities["early_arterial"] if phase == "arterial" else 0.0
        return self.probabilities[phase] + early


def place(
    candidates: Sequence[Facts],
    *,
    named: Mapping[str, Stack] | None = None,
    signals: Mapping[Stack, np.ndarray] | None = None,
) -> list[Placed]:
    """Give every candidate its probabilities.

    Args:
        candidates: that may be contrast phases.
        named: phase to stack, as a person said.
        signals: ``(states,)`` log penalties by what the pixels show.

    Returns:
        In the order of time.
    """
    if not candidates:
        return []
    ordered, order_known = in_order(candidates)
    fixed = _fits_without_clock(ordered, named or {}, signals or {})
    start_s = bolus_start_s(ordered)
    clocks_s = [None if fact.clock_shared else fact.clock_s for fact in ordered]
    if start_s is not None:
        starts_s = [start_s]
    else:
        firsts = (NOMINAL_TIMES_S[REFERENCE_INDEX], EARLY_ARTERIAL_S)
        known_s = [clock_s for clock_s in clocks_s if clock_s is not None]
        starts_s = [clock_s - first_s for clock_s in known_s for first_s in firsts] if len(known_s) > 1 else []
    # Described times stand in for clocks, and less is said of them: start or centre, breath-hold or delay.
    described_s = [] if starts_s else [fact.words.time_s for fact in ordered]
    supposed = []
    for supposed_start_s in starts_s or [None]:
        fits = fixed.copy()
        for number, clock_s in enumerate(clocks_s):
            if supposed_start_s is not None and clock_s is not None:
                fits[number] += [WINDOWS[state].fit(clock_s - supposed_start_s) for state in STATES]
            elif len(set(described_s)) > 1 and described_s[number] is not None:
                fits[number] += [WINDOWS[state].fit(described_s[number], trust=0.5) for state in STATES]
        supposed.append((supposed_start_s, fits, *_ways(fits)))
    total = sum(weight for *_, weight, _ in supposed)
    posterior = sum(weight * marginals for *_, weight, marginals in supposed) / max(total, np.finfo(float).tiny)
    states = [_median(probabilities) for probabilities in posterior]
    likeliest_s, fits, *_ = max(supposed, key=lambda item: item[2])
    if order_known or all(fact.phase_word for fact in ordered):
        fit = sum(fits[number, state] for number, state in enumerate(states))
        posterior = posterior / (1.0 + np.exp(min(MISFIT - fit, 50.0)))
    else:
        posterior = posterior / 2.0  # words alone can carry series that have no order; without words nothing is known
    return [
        Placed(
            facts=fact,
            order=number,
            state=STATES[states[number]],
            probabilities=dict(zip(STATES, posterior[number].tolist(), strict=True)),
            time_s=None if likeliest_s is None or clock_s is None else clock_s - likeliest_s,
            time_known=start_s is not None,
        )
        for number, (fact, clock_s) in enumerate(zip(ordered, clocks_s, strict=True))
    ]


def in_order(candidates: Sequence[Facts]) -> tuple[list[Facts], bool]:
    """By clock where all have one, otherwise by SeriesNumber; within a series by part.

    Returns:
        The candidates, and whether the order is known; where not, they stand in the order that their words say.
    """
    if all(fact.clock_s is not None for fact in candidates):
        return sorted(candidates, key=lambda fact: (fact.clock_s, fact.stack.part_index)), True
    numbers = {fact.stack.series_uid: fact.stack.series_number for fact in candidates}
    known = None not in numbers.values() and len(set(numbers.values())) == len(numbers)
    if known or len(numbers) == 1:
        return sorted(candidates, key=lambda fact: (fact.stack.series_number or 0, fact.stack.part_index)), True
    last = len(STATES)
    return sorted(candidates, key=lambda f: STATES.index(f.phase_word) if f.phase_word else last), False


def _fits_without_clock(
    ordered: Sequence[Facts], named: Mapping[str, Stack], signals: Mapping[Stack, np.ndarray]
) -> np.ndarray:
    """``(candidates, states)`` log penalties of words, contrast tags, pixels and a person's choice."""
    fits = np.zeros((len(ordered), len(STATES)))
    untagged_exist = any(not fact.contrast for fact in ordered)
    tagged_exist = any(fact.contrast for fact in ordered)
    words = [fact.phase_word for fact in ordered]
    parts = Counter(fact.stack.series_uid for fact in ordered)
    for number, fact in enumerate(ordered):
        # A dynamic series may begin before the injection: what is said of the whole is shared by its parts.
        contrast_before = CONTRAST_BEFORE / parts[fact.stack.series_uid]
        if words[number]:
            fits[number] += [_name_fit(words[number], state) for state in STATES]
        elif fact.words.contrast:
            fits[number] += np.where(_IS_PRE, contrast_before, 0.0)
        if tagged_exist and untagged_exist:
            fits[number] += np.where(fact.contrast == _IS_PRE, contrast_before if fact.contrast else UNTAGGED, 0.0)
        if fact.stack in signals:
            fits[number] += signals[fact.stack]
        for phase, stack in named.items():
            if stack is fact.stack:
                fits[number] += np.where(np.array(STATES) == phase, 0.0, NAMED)
    return fits


def _name_fit(word: str, state: str) -> float:
    return 0.0 if word == state else _NEAR_NAMES.get((word, state), MISNAMED)


def _ways(fits: np.ndarray) -> tuple[float, np.ndarray]:
    """Sum over all ways through the states.

    Args:
        fits: ``(candidates, states)`` log penalties.

    Returns:
        The sum's weight, and ``(candidates, states)`` probabilities given that one of the ways is right.
    """
    last = len(STATES) - 1
    step = np.array([[_step(a, b) if b >= a else 0.0 for b in range(last + 1)] for a in range(last + 1)])
    first = np.array([_step(-1, b) for b in range(last + 1)])
    leave = np.array([_skipped(a, last + 1) for a in range(last + 1)])
    weights = np.exp(fits)
    forward, backward = np.empty_like(weights), np.empty_like(weights)
    forward[0] = first * weights[0]
    for number in range(1, len(fits)):
        forward[number] = (forward[number - 1] @ step) * weights[number]
    backward[-1] = leave
    for number in range(len(fits) - 2, -1, -1):
        backward[number] = step @ (weights[number + 1] * backward[number + 1])
    total = float(forward[-1] @ leave)
    return total, forward * backward / total if total > 0 else np.zeros_like(fits)


def _step(before: int, after: int) -> float:
    """Weight of going from one state to another; ``-1`` is the start."""
    if before == after:
        return float(np.exp(REPEATED))
    return float(np.exp(VISITED.get(STATES[after], 0.0))) * _skipped(before, after)


def _skipped(before: int, after: int) -> float:
    """Weight of the phases between two states that are left out; the arterial one may have been early."""
    between = [state for state in STATES[before + 1 : after] if state in PHASES]
    if before >= 0 and STATES[before] == "early_arterial":
        between = [state for state in between if state != "arterial"]
    return float(np.exp(SKIPPED * len(between)))


def _median(probabilities: np.ndarray) -> int:
    """The median state: unlike the likeliest ones, the medians of ordered candidates are in order too."""
    total = probabilities.sum()
    return int(np.searchsorted(np.cumsum(probabilities), total / 2)) if total > 0 else 0
