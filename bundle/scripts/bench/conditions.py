"""What every measurement is made on: the bundle's own configs, and a small phantom cohort."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from ..engines.allocator import keep_freed_memory
from ..engines.workflows import CONFIGS
from ..phantom.cohort import SHAPE, write_cohort

_SEED = 5
"""Of the phantom; its validation and test subjects have a lesion."""

_CPU = "$torch.device('cpu')"


@dataclass(frozen=True)
class Conditions:
    """How to measure. The networks have random weights, which cost as much time and memory as trained ones.

    Args:
        work_dir: for the phantom and whatever the measured workflows write.
        runs: measurements of which the median counts, after a warm-up.
        inference: changes to ``inference.yaml``; slices of 256x256, as the targets say, by default.
        training: changes to ``train.yaml``.
        study_shape: voxels of a phantom study.
        gemm_size: side of the square matrices that the machine's peak is measured with.
    """

    work_dir: Path
    runs: int = 5
    inference: Mapping[str, Any] = field(default_factory=lambda: {"image_size": 256})
    training: Mapping[str, Any] = field(default_factory=dict)
    study_shape: tuple[int, int, int] = SHAPE
    gemm_size: int = 2048

    @cached_property
    def dataset_dir(self) -> Path:
        """Four training subjects, one to validate on and one to analyse; made when first asked for."""
        dataset_dir = self.work_dir / "phantom"
        write_cohort(6, _SEED, dataset_dir, split_sizes=[4, 1, 1], shape=self.study_shape)
        return dataset_dir

    def inference_config(self, changes: Mapping[str, Any] | None = None) -> ConfigParser:
        """``inference.yaml`` on the CPU, with these conditions' changes and further ones."""
        return _config("inference.yaml", {"device": _CPU, **self.inference, **(changes or {})})

    def training_config(self, changes: Mapping[str, Any] | None = None) -> ConfigParser:
        """``train.yaml`` on the CPU, the discriminator playing from the first epoch, no validation, likewise.

        What its ``initialize`` does for the process is done here.
        """
        keep_freed_memory()
        own = {
            "device": _CPU,
            "dataset_dir": str(self.dataset_dir),
            "output_dir": str(self.work_dir / "train"),
            "tensorboard": False,
            "adversarial_warmup_epochs": 0,
            "val_interval": 1_000_000,
        }
        return _config("train.yaml", {**own, **self.training, **(changes or {})})


def _config(name: str, changes: Mapping[str, Any]) -> ConfigParser:
    parser = ConfigParser()
    parser.read_config(CONFIGS / name)
    parser.update(dict(changes))
    return parser
