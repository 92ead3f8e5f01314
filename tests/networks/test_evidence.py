"""Evidence of the phases: against belief functions computed over all subsets."""

from __future__ import annotations

from itertools import product

import pytest
import torch

from scripts.networks.evidence import combine, discount, ignore_absent, tumour_logits

BACKGROUND, TUMOUR = frozenset({"background"}), frozenset({"tumour"})
FRAME = BACKGROUND | TUMOUR
SETS = (BACKGROUND, TUMOUR, FRAME)


@pytest.fixture
def masses():
    """``(2, 4, 3, 3, 5)``."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 4, 3, 3, 5, generator=generator, dtype=torch.float64).mul(2.0).softmax(dim=2)


def dempster(functions):
    """Dempster's rule by its definition: over all choices of focal sets that meet, products, by intersection."""
    combined = dict.fromkeys(SETS, 0.0)
    for chosen in product(SETS, repeat=len(functions)):
        mass, meeting = 1.0, FRAME
        for function, focal_set in zip(functions, chosen, strict=True):
            mass *= function[focal_set]
            meeting &= focal_set
        if meeting:
            combined[meeting] += mass
    total = sum(combined.values())
    return {focal_set: mass / total for focal_set, mass in combined.items()}


def plausibility(function, of):
    return sum(mass for focal_set, mass in function.items() if focal_set & of)


def pixels(masses):
    """Every pixel's mass functions, one dict a phase."""
    for one in masses.movedim((1, 2), (-2, -1)).reshape(-1, 4, 3).tolist():
        yield [dict(zip(SETS, of_phase, strict=True)) for of_phase in one]


def test_combination_is_dempsters_rule_over_subsets(masses):
    expected = [[dempster(functions)[s] for s in SETS] for functions in pixels(masses)]
    answer = combine(masses).movedim(1, -1).reshape(-1, 3)
    torch.testing.assert_close(answer, torch.tensor(expected, dtype=answer.dtype), atol=1e-6, rtol=1e-4)


def test_logits_are_of_the_normalised_plausibility(masses):
    expected = []
    for functions in pixels(masses):
        combined = dempster(functions)
        tumour, background = plausibility(combined, TUMOUR), plausibility(combined, BACKGROUND)
        expected.append(tumour / (tumour + background))
    answer = tumour_logits(combine(masses)).sigmoid().flatten()
    torch.testing.assert_close(answer, torch.tensor(expected, dtype=answer.dtype), atol=1e-5, rtol=0)


def test_discounting_moves_plausibilities_as_defined(masses):
    reliability = torch.tensor([[1.0, 1.0], [0.0, 0.0], [0.9, 0.2], [0.3, 0.7]], dtype=torch.float64)
    answer = discount(masses, reliability)
    torch.testing.assert_close(answer.sum(dim=2), torch.ones_like(answer[:, :, 0]))
    assert (answer >= 0).all()
    for index in (0, 1):
        before, after = (m[:, :, index] + m[:, :, 2] for m in (masses, answer))
        trust = reliability[:, index, None, None]
        torch.testing.assert_close(after, 1 - trust + trust * before)


def test_full_reliability_changes_nothing_and_none_leaves_nothing_known(masses):
    torch.testing.assert_close(discount(masses, torch.ones(4, 2)), masses)
    nothing = discount(masses, torch.zeros(4, 2))
    torch.testing.assert_close(nothing[:, :, 2], torch.ones_like(nothing[:, :, 2]))


def test_an_absent_phase_has_no_say(masses):
    available = torch.tensor([[True, True, True, False], [True, False, True, True]])
    answer = combine(ignore_absent(masses, available))
    torch.testing.assert_close(answer[0], combine(masses[:1, :3])[0], atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(answer[1], combine(masses[1:, [0, 2, 3]])[0], atol=1e-6, rtol=1e-4)


def test_no_phase_at_all_knows_nothing(masses):
    vacuous = combine(ignore_absent(masses, torch.zeros(2, 4, dtype=torch.bool)))
    torch.testing.assert_close(tumour_logits(vacuous), torch.zeros(2, 1, 3, 5, dtype=torch.float64))


def test_certain_and_contradicting_phases_give_finite_logits_and_gradients():
    certain = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    masses = certain[None, :, :, None, None].clone().requires_grad_()
    logits = tumour_logits(combine(masses))
    logits.sum().backward()
    assert logits.isfinite().all()
    assert logits.item() < 0
    assert masses.grad.isfinite().all()
