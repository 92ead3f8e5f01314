"""EI-DDPM: sampling that can be repeated, evidence that can be followed."""

from __future__ import annotations

import pytest
import torch

from scripts.domain.errors import ConfigurationError
from scripts.networks.baselines.ei_ddpm import EvidentialDiffusion, EvidentialDiffusionLoss, QuickSampling


def make(**switches):
    """A small network whose denoiser answers: MONAI's begins with a last layer of zeros."""
    torch.manual_seed(3)
    network = EvidentialDiffusion(**({"channels": (8, 8, 16), "ddim_steps": 3, "samples": 2} | switches)).eval()
    torch.nn.init.normal_(network.denoiser.out[-1].conv.weight, std=0.1)
    return network


@pytest.fixture
def image():
    return torch.randn(2, 4, 32, 48, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize(
    "switches", [{"ddim_steps": 0}, {"ddim_steps": 1001}, {"samples": 0}], ids=["no step", "too many", "no sample"]
)
def test_sampling_out_of_range_is_refused(switches):
    with pytest.raises(ConfigurationError, match="1 to 1000 steps"):
        make(**switches)


def test_training_without_the_mask_is_refused(image):
    with pytest.raises(ConfigurationError, match="give it label"):
        make().train()(image)


def test_the_papers_lengths_are_the_defaults():
    network = EvidentialDiffusion()
    assert network.scheduler.num_train_timesteps == 1000
    assert (network.ddim_steps, network.samples) == (50, 5)
    assert len(network.scheduler.timesteps) == 50


@torch.inference_mode()
def test_the_seed_decides(image):
    answers = []
    for seed, state in ((0, 1), (0, 2), (1, 1)):
        network = make(seed=seed)
        torch.manual_seed(state)
        answers.append(network(image)["segmentation"])
    torch.testing.assert_close(answers[0], answers[1], atol=0, rtol=0)
    assert not torch.allclose(answers[0], answers[2])


@torch.inference_mode()
def test_a_slice_does_not_depend_on_its_neighbours(image):
    network = make()
    torch.testing.assert_close(network(image)["segmentation"][1:], network(image[1:])["segmentation"])


@torch.inference_mode()
def test_sampling_leaves_the_global_randomness_alone(image):
    network, before = make(), torch.random.get_rng_state()
    network(image)
    assert torch.equal(torch.random.get_rng_state(), before)


class KnowsTheMask(torch.nn.Module):
    """A denoiser that is always right, and notes what it was asked."""

    def __init__(self, masks):
        super().__init__()
        self.masks = masks
        self.steps, self.phases = [], []

    def forward(self, x, timesteps, class_labels):
        self.steps.append(timesteps.unique().tolist())
        self.phases.append(class_labels.tolist())
        return self.masks.repeat_interleave(len(x) // len(self.masks), dim=0)


@torch.inference_mode()
def test_a_right_denoiser_restores_the_mask_from_noise(image):
    masks = torch.where(torch.rand(2, 1, 32, 48) > 0.5, 1.0, -1.0)
    network = make(ddim_steps=4)
    network.denoiser = KnowsTheMask(masks)
    restored = network._sampled(image)
    torch.testing.assert_close(restored, masks[:, None].expand(2, 2, 4, 32, 48))
    assert network.denoiser.steps == [[999], [749], [499], [249]]
    assert network.denoiser.phases[0] == [0, 1, 2, 3] * 4


@pytest.mark.parametrize("ddim_steps", [1, 2, 3, 10, 50])
def test_the_denoiser_is_told_the_noise_that_there_is(ddim_steps):
    """DDIM (Song et al. 2021, eq. 12): a step ends at the noise that the next one is told, the last at none."""
    scheduler = make(ddim_steps=ddim_steps).scheduler
    told = scheduler.timesteps.tolist()
    reached = [step - scheduler.num_train_timesteps // ddim_steps for step in told]
    assert reached == [*told[1:], -1]
    assert told[0] >= 0.99 * scheduler.num_train_timesteps - 1


def test_training_denoises_each_phase_on_its_own_image(image):
    network = make().train()
    label = (torch.rand(2, 1, 32, 48) > 0.5).float()

    def denoised(x):
        torch.manual_seed(0)
        return network(x, label=label)["denoised"]

    other = image.clone()
    other[:, 1] += 1.0
    changed = (denoised(image) - denoised(other)).abs().amax(dim=(0, 2, 3)) > 1e-6
    assert changed.tolist() == [False, True, False, False]


@torch.inference_mode()
def test_an_unreliable_phase_has_no_say(image):
    network = make()
    masks = torch.randn(2, 1, 4, 32, 48)
    available = torch.ones(2, 4, dtype=torch.bool)
    without = available.clone()
    without[:, 2] = False
    network.reliability[2] = -100.0
    torch.testing.assert_close(network._fused(masks, image, available), network._fused(masks, image, without))


@torch.inference_mode()
def test_quick_sampling_is_for_a_while(image):
    network = make()
    quick = QuickSampling(ddim_steps=1, samples=1)(image, network, torch.ones(2, 4, dtype=torch.bool))
    torch.testing.assert_close(quick, make(ddim_steps=1, samples=1)(image))
    assert (network.ddim_steps, network.samples) == (3, 2)
    assert len(network.scheduler.timesteps) == 3


class TestLoss:
    @pytest.fixture
    def batch(self):
        label = torch.zeros(2, 1, 8, 8)
        label[0, :, 2:5, 3:6] = 1.0
        return {"label": label, "available": torch.tensor([[True] * 4, [True, True, False, True]])}

    @staticmethod
    def outputs_of(batch, sharpness=50.0):
        mask = 2.0 * batch["label"] - 1.0
        return {"segmentation": sharpness * mask, "denoised": mask.expand(2, 4, 8, 8).clone()}

    def test_right_answers_cost_nothing(self, batch):
        terms = EvidentialDiffusionLoss()(self.outputs_of(batch), batch)
        assert terms["total"].item() == pytest.approx(0.0, abs=1e-3)

    def test_an_absent_phase_costs_nothing(self, batch):
        outputs = self.outputs_of(batch)
        outputs["denoised"][1, 2] += 3.0
        assert EvidentialDiffusionLoss()(outputs, batch)["diffusion"].item() == 0.0
        outputs["denoised"][1, 3] += 3.0
        assert EvidentialDiffusionLoss()(outputs, batch)["diffusion"].item() == pytest.approx(9.0 / 7.0)

    def test_total_is_the_weighted_sum(self, batch):
        outputs = self.outputs_of(batch, sharpness=0.5)
        outputs["denoised"] += 1.0
        terms = EvidentialDiffusionLoss(diffusion=0.5, segmentation=2.0)(outputs, batch)
        expected = 0.5 * terms["diffusion"] + 2.0 * terms["segmentation"]
        torch.testing.assert_close(terms["total"], expected)
