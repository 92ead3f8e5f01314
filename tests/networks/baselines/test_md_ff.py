"""MD-FF: its evidence, its gates and what the phases share."""

import torch
from torch.nn import functional as F

from scripts.networks.baselines.md_ff import MDFF, GatedLevel, PhasePath, SharedFeatureFusion, subjective_masses


def test_masses_of_subjective_logic():
    evidence = torch.tensor([[0.0, 0.0], [3.0, 1.0], [0.0, 98.0]])[:, :, None, None]
    expected = torch.tensor([[0.0, 0.0, 1.0], [0.5, 1 / 6, 1 / 3], [0.0, 0.98, 0.02]])
    torch.testing.assert_close(subjective_masses(evidence)[:, :, 0, 0], expected)


@torch.inference_mode()
def test_attention_gate_by_its_formula():
    """Oktay et al. 2018, eq. 1: ``sigmoid(psi(relu(W_x x + W_g g))) x``."""
    torch.manual_seed(0)
    gate = GatedLevel(8, 6).eval().gate
    deep, skip = torch.randn(2, 6, 4, 6), torch.randn(2, 6, 4, 6)

    def projected(maps, sequence):
        convolution, norm = (next(m for m in sequence.modules() if isinstance(m, kind)) for kind in KINDS)
        maps = F.conv2d(maps, convolution.weight, convolution.bias)
        return F.batch_norm(maps, norm.running_mean, norm.running_var, norm.weight, norm.bias)

    mixed = (projected(deep, gate.W_g) + projected(skip, gate.W_x)).clamp(min=0)
    expected = skip * torch.sigmoid(projected(mixed, gate.psi))
    torch.testing.assert_close(gate(g=deep, x=skip), expected)


KINDS = (torch.nn.Conv2d, torch.nn.BatchNorm2d)


@torch.inference_mode()
def test_evidence_is_never_negative():
    path = PhasePath((4, 8, 8)).eval()
    maps = path.encode(torch.randn(2, 1, 16, 24))
    assert [tuple(m.shape) for m in maps] == [(2, 4, 16, 24), (2, 8, 8, 12), (2, 8, 4, 6)]
    evidence = path.decode(maps, maps[-1])
    assert evidence.shape == (2, 2, 16, 24)
    assert (evidence >= 0).all()


@torch.inference_mode()
def test_every_phase_hears_of_every_other():
    torch.manual_seed(0)
    share = SharedFeatureFusion(6).eval()
    maps = [torch.randn(1, 6, 4, 4) for _ in range(4)]
    before = share(maps)
    maps[0] = maps[0] + 1.0
    assert all(not torch.allclose(x, y) for x, y in zip(before, share(maps), strict=True))


@torch.inference_mode()
def test_without_a_gate_a_phase_keeps_to_itself():
    share = SharedFeatureFusion(6).eval()
    for gate in share.gates:
        gate[2].weight.zero_()
        gate[2].bias.fill_(-100.0)
    maps = [torch.randn(1, 6, 4, 4) for _ in range(4)]
    torch.testing.assert_close(share(maps), maps)


def test_four_paths_of_their_own():
    network = MDFF(widths=(4, 8, 8))
    assert len({id(parameter) for path in network.paths for parameter in path.parameters()}) == 4 * len(
        list(network.paths[0].parameters())
    )
