"""The adversarial trainer: who is updated when, by what, and what is reported."""

import copy

import pytest
import torch
from ignite.engine import Events
from monai.engines.utils import IterationEvents

from scripts.engines.trainer import AdversarialMultiTaskTrainer
from scripts.losses import MultiTaskLoss
from scripts.networks.discriminator import TaskDiscriminator

TERMS = {"loss", "segmentation", "regression", "classification", "tim", "localisation"}
ADVERSARIAL = {"adversarial", "discriminator_loss", "discriminator_accuracy"}


def trainer_of(network, batch, *, discriminator=None, epochs=1, batches=2, **options):
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    if discriminator is not None:
        options["discriminator"] = discriminator
        options["discriminator_optimizer"] = torch.optim.Adam(discriminator.parameters(), lr=1e-3)
    return AdversarialMultiTaskTrainer("cpu", epochs, [batch] * batches, network, optimizer, MultiTaskLoss(), **options)


def parameters(module):
    return [p.detach().clone() for p in module.parameters()]


def changed(module, before):
    return any(not torch.equal(now, then) for now, then in zip(module.parameters(), before, strict=True))


def test_a_discriminator_without_an_optimizer_is_refused(network, batch):
    with pytest.raises(ValueError, match="come together"):
        AdversarialMultiTaskTrainer(
            "cpu",
            1,
            [batch],
            network,
            torch.optim.Adam(network.parameters()),
            MultiTaskLoss(),
            discriminator=TaskDiscriminator(),
        )


def test_the_discriminator_waits_for_the_warm_up(network, batch):
    discriminator = TaskDiscriminator()
    before = parameters(discriminator)
    trainer = trainer_of(network, batch, discriminator=discriminator, epochs=2, adversarial_warmup_epochs=1)
    outputs, moved = {}, {}

    def record(engine):
        outputs[engine.state.epoch] = set(engine.state.output[0])
        moved[engine.state.epoch] = changed(discriminator, before)

    trainer.add_event_handler(Events.EPOCH_COMPLETED, record)
    trainer.run()
    assert outputs == {1: TERMS, 2: TERMS | ADVERSARIAL}
    assert moved == {1: False, 2: True}


def test_the_generator_step_leaves_the_discriminator_alone(network, batch):
    discriminator = TaskDiscriminator(spectral_norm=False)
    trainer = trainer_of(network, batch, discriminator=discriminator, adversarial_warmup_epochs=0)
    trainer.state.epoch = 1
    before = parameters(discriminator)
    trainer._generator_step(batch)
    assert not changed(discriminator, before)
    assert all(p.grad is None for p in discriminator.parameters())
    assert all(p.requires_grad for p in discriminator.parameters())


def test_the_discriminator_step_leaves_the_network_alone(network, batch):
    discriminator = TaskDiscriminator()
    trainer = trainer_of(network, batch, discriminator=discriminator, adversarial_warmup_epochs=0)
    trainer.state.epoch = 1
    _, outputs = trainer._generator_step(batch)
    before = parameters(network)
    trainer.optimizer.zero_grad(set_to_none=True)
    trainer._discriminator_step(batch, outputs)
    assert not changed(network, before)
    assert all(p.grad is None for p in network.parameters())


def test_accuracy_of_a_perfect_discriminator_is_one(network, batch):
    class Oracle(torch.nn.Module):
        """Knows that the real half comes first."""

        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(1))

        def forward(self, curve, probabilities, available=None):
            sign = torch.ones(len(curve))
            sign[len(curve) // 2 :] = -1
            return sign * self.weight

    trainer = trainer_of(network, batch, discriminator=Oracle(), batches=1, adversarial_warmup_epochs=0)
    trainer.run()
    assert trainer.state.output[0]["discriminator_accuracy"] == 1.0


def test_a_batch_without_tumour_has_no_discriminator_accuracy(network, batch):
    batch["label"].zero_()
    batch["curve"].zero_()
    batch["tumour_class"].fill_(-1)
    trainer = trainer_of(network, batch, discriminator=TaskDiscriminator(), adversarial_warmup_epochs=0)
    trainer.run()
    assert "discriminator_accuracy" not in trainer.state.output[0]
    assert torch.isfinite(torch.tensor(list(trainer.state.output[0].values()))).all()


def test_gradients_are_clipped(network, batch):
    trainer = trainer_of(network, batch, batches=1, max_gradient_norm=1e-3)
    norms = []
    step = trainer.optimizer.step

    def spy(*args, **kwargs):
        norms.append(torch.stack([p.grad.norm() for p in network.parameters() if p.grad is not None]).norm().item())
        return step(*args, **kwargs)

    trainer.optimizer.step = spy
    trainer.run()
    assert norms[0] == pytest.approx(1e-3, rel=1e-3)


def test_bf16_trains_nearly_as_fp32(network, batch):
    losses = {}
    for amp in (False, True):
        trainer = trainer_of(copy.deepcopy(network).eval(), batch, batches=1, amp=amp)
        torch.manual_seed(1)
        trainer.run()
        losses[amp] = trainer.state.output[0]["loss"]
    assert losses[True] == pytest.approx(losses[False], rel=0.05)
    assert losses[True] != losses[False]


def test_monai_events_fire_in_order(network, batch):
    trainer = trainer_of(network, batch, batches=1)
    fired = []
    for event in IterationEvents:
        trainer.add_event_handler(event, lambda _, name: fired.append(name), event.value)
    trainer.run()
    assert fired == [
        IterationEvents.FORWARD_COMPLETED.value,
        IterationEvents.LOSS_COMPLETED.value,
        IterationEvents.BACKWARD_COMPLETED.value,
        IterationEvents.MODEL_COMPLETED.value,
    ]


def test_it_learns(network, batch):
    trainer = trainer_of(network, batch, discriminator=TaskDiscriminator(), batches=40, adversarial_warmup_epochs=0)
    losses = []
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: losses.append(engine.state.output[0]["loss"]))
    trainer.run()
    assert losses[-1] < 0.5 * losses[0]
