"""Finds the stacks that a person named with ``--phases``, and says how each stack can be named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...domain.errors import ConfigurationError
from ...domain.phases import PHASES
from .exclusion import name_of
from .stack import Stack


def named_stacks(stacks: Sequence[Stack], overrides: Mapping[str, object]) -> dict[str, Stack]:
    """The stacks that a person named.

    Args:
        stacks: of one study.
        overrides: phase name to SeriesInstanceUID or SeriesNumber, with ``:2`` for part 2 of the series.

    Raises:
        ConfigurationError: they name what there is not, several volumes at once, or what cannot be used.
    """
    named: dict[str, Stack] = {}
    for phase, value in overrides.items():
        if phase not in PHASES:
            msg = f"--phases: there is no phase {phase!r}. The phases are {', '.join(PHASES)}."
            raise ConfigurationError(msg)
        stack = _by_name(stacks, phase, str(value).strip())
        if stack in named.values():
            given = f"{shown(str(value))!r} is given to two phases"
            msg = f"--phases: {phase}: {given}. Name a series or part of its own for each."
            raise ConfigurationError(msg)
        if stack.faults:
            msg = f"--phases: {phase}: {name_of(stack)} cannot be used: {'; '.join(stack.faults)}. Name another one."
            raise ConfigurationError(msg)
        named[phase] = stack
    return named


def _by_name(stacks: Sequence[Stack], phase: str, value: str) -> Stack:
    series, _, part = value.partition(":")
    matches = [stack for stack in stacks if series in (stack.series_uid, str(stack.series_number))]
    there_is = f"There is {', '.join(sorted({shown(value_of(stack, stacks)) for stack in stacks}, key=_natural))}."
    if not matches:
        msg = f"--phases: {phase}: there is no series {shown(series)!r} in the study. {there_is}"
        raise ConfigurationError(msg)
    if part:
        matches = [stack for stack in matches if str(stack.part_index + 1) == part]
    if len(matches) == 1:
        return matches[0]
    what = "no such part" if not matches else f"{len(matches)} volumes"
    several = len({stack.series_uid for stack in matches}) > 1
    how = "Name it by its UID" if several else "Name one, with its part after a colon"
    msg = f"--phases: {phase}: {shown(value)!r} is {what}. {how}. {there_is}"
    raise ConfigurationError(msg)


def value_of(stack: Stack, stacks: Sequence[Stack]) -> str:
    """What ``--phases`` takes for a stack: its SeriesNumber where that is unique, otherwise its SeriesInstanceUID."""
    number = stack.series_number
    unique = number is not None and len({other.series_uid for other in stacks if other.series_number == number}) == 1
    series = str(number) if unique else stack.series_uid
    parts = sum(other.series_uid == stack.series_uid for other in stacks)
    return f"{series}:{stack.part_index + 1}" if parts > 1 else series


def shown(value: str) -> str:
    """What ``--phases`` takes, without a SeriesInstanceUID, which leads to the patient."""
    series, colon, part = value.partition(":")
    return f"<UID>{colon}{part}" if "." in series else value


def _natural(value: str) -> tuple:
    return tuple((0, int(piece), "") if piece.isdigit() else (1, 0, piece) for piece in value.split(":"))
