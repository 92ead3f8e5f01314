"""What the refinement starts from: the network's own tumour probability of a study, kept for the next start."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import nn
from tqdm import tqdm

from ..domain.writing import replace_when_written
from ..studies.case import Case
from ..studies.network_grid import NetworkGrid
from ..studies.reading import read_study
from ..studies.slice_cache import SubjectArrays, load_subjects
from .inferer import StudyInferer
from .weights import load_network, model_identity


@dataclass(frozen=True, eq=False)
class StartedSubject:
    """A labelled subject on the network grid, with what the network says about it.

    Args:
        arrays: its image.
        share: ``(S, size, size)`` float16, the part of each pixel that is tumour; finer than the label of ``arrays``.
        probability: ``(S, size, size)`` float16 of tumour, there and back over the study's own grid, as the
            refinement will see it.
        slice_mm: distance of the slices.
        pixel_mm: of the network grid.
    """

    arrays: SubjectArrays
    share: np.ndarray
    probability: np.ndarray
    slice_mm: float
    pixel_mm: float

    @property
    def truth(self) -> np.ndarray:
        """Pixels that are more than half tumour, ``(S, size, size)`` bool."""
        return self.share >= 0.5

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Between slices, rows and columns."""
        return (self.slice_mm, self.pixel_mm, self.pixel_mm)


def started_subjects(
    cases: Sequence[Case], network: nn.Module, ckpt_path: str, inferer: StudyInferer, cache_dir: str | Path
) -> list[StartedSubject]:
    """Analyse labelled cases, or take what was kept; a stopped call goes on where it was.

    Args:
        cases: labelled cases.
        network: MTI-Net; gets the weights.
        ckpt_path: its weights, by whose SHA-256 the kept files are told apart.
        inferer: the study inferer.
        cache_dir: folder of the slices and of the probabilities.

    Returns:
        One entry a case, in their order.

    Raises:
        StudyError: a file is unusable.
        DatasetError: a case has no label.
        CheckpointError: the weights cannot be loaded.
    """
    load_network(network, ckpt_path)
    weights = model_identity("", ckpt_path)["weights_sha256"][:16]
    subjects = load_subjects(cases, inferer.size, cache_dir)
    return [
        _started(subject, network, inferer, Path(cache_dir) / f"{subject.case.case}-{inferer.size}-{weights}.npz")
        for subject in tqdm(subjects, desc="starting points", unit="study")
    ]


def _started(subject: SubjectArrays, network: nn.Module, inferer: StudyInferer, kept: Path) -> StartedSubject:
    if not kept.is_file():
        study = read_study(subject.case)
        grid = NetworkGrid.of(study, inferer.size)
        probability = grid.to_slices(inferer(study, network).tumour[None])[:, 0]
        with replace_when_written(kept) as aside:
            np.savez(
                aside,
                share=grid.to_slices((study.label > 0)[None])[:, 0].astype(np.float16),
                probability=probability.astype(np.float16),
                slice_mm=study.spacing_mm[study.slice_axis],
                pixel_mm=grid.pixel_mm,
            )
    with np.load(kept) as stored:
        return StartedSubject(
            arrays=subject,
            share=stored["share"],
            probability=stored["probability"],
            slice_mm=float(stored["slice_mm"]),
            pixel_mm=float(stored["pixel_mm"]),
        )
