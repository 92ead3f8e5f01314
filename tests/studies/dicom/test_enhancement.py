from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from scripts.domain.phases import PHASES
from scripts.studies.dicom.enhancement import signal_fits
from scripts.studies.dicom.stack import Stack
from scripts.studies.dicom.timeline import STATES

Make = Callable[..., Stack]

# Signal before contrast, arterial, portal venous, delayed.
SIGNALS = {"body": (60, 63, 66, 65), "liver": (35, 59, 95, 74), "spleen": (30, 88, 80, 66), "aorta": (19, 154, 110, 84)}


def _volume(phase: int, shape: tuple[int, int, int] = (24, 18, 20)) -> np.ndarray:
    i, j, k = np.meshgrid(*map(np.arange, shape), indexing="ij")
    volume = np.zeros(shape)
    volume[((i - 12) / 11) ** 2 + ((j - 9) / 8) ** 2 <= 1] = SIGNALS["body"][phase]
    volume[((i - 7) / 5) ** 2 + ((j - 8) / 5) ** 2 + ((k - 11) / 8) ** 2 <= 1] = SIGNALS["liver"][phase]
    volume[((i - 19) / 2) ** 2 + ((j - 9) / 3) ** 2 + ((k - 12) / 4) ** 2 <= 1] = SIGNALS["spleen"][phase]
    volume[(abs(i - 13) <= 1) & (abs(j - 13) <= 1)] = SIGNALS["aorta"][phase]
    return (volume + np.random.default_rng(phase).normal(0, 1.5, shape)).astype(np.float32)


def _reader(stacks: list[Stack], phases: list[int], gain: float = 1.0) -> Callable[[Stack], np.ndarray]:
    return lambda stack: gain * _volume(phases[stacks.index(stack)], stack.shape)


def test_two_candidates_tell_nothing(make_stack: Make) -> None:
    stacks = [make_stack(series=n) for n in range(2)]
    assert signal_fits(stacks, _reader(stacks, [0, 1])) == ({}, {})


def test_candidates_that_do_not_overlap_tell_nothing(make_stack: Make) -> None:
    stacks = [make_stack(series=n, first_mm=(-150.0, -120.0, 500.0 * n)) for n in range(3)]
    assert signal_fits(stacks, _reader(stacks, [0, 1, 2])) == ({}, {})


def test_without_enhancement_no_phase_fits(make_stack: Make) -> None:
    stacks = [make_stack(series=n) for n in range(4)]
    fits, said = signal_fits(stacks, _reader(stacks, [2, 2, 2, 2]))
    assert all((fit < 0).all() for fit in fits.values())
    assert set(said.values()) == {"no enhancement between the candidates"}


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 1, 0, 2]])
def test_every_phase_fits_itself_best_in_any_order(make_stack: Make, order: list[int]) -> None:
    stacks = [make_stack(series=n) for n in range(4)]
    fits, said = signal_fits(stacks, _reader(stacks, order, gain=7.0))
    main = [STATES.index(phase) for phase in PHASES]
    assert [int(np.argmax(fits[stack][main])) for stack in stacks] == order
    assert "vessels at 100 %" in said[stacks[order.index(1)]]


def test_other_slices_and_positions_are_brought_together(make_stack: Make) -> None:
    """The second stack begins two slices lower; the same points of the body are compared."""
    stacks = [make_stack(series=n, first_mm=(-150.0, -120.0, -60.0 - 12.0 * (n == 1))) for n in range(4)]

    def read(stack: Stack) -> np.ndarray:
        volume = _volume(stacks.index(stack))
        return np.roll(volume, 2, axis=2) if stack is stacks[1] else volume

    fits, _ = signal_fits(stacks, read)
    main = [STATES.index(phase) for phase in PHASES]
    assert [int(np.argmax(fits[stack][main])) for stack in stacks] == [0, 1, 2, 3]
