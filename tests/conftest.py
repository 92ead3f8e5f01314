"""A tiny dataset built by hand: asymmetric anatomy of 96 x 80 x 20, oblique, four phases, labels, subjects.csv."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

SHAPE = (96, 80, 20)
SPACING_MM = (3.0, 2.5, 6.0)

# Tissue: signal before contrast, arterial, portal-venous, delayed.
SIGNALS = {
    "body": (150, 160, 165, 160),
    "liver": (200, 230, 300, 270),
    "vessel": (120, 700, 500, 380),
    "hcc": (170, 400, 260, 230),
    "hemangioma": (130, 280, 320, 400),
}
TIME_COLUMNS = ("t_pre", "t_arterial", "t_portal_venous", "t_delayed")
LABEL_VALUES = {"none": 0, "hemangioma": 1, "hcc": 2}

# case, class, split, fold, site
SUBJECTS = (
    ("liver-01", "hcc", "train", 0, "north"),
    ("liver-02", "hemangioma", "train", 1, "south"),
    ("liver-03", "hcc", "val", 2, "north"),
    ("liver-04", "none", "val", 3, "south"),
    ("liver-05", "hemangioma", "test", None, "north"),
)


def _oblique_affine(spacing_mm: tuple[float, float, float] = SPACING_MM) -> np.ndarray:
    """Stored left, posterior, superior, tilted by 12 and 7 degrees."""
    affine = np.eye(4)
    rotation = Rotation.from_euler("xz", [12, 7], degrees=True).as_matrix()
    affine[:3, :3] = rotation @ np.diag([-spacing_mm[0], -spacing_mm[1], spacing_mm[2]])
    affine[:3, 3] = (130.0, 95.0, -240.0)
    return affine


def _anatomy(tumour_class: str, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Image ``(4, X, Y, Z)`` int16, label and liver ``(X, Y, Z)`` uint8; no symmetry along any axis."""
    rng = np.random.default_rng(seed)
    i, j, k = np.meshgrid(*map(np.arange, SHAPE), indexing="ij")
    body = ((i - 50) / 40) ** 2 + ((j - 38) / 33) ** 2 <= 1
    liver = ((i - 34) / 18) ** 2 + ((j - 36) / 16) ** 2 + ((k - 11) / 7) ** 2 <= 1
    vessel = (i - 54) ** 2 + (j - 58) ** 2 <= 12
    centre = np.array((30, 32, 12)) + rng.integers(-2, 3, size=3)
    lesion = ((i - centre[0]) / 5) ** 2 + ((j - centre[1]) / 4) ** 2 + ((k - centre[2]) / 2) ** 2 <= 1
    if tumour_class == "none":
        lesion = np.zeros_like(lesion)
    image = np.zeros((4, *SHAPE))
    for tissue, name in ((body, "body"), (liver, "liver"), (vessel, "vessel"), (lesion, tumour_class)):
        if tissue.any() and name in SIGNALS:
            image[:, tissue] = np.array(SIGNALS[name])[:, None]
    image = np.hypot(image + rng.normal(0, 6, image.shape), rng.normal(0, 6, image.shape))
    return image.astype(np.int16), (lesion * LABEL_VALUES[tumour_class]).astype(np.uint8), liver.astype(np.uint8)


@pytest.fixture(scope="session")
def oblique_affine() -> np.ndarray:
    """``(4, 4)`` of the dataset's files: left, posterior, superior, tilted by 12 and 7 degrees."""
    return _oblique_affine()


@pytest.fixture(scope="session")
def _dataset_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("template") / "Dataset001_Tiny"
    for folder in ("imagesTr", "labelsTr", "imagesTs", "labelsTs", "liver"):
        (root / folder).mkdir(parents=True)
    rows = []
    for seed, (case, tumour_class, split, fold, site) in enumerate(SUBJECTS):
        image, label, liver = _anatomy(tumour_class, seed)
        ending = "Ts" if split == "test" else "Tr"
        for phase, volume in enumerate(image):
            nib.save(
                nib.Nifti1Image(volume, _oblique_affine()), root / f"images{ending}" / f"{case}_{phase:04d}.nii.gz"
            )
        nib.save(nib.Nifti1Image(label, _oblique_affine()), root / f"labels{ending}" / f"{case}.nii.gz")
        nib.save(nib.Nifti1Image(liver, _oblique_affine()), root / "liver" / f"{case}.nii.gz")
        rows.append((case, tumour_class, split, "" if fold is None else fold, site, 0, 25 + seed, 70, 180))
    with (root / "subjects.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["case", "class", "split", "fold", "site", *TIME_COLUMNS])
        writer.writerows(rows)
    return root


@pytest.fixture
def dataset_dir(_dataset_template: Path, tmp_path: Path) -> Path:
    """A fresh copy of the tiny dataset, to be read or broken.

    ``liver-01`` hcc train, ``-02`` hemangioma train, ``-03`` hcc val, ``-04`` none val, ``-05`` hemangioma test;
    arterial times 25, 26 ... s.
    """
    return Path(shutil.copytree(_dataset_template, tmp_path / _dataset_template.name))
