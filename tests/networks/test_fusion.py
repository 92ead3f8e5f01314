"""Equation 1 and its variants."""

import math

import numpy as np
import pytest
import torch

from scripts.domain.errors import ConfigurationError
from scripts.networks.fusion import ConcatFusion, WeightedFusion, make_fusion, shannon_entropy


@pytest.fixture
def domains() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(3, 5, 12, 10, generator=generator), 2 * torch.randn(3, 5, 12, 10, generator=generator) + 0.4


def test_unknown_weighting_is_refused():
    with pytest.raises(ConfigurationError, match=r"fusion_weights must be one of .*'entropy'"):
        WeightedFusion(5, weighting="entropy")


def test_equation_1(domains):
    spatial, spectral = (d.double().numpy() for d in domains)
    p_spatial, p_spectral = np.exp(spatial.mean(axis=(2, 3))), np.exp(spectral.mean(axis=(2, 3)))
    gamma_spatial = (p_spatial / (p_spatial + p_spectral))[:, :, None, None]
    gamma_spectral = (p_spectral / (p_spatial + p_spectral))[:, :, None, None]
    expected = spatial * (1 + gamma_spatial) + spectral * (1 + gamma_spectral)
    np.testing.assert_allclose(WeightedFusion(5)(*domains).numpy(), expected, rtol=1e-5, atol=1e-5)


def test_equal_domains_share_their_weight(domains):
    torch.testing.assert_close(WeightedFusion(5)(domains[0], domains[0]), 3 * domains[0])


def test_entropy_of_flat_and_of_peaked_maps():
    flat = torch.full((1, 1, 8, 6), 3.0)
    peaked = flat.clone()
    peaked[0, 0, 2, 3] = 100.0
    assert shannon_entropy(flat).item() == pytest.approx(1.0)
    assert shannon_entropy(peaked).item() == pytest.approx(0.0, abs=1e-6)


def test_entropy_equals_numpy(domains):
    activations = domains[0].double().numpy().reshape(3, 5, -1)
    share = np.exp(activations) / np.exp(activations).sum(axis=-1, keepdims=True)
    expected = -(share * np.log(share)).sum(axis=-1) / math.log(120)
    np.testing.assert_allclose(shannon_entropy(domains[0]).numpy(), expected, rtol=1e-5)


@pytest.mark.parametrize("weighting", ["gap_softmax", "shannon", "learned"])
def test_weights_of_both_domains_sum_to_one(domains, weighting):
    weights = WeightedFusion(5, weighting=weighting).weights(*domains)
    assert weights.shape == (2, 3, 5)
    torch.testing.assert_close(weights.sum(dim=0), torch.ones(3, 5))


def test_only_learned_weights_have_parameters():
    assert not list(WeightedFusion(5).parameters())
    assert not list(WeightedFusion(5, weighting="shannon").parameters())
    assert sum(p.numel() for p in WeightedFusion(5, weighting="learned").parameters()) == 10 * 10 + 10


def test_concatenation_is_linear_without_weights(domains):
    fusion = make_fusion(5, fusion="concat", weighting="gap_softmax", spatial_dims=2)
    assert isinstance(fusion, ConcatFusion)
    weight, bias = fusion.conv.weight[:, :, 0, 0].detach(), fusion.conv.bias.detach()
    expected = torch.einsum("oi,nihw->nohw", weight, torch.cat(domains, dim=1)) + bias[:, None, None]
    torch.testing.assert_close(fusion(*domains).detach(), expected, atol=1e-5, rtol=1e-5)


def test_gradients_reach_both_domains_through_the_weights(domains):
    """d(sum)/dX_spa is (1 + gamma_spa) plus what moves gamma; it is not just the gain."""
    spatial, spectral = (d.double().requires_grad_() for d in domains)
    fusion = WeightedFusion(5)
    assert torch.autograd.gradcheck(
        lambda a, b: fusion(a, b).mean(dim=(2, 3)), (spatial, spectral), atol=1e-4, eps=1e-3
    )
