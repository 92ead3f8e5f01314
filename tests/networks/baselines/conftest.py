"""A batch with a tumour to find, and the real trainer on it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from ignite.engine import Engine, Events

from scripts.engines.trainer import AdversarialMultiTaskTrainer
from scripts.losses import MultiTaskLoss


class SameRandomness:
    """Every step draws the same dropout and diffusion noise, so that its loss tells of the weights alone."""

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.ITERATION_STARTED, lambda _: torch.manual_seed(0))


@pytest.fixture
def batch() -> dict:
    """Four slices of 64 x 64, three with a bright rectangle as tumour."""
    generator = torch.Generator().manual_seed(0)
    label = torch.zeros(4, 1, 64, 64)
    label[:3, :, 20:36, 24:48] = 1.0
    enhancement = torch.tensor([0.2, 1.5, 0.5, 1.0]).view(1, 4, 1, 1)
    image = 0.1 * torch.randn(4, 4, 64, 64, generator=generator) + label * enhancement
    return {
        "image": image,
        "label": label,
        "curve": (image * label).sum((2, 3)) / label.sum((2, 3)).clamp(min=1),
        "tumour_class": torch.tensor([0, 1, 0, -1]),
        "available": torch.ones(4, 4, dtype=torch.bool),
        "times_s": torch.tensor([0.0, 30.0, 70.0, 180.0]).expand(4, -1),
    }


@pytest.fixture
def losses_of(batch) -> Callable[..., list[float]]:
    """The loss before each of some steps of the real trainer on the one batch."""

    def train(network, loss=None, *, steps: int = 2) -> list[float]:
        trainer = AdversarialMultiTaskTrainer(
            "cpu",
            1,
            [batch] * steps,
            network,
            torch.optim.SGD(network.parameters(), lr=0.01),
            MultiTaskLoss(segmentation="dice_bce") if loss is None else loss,
            train_handlers=[SameRandomness()],
        )
        losses: list[float] = []
        trainer.add_event_handler(
            Events.ITERATION_COMPLETED, lambda engine: losses.append(engine.state.output[0]["loss"])
        )
        trainer.run()
        return losses

    return train


@pytest.fixture
def parameters_of() -> Callable[..., int]:
    """Number of parameters of a network of full size, which is built without memory."""

    def count(system: type[torch.nn.Module], **switches) -> int:
        with torch.device("meta"):
            network = system(**switches)
        return sum(parameter.numel() for parameter in network.parameters())

    return count
