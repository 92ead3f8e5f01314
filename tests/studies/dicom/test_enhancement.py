from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from scripts.domain.phases import PHASES
from scripts.studies.dicom.enhancement import signal_fits
from scripts.studies.dicom.stack import Stack
from scripts.studies.dicom.timeline import STATES

Make = Callable[..., Stack]


@pytest.fixture
def reader(phase_volume: Callable[..., np.ndarray]) -> Callable[..., Callable[[Stack], np.ndarray]]:
    """Reads stacks as if each showed the phase of a number."""

    def make(stacks: list[Stack], phases: list[int], gain: float = 1.0) -> Callable[[Stack], np.ndarray]:
        return lambda stack: gain * phase_volume(phases[stacks.index(stack)], stack.shape)

    return make


def test_two_candidates_tell_nothing(make_stack: Make, reader: Callable) -> None:
    stacks = [make_stack(series=n) for n in range(2)]
    assert signal_fits(stacks, reader(stacks, [0, 1])) == ({}, {})


def test_candidates_that_do_not_overlap_tell_nothing(make_stack: Make, reader: Callable) -> None:
    stacks = [make_stack(series=n, first_mm=(-150.0, -120.0, 500.0 * n)) for n in range(3)]
    assert signal_fits(stacks, reader(stacks, [0, 1, 2])) == ({}, {})


def test_without_enhancement_no_phase_fits(make_stack: Make, reader: Callable) -> None:
    stacks = [make_stack(series=n) for n in range(4)]
    fits, said = signal_fits(stacks, reader(stacks, [2, 2, 2, 2]))
    assert all((fit < 0).all() for fit in fits.values())
    assert set(said.values()) == {"no enhancement between the candidates"}


def test_what_cannot_be_read_is_left_out(make_stack: Make, reader: Callable) -> None:
    stacks = [make_stack(series=n) for n in range(5)]
    readable = reader(stacks, [0, 1, 2, 3, 3])
    fits, said = signal_fits(stacks, lambda stack: None if stack is stacks[0] else readable(stack))
    assert set(fits) == set(said) == set(stacks[1:])
    assert signal_fits(stacks, lambda stack: readable(stack) if stack in stacks[:2] else None) == ({}, {})
    assert signal_fits(stacks, lambda stack: None) == ({}, {})


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 1, 0, 2]])
def test_every_phase_fits_itself_best_in_any_order(make_stack: Make, reader: Callable, order: list[int]) -> None:
    stacks = [make_stack(series=n) for n in range(4)]
    fits, said = signal_fits(stacks, reader(stacks, order, gain=7.0))
    main = [STATES.index(phase) for phase in PHASES]
    assert [int(np.argmax(fits[stack][main])) for stack in stacks] == order
    assert "vessels at 100 %" in said[stacks[order.index(1)]]


def test_other_slices_and_positions_are_brought_together(
    make_stack: Make, phase_volume: Callable[..., np.ndarray]
) -> None:
    """The second stack begins two slices lower; the same points of the body are compared."""
    stacks = [make_stack(series=n, first_mm=(-150.0, -120.0, -60.0 - 12.0 * (n == 1))) for n in range(4)]

    def read(stack: Stack) -> np.ndarray:
        volume = phase_volume(stacks.index(stack))
        return np.roll(volume, 2, axis=2) if stack is stacks[1] else volume

    fits, _ = signal_fits(stacks, read)
    main = [STATES.index(phase) for phase in PHASES]
    assert [int(np.argmax(fits[stack][main])) for stack in stacks] == [0, 1, 2, 3]
