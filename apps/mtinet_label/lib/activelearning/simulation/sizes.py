"""How large a simulation is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Sizes:
    """Everything that decides a simulation's time, and with the seed its numbers.

    Args:
        image_size: pixels of a slice, over 384 mm.
        slice_step: every n-th slice is measured and scored; training sees all.
        start: labelled studies at the start.
        added: studies labelled in a round.
        rounds: how many.
        seeds: of the start's studies, the weights and the training.
        start_steps: optimiser steps of the first training, from random weights.
        round_steps: of a round's, from the weights before it, as *Update Model* does.
        batch_size: slices of a step.
        learning_rate: highest, with warm-up and cosine decay.
        candidates: unlabelled studies that a strategy looks at in a round, drawn at random, as a server can.
        test_subjects: studies that every model is scored on.
        samples: answers with dropout.
        decoder_dropout: of training and sampling.
        widths: of the network.
    """

    image_size: int = 64
    slice_step: int = 2
    start: int = 10
    added: int = 10
    rounds: int = 5
    seeds: int = 3
    start_steps: int = 1000
    round_steps: int = 200
    batch_size: int = 8
    learning_rate: float = 2e-3
    candidates: int = 60
    test_subjects: int = 60
    samples: int = 4
    decoder_dropout: float = 0.2
    widths: tuple[int, int, int, int] = (8, 12, 16, 24)
