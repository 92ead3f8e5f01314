"""The task-driven discriminator."""

import pytest
import torch

from scripts.networks.discriminator import TaskDiscriminator

CURVE = torch.tensor([[0.0, 1.2, 0.8, 0.3], [-0.2, 0.1, 0.4, 0.9], [0.1, 0.5, 0.5, 0.5]])
PROBABILITIES = torch.tensor([[0.1, 0.9], [0.7, 0.3], [0.5, 0.5]])


def _make(**switches) -> TaskDiscriminator:
    torch.manual_seed(0)
    return TaskDiscriminator(**switches)


@pytest.mark.parametrize("classes", [2, 3])
def test_one_logit_a_slice(classes):
    assert _make(classes=classes)(CURVE, torch.full((3, classes), 1 / classes)).shape == (3,)


def test_documented_size():
    count = sum(p.numel() for p in _make(spectral_norm=False).parameters())
    assert f"{count:,} parameters" in TaskDiscriminator.__doc__


def test_order_of_the_phases_matters():
    discriminator = _make().eval()
    swapped = CURVE[:, [1, 0, 2, 3]]
    assert not torch.allclose(discriminator(CURVE, PROBABILITIES), discriminator(swapped, PROBABILITIES))


def test_both_inputs_get_gradients():
    curve, probabilities = CURVE.clone().requires_grad_(), PROBABILITIES.clone().requires_grad_()
    _make()(curve, probabilities).sum().backward()
    assert curve.grad.abs().min() > 0
    assert probabilities.grad.abs().min() > 0


def test_gradient_reaches_every_parameter():
    discriminator = _make(spectral_norm=False)
    (discriminator(CURVE, PROBABILITIES) ** 2).sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in discriminator.parameters())


def test_absent_phases_are_not_read():
    discriminator = _make().eval()
    available = torch.tensor([[True, True, False, True]]).expand(3, -1)
    changed = CURVE.clone()
    changed[:, 2] = float("nan")
    here, there = (discriminator(curve, PROBABILITIES, available) for curve in (CURVE, changed))
    torch.testing.assert_close(here, there, rtol=0, atol=0)
    assert not torch.allclose(discriminator(CURVE, PROBABILITIES), here)


def test_spectral_norm_bounds_every_linear_layer():
    discriminator = _make()
    for _ in range(30):
        discriminator(CURVE, PROBABILITIES)
    discriminator.eval()
    layers = [m for m in discriminator.modules() if isinstance(m, torch.nn.Linear)]
    norms = torch.stack([torch.linalg.matrix_norm(layer.weight, ord=2) for layer in layers])
    torch.testing.assert_close(norms, torch.ones(len(layers)), atol=0.05, rtol=0)
    assert not any("parametrizations" in key for key in _make(spectral_norm=False).state_dict())


def test_restored_state_continues_bit_for_bit(tmp_path):
    """Power iteration moves on with every training pass; its vectors travel in the state."""

    def step(network: TaskDiscriminator, optimizer: torch.optim.Optimizer) -> None:
        optimizer.zero_grad()
        network(CURVE, PROBABILITIES).sum().backward()
        optimizer.step()

    through = _make().train()
    optimizer = torch.optim.SGD(through.parameters(), lr=0.1)
    step(through, optimizer)
    torch.save(through.state_dict(), tmp_path / "discriminator.pt")
    torch.manual_seed(99)
    resumed = TaskDiscriminator().train()
    resumed.load_state_dict(torch.load(tmp_path / "discriminator.pt", weights_only=True))
    step(through, optimizer)
    step(resumed, torch.optim.SGD(resumed.parameters(), lr=0.1))
    for key, value in through.state_dict().items():
        assert torch.equal(resumed.state_dict()[key], value), key


def test_bfloat16_autocast():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert _make()(CURVE, PROBABILITIES).dtype == torch.float32
