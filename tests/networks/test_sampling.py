"""Monte-Carlo dropout: answers that differ, and nothing else that does."""

import pytest
import torch

from scripts.domain.errors import ConfigurationError
from scripts.networks.sampling import draw


@pytest.fixture
def network(make_network, train_switches):
    return make_network(**train_switches, decoder_dropout=0.4, dropout=0.2)


@pytest.fixture
def inputs(image):
    return image, torch.ones(2, 4, dtype=torch.bool), torch.tensor([0.0, 30.0, 70.0, 180.0]).expand(2, -1)


def test_a_network_without_a_decoder_is_refused(make_network, inputs):
    with pytest.raises(ConfigurationError, match="network that segments"):
        draw(make_network(tasks=["classification"]), *inputs, samples=4)


def test_one_sample_is_no_sampling(network, inputs):
    with pytest.raises(ConfigurationError, match="at least 2 samples; got 1"):
        draw(network, *inputs, samples=1)


def test_samples_differ_from_each_other(network, inputs):
    drawn = draw(network, *inputs, samples=3)
    assert drawn.tumour.shape == (3, 2, 96, 80)
    assert drawn.classes.shape == (3, 2, 2)
    assert not torch.equal(drawn.tumour[0], drawn.tumour[1])
    assert not torch.equal(drawn.classes[0], drawn.classes[1])
    torch.testing.assert_close(drawn.classes.sum(dim=2), torch.ones(3, 2))


def test_without_any_dropout_every_sample_is_the_networks_answer(make_network, train_switches, inputs):
    network = make_network(**train_switches, dropout=0.0)
    drawn = draw(network, *inputs, samples=2)
    plain = network(*inputs)
    torch.testing.assert_close(drawn.tumour[1], plain["segmentation"].sigmoid()[:, 0])
    torch.testing.assert_close(drawn.classes[1], plain["classification"].softmax(dim=1))


def test_dropout_is_injected_into_weights_that_never_saw_it(make_network, train_switches, inputs):
    network = make_network(**train_switches, dropout=0.0)
    drawn = draw(network, *inputs, samples=2, injected=0.5)
    assert not torch.equal(drawn.tumour[0], drawn.tumour[1])


def test_the_network_and_the_callers_random_numbers_are_left_alone(network, inputs):
    before, state = network(*inputs), torch.get_rng_state()
    statistics = {name: value.clone() for name, value in network.state_dict().items()}
    draw(network, *inputs, samples=2, injected=0.5)
    assert torch.equal(torch.get_rng_state(), state)
    assert network.decoder.dropout.p == 0.4
    assert not any(module.training for module in network.modules())
    assert all(torch.equal(value, statistics[name]) for name, value in network.state_dict().items())
    torch.testing.assert_close(network(*inputs)["segmentation"], before["segmentation"])


def test_the_same_seed_draws_the_same(network, inputs):
    one, same, other = (draw(network, *inputs, samples=2, seed=seed).tumour for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_a_network_without_heads_has_no_classes(make_network, inputs):
    assert draw(make_network(tasks=["segmentation"], decoder_dropout=0.3), *inputs, samples=2).classes is None
