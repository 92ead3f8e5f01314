"""Studies built by hand: asymmetric anatomy, oblique affine, values that can be computed on paper."""

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest

from scripts.domain.classes import LABELS
from scripts.domain.prediction import Prediction
from scripts.domain.study import Study

SHAPE = (96, 80, 20)
SPACING_MM = (1.5, 2.0, 4.0)
TIMES_S = (0.0, 28.0, 71.0, 175.0)
OFFSET, SCALE = 200.0, 50.0

LIVER_CURVE = np.array([100.0, 150.0, 240.0, 200.0])
HCC_CURVE = np.array([90.0, 300.0, 230.0, 160.0])
HEMANGIOMA_CURVE = np.array([60.0, 120.0, 220.0, 260.0])


def oblique_affine() -> np.ndarray:
    """Columns of ``SPACING_MM`` turned by 20 degrees about z and then 10 about x, with an origin of its own."""
    a, b = np.deg2rad(20.0), np.deg2rad(10.0)
    about_z = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    affine = np.eye(4)
    affine[:3, :3] = about_x @ about_z @ np.diag(SPACING_MM)
    affine[:3, 3] = (-71.0, 33.0, 12.5)
    return affine


def ellipsoid(centre: tuple[float, float, float], radius_mm: float) -> np.ndarray:
    """``(X, Y, Z)`` bool, a ball of ``radius_mm`` around a voxel."""
    index = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), axis=-1)
    return np.linalg.norm((index - centre) * SPACING_MM, axis=-1) <= radius_mm


HCC_CENTRE, HCC_RADIUS_MM = (30, 28, 8), 16.0
HEMANGIOMA_CENTRE, HEMANGIOMA_RADIUS_MM = (68, 50, 9), 10.0
HCC_MASK = ellipsoid(HCC_CENTRE, HCC_RADIUS_MM)
HEMANGIOMA_MASK = ellipsoid(HEMANGIOMA_CENTRE, HEMANGIOMA_RADIUS_MM)


@pytest.fixture
def known() -> SimpleNamespace:
    """The numbers from which every study of this folder is built."""
    return SimpleNamespace(
        shape=SHAPE,
        spacing_mm=SPACING_MM,
        times_s=TIMES_S,
        offset=OFFSET,
        scale=SCALE,
        liver_curve=LIVER_CURVE,
        hcc_curve=HCC_CURVE,
        hemangioma_curve=HEMANGIOMA_CURVE,
        hcc_centre=HCC_CENTRE,
        hcc_radius_mm=HCC_RADIUS_MM,
        hcc_mask=HCC_MASK,
        hemangioma_mask=HEMANGIOMA_MASK,
        ellipsoid=ellipsoid,
    )


@pytest.fixture
def make_study() -> Callable[..., Study]:
    """Give ``(label=…, **changes)`` a liver of constant signal with constant lesions in it."""

    def make(label: np.ndarray | None = None, **changes) -> Study:
        painted = np.zeros(SHAPE, dtype=np.uint8) if label is None else label
        image = np.empty((4, *SHAPE), dtype=np.float32)
        image[:] = LIVER_CURVE[:, None, None, None]
        image[:, painted == LABELS["hemangioma"]] = HEMANGIOMA_CURVE[:, None]
        image[:, painted == LABELS["hcc"]] = HCC_CURVE[:, None]
        available = changes.get("available", (True,) * 4)
        image[~np.array(available)] = 0.0
        values = {
            "case": "case_01",
            "image": image,
            "affine": oblique_affine(),
            "available": available,
            "times_s": TIMES_S,
            "offset": OFFSET,
            "scale": SCALE,
            "label": label,
        }
        return Study(**(values | changes))

    return make


@pytest.fixture
def both_lesions() -> np.ndarray:
    """A label with an HCC (the larger) and a hemangioma."""
    label = np.zeros(SHAPE, dtype=np.uint8)
    label[HCC_MASK] = LABELS["hcc"]
    label[HEMANGIOMA_MASK] = LABELS["hemangioma"]
    return label


@pytest.fixture
def one_hcc() -> np.ndarray:
    """A label with an HCC."""
    return np.where(HCC_MASK, np.uint8(LABELS["hcc"]), np.uint8(0))


@pytest.fixture
def make_prediction() -> Callable[..., Prediction]:
    """Give ``(mask, curve=…, p_hcc=…)`` a sure prediction whose heads say the same in every slice."""

    def make(mask: np.ndarray, *, curve: np.ndarray = HCC_CURVE, p_hcc: float = 0.9, slice_axis: int = 2) -> Prediction:
        slices = mask.shape[slice_axis]
        return Prediction(
            tumour=np.where(mask > 0, np.float32(0.97), np.float32(0.02)),
            regression=np.tile((curve - OFFSET) / SCALE, (slices, 1)).astype(np.float32),
            classification=np.tile([1 - p_hcc, p_hcc], (slices, 1)).astype(np.float32),
            seconds=0.5,
        )

    return make


@pytest.fixture
def model() -> dict[str, str]:
    """The identity of a network that does not exist."""
    return {"version": "0.1.0", "weights_sha256": "0" * 64}
