"""Refines a study's tumour probability by a reader's clicks or rough mask."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from ..domain.errors import ConfigurationError, StudyError
from ..domain.study import Study
from ..results.components import find_components
from ..studies.network_grid import NetworkGrid
from .refinement_clicks import Click
from .refinement_patches import PATCH, Origin, cut, guidance, origin_around, origins_over, say

ROUGH = (0.05, 0.95)
"""The probability of no lesion and of lesion where a reader's rough mask contradicts the network."""

OBEYED_MM = 2.0
"""A click decides about its slice up to this distance, whatever the network makes of it."""


class Refiner:
    """A reader's clicks and a probability in, the corrected probability out.

    All clicks are answered together from the probability before the first of them, so that their order does not
    matter and the same clicks always give the same answer.

    Args:
        network: a trained ``RefinementNet``; put into evaluation mode.
        size: pixels of the network grid.
        device: where it runs.
    """

    def __init__(self, network: nn.Module, *, size: int = 128, device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)
        self.network = network.to(self.device, memory_format=torch.channels_last_3d).eval()
        self.size = size

    def __call__(
        self, study: Study, tumour: np.ndarray, clicks: Sequence[Click] = (), *, rough: np.ndarray | None = None
    ) -> np.ndarray:
        """Refine on the study's own grid.

        Where no patch reaches, the probability stays exactly as it was.

        Args:
            study: the study.
            tumour: ``(X, Y, Z)`` probability of tumour, the network's own.
            clicks: in voxels of the study.
            rough: ``(X, Y, Z)`` bool, a mask to start from; ``tumour`` counts where it agrees (``from_rough``).
                Alone it is refined in all its regions, with clicks around these.

        Returns:
            ``(X, Y, Z)`` float32, probability of tumour.

        Raises:
            ConfigurationError: neither clicks nor a rough mask, or a click outside the study.
            StudyError: ``tumour`` or ``rough`` is not on the study's grid.
        """
        shape = study.image.shape[1:]
        _check(study, tumour, rough, clicks)
        start = tumour.astype(np.float32) if rough is None else from_rough(tumour, rough)
        grid = NetworkGrid.of(study, self.size)
        # Slice by slice in memory, or resampling takes ten times as long.
        slices = np.ascontiguousarray(np.moveaxis(start, study.slice_axis, 0))
        probability = grid.to_slices(np.moveaxis(slices, 0, study.slice_axis)[None])[:, 0]
        on_slices = [Click(to_slices(click.index, grid), click.lesion) for click in clicks]
        origins = [origin_around(click.index, probability.shape) for click in on_slices]
        if not clicks:
            for region in find_components(probability >= 0.5)[0]:
                origins += origins_over(region.box, probability.shape)
        image = self._image(study, grid, origins)
        spacing_mm = (study.spacing_mm[study.slice_axis], grid.pixel_mm, grid.pixel_mm)
        refined = self.on_slices(image, probability, on_slices, spacing_mm, list(dict.fromkeys(origins)))
        result = np.clip(start + grid.to_volume(refined - probability), 0.0, 1.0)
        for click in clicks:
            _obey(result, click, study)
        return result.reshape(shape)

    def on_slices(
        self,
        image: np.ndarray,
        probability: np.ndarray,
        clicks: Sequence[Click],
        spacing_mm: Sequence[float],
        origins: Sequence[Origin] | None = None,
    ) -> np.ndarray:
        """Refine on the network grid.

        Args:
            image: ``(4, S, H, W)`` normalised, 0 where a phase is missing.
            probability: ``(S, H, W)`` of tumour.
            clicks: with ``(slice, row, column)`` as index.
            spacing_mm: between slices, rows and columns.
            origins: patches to refine; by default one around each click.

        Returns:
            ``(S, H, W)`` float32; unchanged outside the patches.
        """
        if origins is None:
            origins = dict.fromkeys(origin_around(click.index, probability.shape) for click in clicks)
        change = np.zeros(probability.shape, dtype=np.float32)
        total = np.zeros(probability.shape, dtype=np.float32)
        weight = say()
        for origin in origins:
            phases, before = cut(image, origin), cut(probability[None], origin)
            patch = np.concatenate([phases, before, guidance(phases, clicks, origin, spacing_mm)])
            with torch.inference_mode():
                given = torch.from_numpy(patch[None]).to(self.device, memory_format=torch.channels_last_3d)
                after = self.network(given).sigmoid()[0, 0].cpu().numpy()
            there = tuple(slice(o, o + p) for o, p in zip(origin, PATCH, strict=True))
            kept = tuple(slice(0, n) for n in change[there].shape)
            change[there] += (weight * (after - before[0]))[kept]
            total[there] += weight[kept]
        return probability + change / np.maximum(total, 1.0)

    def _image(self, study: Study, grid: NetworkGrid, origins: Sequence[Origin]) -> np.ndarray:
        """``(4, S, H, W)`` normalised; slices that no patch needs are left 0, which spares most of the work."""
        count = grid.shape[grid.slice_axis]
        needed = sorted({z for origin in origins for z in range(origin[0], min(origin[0] + PATCH[0], count))})
        image = np.zeros((len(study.image), count, self.size, self.size), dtype=np.float32)
        some = np.moveaxis(study.image, study.slice_axis + 1, 0)[needed]
        raw = grid.to_slices(np.moveaxis(some, 0, study.slice_axis + 1))
        slices = (raw - np.float32(study.offset)) / np.float32(study.scale)
        slices[:, ~np.asarray(study.available)] = 0.0
        image[:, needed] = slices.swapaxes(0, 1)
        return image


def from_rough(probability: np.ndarray, rough: np.ndarray) -> np.ndarray:
    """What the refinement starts from where a reader drew a rough mask, float32.

    Where the mask agrees with the network, the network's probability says more than the mask; where it does not, the
    mask counts, with some doubt, as it is rough.

    Args:
        probability: of tumour, the network's own.
        rough: bool, likewise shaped.
    """
    agrees = rough == (probability >= 0.5)
    return np.where(agrees, probability, np.where(rough, ROUGH[1], ROUGH[0])).astype(np.float32)


def to_slices(index: Sequence[float], grid: NetworkGrid) -> tuple[float, float, float]:
    """``(slice, row, column)`` on the network grid of a voxel ``(x, y, z)`` of the study."""
    place = [
        (index[axis] - (grid.shape[axis] - 1) / 2) * grid.spacing_mm[axis] / grid.pixel_mm + (grid.size - 1) / 2
        for axis in grid.in_plane_axes
    ]
    return (float(index[grid.slice_axis]), *place)


def _obey(probability: np.ndarray, click: Click, study: Study) -> None:
    """Set a disc around the click within its slice."""
    place = [round(i) for i in click.index]
    box, square_mm = [], np.zeros((1, 1, 1))
    for axis, (i, n, mm) in enumerate(zip(place, probability.shape, study.spacing_mm, strict=True)):
        reach = 0 if axis == study.slice_axis else int(OBEYED_MM // mm)
        span = slice(max(0, i - reach), min(n, i + reach + 1))
        box.append(span)
        offset = (np.arange(span.start, span.stop) - i) * mm
        square_mm = square_mm + (offset**2).reshape([-1 if a == axis else 1 for a in range(3)])
    region = probability[tuple(box)]
    inside = square_mm <= OBEYED_MM**2
    limit = np.maximum if click.lesion else np.minimum
    region[inside] = limit(region[inside], np.float32(ROUGH[1] if click.lesion else ROUGH[0]))


def _check(study: Study, tumour: np.ndarray, rough: np.ndarray | None, clicks: Sequence[Click]) -> None:
    shape = study.image.shape[1:]
    for start in (tumour, rough):
        if start is not None and start.shape != shape:
            msg = f"{study.case}: a mask or probability of {start.shape} does not fit the study's {shape}."
            raise StudyError(msg)
    if not clicks and rough is None:
        msg = "nothing to refine by: give at least one click, or a rough mask."
        raise ConfigurationError(msg)
    for click in clicks:
        if len(click.index) != 3 or not all(
            np.isfinite(i) and -0.5 <= i <= n - 0.5 for i, n in zip(click.index, shape, strict=True)
        ):
            msg = f"a click at voxel {tuple(click.index)} lies outside the study of {shape} voxels."
            raise ConfigurationError(msg)
