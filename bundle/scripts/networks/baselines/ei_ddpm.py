"""EI-DDPM, in the spirit of Zhao & Li, MICCAI 2023, whose code is not public.

Our reading of "evidence-identified denoising diffusion probabilistic models": one diffusion path a phase, conditioned
on the phase's image, denoises the tumour mask; an evidence layer turns mask and image into Dempster-Shafer masses of
background, tumour and "unknown"; contextual discounting weighs them by what the phase can be trusted with; Dempster's
rule combines the phases.

What is open and decided here: the paths share one denoiser, told apart by a learned embedding of the phase, as the
phases share MTI-Net's encoder; and the denoiser predicts the clean mask, not the noise, as an estimate from predicted
noise is useless to the evidence layer at noisy steps.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from monai.inferers import Inferer
from monai.losses import DiceLoss
from monai.networks.nets import DiffusionModelUNet
from monai.networks.schedulers import DDIMScheduler
from torch import Tensor, nn
from torch.nn import functional as F

from ...domain.errors import ConfigurationError
from ...domain.phases import PHASES
from ...losses import segmentation_loss
from ..evidence import FOCAL_SETS, combine, discount, ignore_absent, tumour_logits
from ..slice_network import SliceNetwork


class EvidentialDiffusion(SliceNetwork):
    """One mask-denoising diffusion path a phase, joined by discounted evidence.

    Training, which takes the mask too, is one denoising step from a random time. Evaluation is DDIM sampling that adds
    no noise of its own, from starting noise that only ``seed`` decides and that all slices share: a slice's answer
    depends neither on the slices beside it nor on the run.

    Args:
        channels: of the denoiser's levels; the last one has self-attention.
        train_steps: T, diffusion steps of training.
        ddim_steps: denoising steps of sampling.
        samples: masks sampled for each phase; their masses are averaged.
        seed: of the starting noise.

    Raises:
        ConfigurationError: ``ddim_steps`` or ``samples`` out of range.
    """

    learns_from_label = True
    traceable = False

    def __init__(
        self,
        *,
        channels: Sequence[int] = (16, 32, 64, 128),
        train_steps: int = 1000,
        ddim_steps: int = 50,
        samples: int = 5,
        seed: int = 0,
    ) -> None:
        super().__init__(stride=2 ** (len(channels) - 1))
        self.denoiser = DiffusionModelUNet(
            spatial_dims=2,
            in_channels=2,
            out_channels=1,
            channels=channels,
            attention_levels=[False] * (len(channels) - 1) + [True],
            num_res_blocks=1,
            norm_num_groups=min(channels[0], 32),
            num_head_channels=channels[-1] // 2,
            num_class_embeds=len(PHASES),
        )
        # The convolution's neighbourhood lets the layer see how ragged a mask is.
        self.evidence = nn.Sequential(nn.Conv2d(2, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, len(FOCAL_SETS), 1))
        # Reliability of every phase about background and tumour, .88 to begin with.
        self.reliability = nn.Parameter(torch.full((len(PHASES), 2), 2.0))
        self.scheduler = DDIMScheduler(train_steps, prediction_type="sample")
        self.seed = seed
        self._set_sampling(ddim_steps, samples)

    @contextmanager
    def sampling(self, *, ddim_steps: int, samples: int) -> Iterator[None]:
        """Sample otherwise for a while."""
        usual = self.ddim_steps, self.samples
        self._set_sampling(ddim_steps, samples)
        try:
            yield
        finally:
            self._set_sampling(*usual)

    def forward(
        self,
        image: Tensor,
        available: Tensor | None = None,
        times_s: Tensor | None = None,
        label: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Segment a slice; in training, denoise its mask.

        Args:
            image: ``(B, 4, H, W)``.
            available: ``(B, 4)`` bool.
            times_s: ``(B, 4)``, not used.
            label: ``(B, 1, H, W)`` mask, in training only.

        Returns:
            ``segmentation (B, 1, H, W)`` logits; in training also ``denoised (B, 4, H, W)``, the mask that each phase's
            path restores, -1 background and 1 tumour.

        Raises:
            ConfigurationError: training without ``label``.
        """
        image, available, _ = self.complete(image, available, times_s)
        if not self.training:
            return {"segmentation": self._fused(self._sampled(image), image, available)}
        if label is None:
            msg = "EvidentialDiffusion learns to denoise the mask: give it label in training, or call eval() first."
            raise ConfigurationError(msg)
        denoised = self._denoised_from_random_step(image, label)
        return {"segmentation": self._fused(denoised[:, None], image, available), "denoised": denoised}

    def _set_sampling(self, ddim_steps: int, samples: int) -> None:
        if not 1 <= ddim_steps <= self.scheduler.num_train_timesteps or samples < 1:
            msg = (
                f"ddim_steps={ddim_steps}, samples={samples}: give 1 to {self.scheduler.num_train_timesteps} steps "
                "and at least one sample."
            )
            raise ConfigurationError(msg)
        self.ddim_steps, self.samples = ddim_steps, samples
        self.scheduler.set_timesteps(ddim_steps)
        # MONAI spaces the steps otherwise than its step() walks them: the denoiser would be told too little noise.
        stride = self.scheduler.num_train_timesteps // ddim_steps
        self.scheduler.timesteps = torch.arange(ddim_steps, 0, -1) * stride - 1

    def _denoised_from_random_step(self, image: Tensor, label: Tensor) -> Tensor:
        """``(B, 4, H, W)``: every phase from noise of its own, all of a slice from the same step, as in sampling."""
        masks = (2.0 * label.float() - 1.0).expand_as(image)
        steps = torch.randint(self.scheduler.num_train_timesteps, (len(image),), device=image.device)
        noisy = self.scheduler.add_noise(masks, torch.randn_like(masks), steps)
        return self._denoise(noisy, image, steps)

    def _sampled(self, image: Tensor) -> Tensor:
        """Masks restored from noise alone, ``(B, samples, 4, H, W)``."""
        slices = len(image)
        # From the CPU's generator, so that every device starts from the same noise.
        generator = torch.Generator().manual_seed(self.seed)
        noise = torch.randn(self.samples, *image.shape[1:], generator=generator).to(image.device)
        masks = noise.repeat(slices, 1, 1, 1)
        images = image.repeat_interleave(self.samples, dim=0)
        for step in self.scheduler.timesteps.tolist():
            steps = torch.full((len(images),), step, device=image.device)
            masks, _ = self.scheduler.step(self._denoise(masks, images, steps), step, masks)
        return masks.unflatten(0, [slices, self.samples])

    def _denoise(self, noisy: Tensor, image: Tensor, steps: Tensor) -> Tensor:
        """Clean masks of noisy ones ``(N, 4, H, W)``, each phase on its own image, at diffusion steps ``(N,)``."""
        phases = torch.arange(len(PHASES), device=image.device).repeat(len(image))
        inputs = torch.stack([noisy, image], dim=2).flatten(0, 1)
        denoised = self.denoiser(inputs, steps.repeat_interleave(len(PHASES)), class_labels=phases)
        return denoised.float().view_as(image)

    def _fused(self, masks: Tensor, image: Tensor, available: Tensor) -> Tensor:
        """Logits ``(B, 1, H, W)`` from the evidence in ``samples`` masks a phase, ``(B, samples, 4, H, W)``."""
        inputs = torch.stack([masks, image[:, None].expand_as(masks)], dim=3)
        masses = self.evidence(inputs.flatten(0, 2)).float().softmax(dim=1).unflatten(0, list(masks.shape[:3]))
        masses = discount(masses.mean(dim=1), self.reliability.sigmoid())
        return tumour_logits(combine(ignore_absent(masses, available)))


class EvidentialDiffusionLoss(nn.Module):
    """Squared error of the denoised masks, phases that are there, plus cross-entropy and Dice of what they add up to.

    Args:
        diffusion: weight of the squared error.
        segmentation: weight of the rest.
    """

    def __init__(self, *, diffusion: float = 1.0, segmentation: float = 1.0) -> None:
        super().__init__()
        self.weights = {"diffusion": diffusion, "segmentation": segmentation}
        self.dice = DiceLoss(sigmoid=True, batch=True)

    def forward(
        self, outputs: Mapping[str, Tensor], batch: Mapping[str, Any], fake_logits: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Unweighted terms and ``total``, as ``MultiTaskLoss``; ``fake_logits`` is not used.

        Args:
            outputs: of the network in training.
            batch: ``label (B, 1, H, W)`` and ``available (B, 4)``.
            fake_logits: no discriminator plays.
        """
        mask, available = batch["label"].float(), batch["available"]
        with torch.autocast(device_type=mask.device.type, enabled=False):
            logits, denoised = outputs["segmentation"].float(), outputs["denoised"].float()
            error = F.mse_loss(denoised, (2.0 * mask - 1.0).expand_as(denoised), reduction="none").mean(dim=(2, 3))
            terms = {
                "diffusion": (error * available).sum() / available.sum().clamp(min=1),
                "segmentation": segmentation_loss(logits, mask) + self.dice(logits, mask),
            }
            total = sum(self.weights[name] * term for name, term in terms.items())
        return {**terms, "total": total}


class QuickSampling(Inferer):
    """Validation while training with fewer steps and samples: at full length it would take longer than the training.

    Args:
        ddim_steps: denoising steps.
        samples: masks of each phase.
    """

    def __init__(self, *, ddim_steps: int = 10, samples: int = 1) -> None:
        self.ddim_steps = ddim_steps
        self.samples = samples

    def __call__(self, inputs: Tensor, network: nn.Module, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        """Call ``network(inputs, *args, **kwargs)``, an ``EvidentialDiffusion`` or its DDP wrapper."""
        with getattr(network, "module", network).sampling(ddim_steps=self.ddim_steps, samples=self.samples):
            return network(inputs, *args, **kwargs)
