"""The study inferer: a whole four-phase study through the network, and back on its own grid."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
from monai.inferers import Inferer
from torch import nn

from ..domain.prediction import Prediction
from ..domain.study import Study
from ..networks.readouts import tumour_class_probabilities
from ..studies.network_grid import NetworkGrid
from .backends import Backend, make_backend


class StudyInferer(Inferer):
    """Run MTI-Net over every slice of a study, once each, heads included.

    Args:
        size: height and width of the network grid, over a field of view of 384 mm.
        batch_size: slices per pass; 1-2 are fastest on a CPU.
        backend: see ``backends.make_backend``.
        device: where PyTorch runs.
    """

    def __init__(
        self,
        *,
        size: int = 256,
        batch_size: int = 2,
        backend: str = "auto",
        device: torch.device | str = "cpu",
    ) -> None:
        self.size = size
        self.batch_size = batch_size
        self.backend = backend
        self.device = torch.device(device)
        self._prepared: tuple[nn.Module, Backend] | None = None

    def prepare(self, network: nn.Module) -> Backend:
        """Optimise a network for inference, once; its weights must not change afterwards."""
        if self._prepared is None or self._prepared[0] is not network:
            backend = make_backend(self.backend, network, self.device, self.batch_size, self.size)
            self._prepared = (network, backend)
        return self._prepared[1]

    def __call__(self, inputs: Study, network: nn.Module, *args: Any, **kwargs: Any) -> Prediction:
        """Predict one study.

        Args:
            inputs: the study.
            network: MTI-Net.
            args: unused, MONAI's signature.
            kwargs: likewise.

        Returns:
            The prediction on the study's native reference grid.
        """
        backend = self.prepare(network)
        grid = NetworkGrid.of(inputs, self.size)
        image = (grid.to_slices(inputs.image) - np.float32(inputs.offset)) / np.float32(inputs.scale)
        available = np.asarray(inputs.available)
        # A missing phase is zero in normalised units, as phase dropout makes it in training.
        image[:, ~available] = 0.0
        image, count = torch.from_numpy(image), len(image)
        available = torch.from_numpy(available).expand(count, -1)
        times_s = torch.tensor(inputs.times_s, dtype=torch.float32).expand(count, -1)
        start = time.perf_counter()
        parts = [
            backend(
                image[i : i + self.batch_size], available[i : i + self.batch_size], times_s[i : i + self.batch_size]
            )
            for i in range(0, count, self.batch_size)
        ]
        seconds = time.perf_counter() - start
        outputs = {key: torch.cat([part[key] for part in parts]) for key in parts[0]}
        logits = outputs.get("segmentation")
        classes = outputs.get("classification")
        return Prediction(
            tumour=None if logits is None else grid.to_volume(logits.sigmoid()[:, 0].numpy()),
            regression=outputs["regression"].numpy() if "regression" in outputs else None,
            classification=None if classes is None else tumour_class_probabilities(classes).numpy(),
            seconds=seconds,
        )
