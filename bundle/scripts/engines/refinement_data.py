"""Patches for training the refinement: studies with faulty starting points, clicked by a simulated reader."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from ..studies.augmentation import Augmentation, drop_phases
from .refinement import from_rough
from .refinement_clicks import Click, depth_inside, errors_of
from .refinement_faults import faulty, roughly_drawn
from .refinement_patches import PATCH, cut, guidance, origin_around
from .refinement_start import StartedSubject

_ROUGH_SHARE = 0.15
_FAULTY_SHARE = 0.6
_WITH_LESION_SHARE = 0.92
_LIGHT = Augmentation()


class RefinementDataset(Dataset):
    """A new random patch for every index and epoch.

    An item is a dict of ``patch`` ``(9, S, H, W)`` float32, the input of ``RefinementNet``; ``label``
    ``(1, S, H, W)`` float32, the part of a pixel that is tumour; ``further``, how many more clicks the trainer is to
    make, on the network's own faults; and ``spacing_mm`` ``(3,)``. All that is random derives from (seed, epoch,
    index).

    Args:
        subjects: with their starting points.
        samples: an epoch.
        seed: of everything random.
        phase_dropout: probability of dropping one or two phases.
    """

    def __init__(
        self, subjects: Sequence[StartedSubject], *, samples: int = 400, seed: int = 0, phase_dropout: float = 0.1
    ) -> None:
        self.subjects = list(subjects)
        self.samples = samples
        self.seed = seed
        self.phase_dropout = phase_dropout
        self.epoch = 0
        has_lesion = [bool(s.truth.any()) for s in self.subjects]
        self._with = [i for i, has in enumerate(has_lesion) if has]
        self._without = [i for i, has in enumerate(has_lesion) if not has]

    def set_epoch(self, epoch: int) -> None:
        """Start the epoch's streams of random numbers."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.samples

    def __getitem__(self, index: int) -> dict[str, Any]:
        rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(self.epoch, index)))
        chosen = self._with if not self._without or rng.random() < _WITH_LESION_SHARE else self._without
        subject = self.subjects[chosen[rng.integers(len(chosen))]]
        truth = subject.truth
        rough = truth.any() and rng.random() < _ROUGH_SHARE
        if rough:
            drawn = roughly_drawn(truth, subject.spacing_mm, rng)
            start = from_rough(subject.probability.astype(np.float32), drawn)
        elif rng.random() < _FAULTY_SHARE:
            start = faulty(subject.probability, truth, subject.spacing_mm, rng)
        else:
            start = subject.probability.astype(np.float32)
        clicks = simulated_clicks(truth, start >= 0.5, subject.spacing_mm, rng, least=0 if rough else 1)
        centre = clicks[-1].index if clicks else _middle(start >= 0.5)
        origin = origin_around(centre, truth.shape)
        available = drop_phases(subject.arrays.available, self.phase_dropout, rng)
        image = self._image(subject, origin, available, rng)
        patch = np.concatenate([image, cut(start[None], origin), guidance(image, clicks, origin, subject.spacing_mm)])
        label = cut(subject.share[None], origin)
        mirrored = [axis for axis in (1, 2, 3) if rng.random() < 0.5]
        return {
            "patch": torch.from_numpy(np.flip(patch, mirrored).copy()),
            "label": torch.from_numpy(np.flip(label, mirrored).copy()),
            "further": torch.tensor(int(rng.integers(0, 3))),
            "spacing_mm": torch.tensor(subject.spacing_mm, dtype=torch.float64),
        }

    def _image(
        self, subject: StartedSubject, origin: tuple[int, int, int], available: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        volume = np.moveaxis(subject.arrays.image[origin[0] : origin[0] + PATCH[0]], 1, 0)
        image = cut(volume, (0, *origin[1:]))
        # Augmentation changes one slice at a time: the patch's slices one below the other are one.
        stacked = torch.from_numpy(image.reshape(len(image), -1, image.shape[-1]))
        stacked = _LIGHT.add_noise(_LIGHT.brighten(stacked, subject.arrays.air, rng), rng)
        image = stacked.numpy().reshape(image.shape)
        image[~available] = 0.0
        return image


def simulated_clicks(
    truth: np.ndarray,
    predicted: np.ndarray,
    spacing_mm: tuple[float, float, float],
    rng: np.random.Generator,
    *,
    least: int = 1,
    most: int = 3,
) -> list[Click]:
    """Clicks on what is wrong, large regions more often; where nothing is, on what is right.

    Args:
        truth: ``(S, H, W)`` bool.
        predicted: likewise.
        spacing_mm: between slices, rows and columns.
        rng: source of the choice.
        least: number of clicks.
        most: likewise.
    """
    errors = errors_of(truth, predicted)
    clicks: list[Click] = []
    for _ in range(int(rng.integers(least, most + 1))):
        if not errors:
            clicks.append(_click_on_truth(truth, rng))
            continue
        sizes = np.sqrt([component.voxels for component, _ in errors])
        component, missed = errors[rng.choice(len(errors), p=sizes / sizes.sum())]
        depth_mm = depth_inside(component, spacing_mm, clicks)
        deep = np.argwhere(depth_mm >= rng.uniform(0.4, 1.0) * max(depth_mm.max(), 1e-6))
        if len(deep):
            place = deep[rng.integers(len(deep))] + [s.start for s in component.box]
            clicks.append(Click(tuple(int(i) for i in place), missed))
    return clicks or [_click_on_truth(truth, rng)] * least


def _click_on_truth(truth: np.ndarray, rng: np.random.Generator) -> Click:
    places = np.argwhere(truth)
    if len(places) and rng.random() < 0.5:
        return Click(tuple(int(i) for i in places[rng.integers(len(places))]), lesion=True)
    margin = np.array([0, truth.shape[1] // 4, truth.shape[2] // 4])
    place = rng.integers(margin, np.array(truth.shape) - margin)
    return Click(tuple(int(i) for i in place), lesion=bool(truth[tuple(place)]))


def _middle(mask: np.ndarray) -> tuple[float, float, float]:
    places = np.argwhere(mask)
    return tuple(places.mean(axis=0)) if len(places) else tuple(n / 2 for n in mask.shape)
