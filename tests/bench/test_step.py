"""The plain step does what the trainer does."""

from __future__ import annotations

import math

import torch

from scripts.bench import step


def test_value_is_finite_and_positive(conditions):
    values = step.measure(conditions)
    assert values.keys() == set(step.UNITS)
    assert math.isfinite(values["training_vs_eager"])
    assert values["training_vs_eager"] > 0


def test_plain_step_trains_copies_of_both_networks(conditions):
    config = conditions.training_config({"train#trainer#train_handlers": []})
    trainer = config.get_parsed_content("train#trainer")
    batch = next(iter(config.get_parsed_content("train#dataloader")))
    before = [parameter.clone() for parameter in trainer.network.parameters()]
    plain = step.PlainStep(trainer)
    plain(batch)
    pairs = ((trainer.network, plain.network), (trainer.discriminator, plain.discriminator))
    for original, copied in pairs:
        changed = [not torch.equal(a, b) for a, b in zip(original.parameters(), copied.parameters(), strict=True)]
        assert any(changed)
    assert all(torch.equal(a, b) for a, b in zip(before, trainer.network.parameters(), strict=True))
    assert all(parameter.is_contiguous() for parameter in plain.network.parameters())
