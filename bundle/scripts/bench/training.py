"""A training epoch as `train.yaml` runs it: slices a second, and the share of it spent waiting for them."""

from __future__ import annotations

from statistics import median

from .conditions import Conditions
from .timing import EpochClock

UNITS = {"training_slices_per_s": "1/s", "data_wait_share": "ratio"}


def measure(conditions: Conditions) -> dict[str, float]:
    """Epochs of both alternating steps, batches from the cache; validation and checkpoints do not count."""
    config = conditions.training_config({"max_epochs": 1 + conditions.runs})
    trainer = config.get_parsed_content("train#trainer")
    clock = EpochClock()
    clock.attach(trainer)
    trainer.run()
    slices = trainer.state.epoch_length * config["batch_size"]
    epochs = list(zip(clock.waited_s, clock.worked_s, strict=True))[1:]
    return {
        "training_slices_per_s": median(slices / (waited_s + worked_s) for waited_s, worked_s in epochs),
        "data_wait_share": median(waited_s / (waited_s + worked_s) for waited_s, worked_s in epochs),
    }
