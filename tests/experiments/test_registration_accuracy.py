"""How well registration undoes known breathing: wrong arguments, the sums, and a small cohort from end to end."""

import json

import numpy as np
import pytest
import torch

from scripts.engines.inferer import StudyInferer
from scripts.engines.weights import save_atomically
from scripts.experiments.registration_accuracy import (
    VARIANTS,
    Residual,
    dice_measures,
    measure_registration,
    measure_subject,
    residual_measures,
)
from scripts.networks.mtinet import MTINet
from scripts.phantom.grid import abdominal_grid
from scripts.studies.nifti import read_volume


@pytest.fixture
def network():
    torch.manual_seed(0)
    return MTINet(
        widths=(4, 4, 8, 8),
        fusion_levels="all",
        decoder_skips=True,
        head="locate",
        token_grid=2,
        d_model=16,
        heads=2,
        ffn=16,
        blocks=1,
    )


@pytest.mark.parametrize(("subjects", "message"), [(1, "subjects is 1"), (2.5, r"subjects is 2\.5")])
def test_wrong_numbers_of_subjects_are_refused(network, tmp_path, subjects, message):
    with pytest.raises(SystemExit, match=message):
        measure_registration(network, StudyInferer(), "none.pt", "1", str(tmp_path / "out"), subjects=subjects)
    assert list(tmp_path.iterdir()) == []


def residual(subject, asked, median_mm, method=None):
    return Residual(
        subject=subject,
        phase="pre",
        asked=asked,
        method=method or asked,
        reason="",
        breathing_mm=3.0,
        median_mm=median_mm,
        p95_mm=2 * median_mm,
        seconds=1.0,
    )


def test_the_residual_is_the_median_of_the_phases_and_says_whether_it_holds():
    residuals = [residual(s, "rigid", 0.5) for s in range(3)]
    residuals += [residual(s, "deformable", m) for s, m in enumerate((0.2, 1.2, 9.0))]
    residuals[-1] = residual(2, "deformable", 9.0, method="rigid")
    got = residual_measures(residuals)
    assert got["rigid_residual_mm"]["value"] == 0.5
    assert got["deformable_residual_mm"]["value"] == 1.2
    assert not got["deformable_residual_mm"]["holds"]
    assert got["deformable_residual_mm"]["largest"] == 9.0
    assert got["deformable_residual_mm"]["median_p95"] == 2.4
    assert got["deformable_residual_mm"]["dropped"] == 1
    assert got["rigid_residual_mm"]["dropped"] == 0
    assert got["breathing_mm"]["value"] == 3.0
    assert got["breathing_mm"]["n"] == 3


def test_dice_differences_are_paired():
    still = np.array([0.9, 0.5, 0.7])
    got = dice_measures({"still": still, "breathing": still - 0.1, "registered": still - 0.01})
    assert got["still_dice"]["value"] == pytest.approx(0.7)
    assert got["breathing_minus_still_dice"]["value"] == pytest.approx(-0.1)
    assert got["registered_minus_still_dice"]["value"] == pytest.approx(-0.01)
    assert got["registered_minus_still_dice"]["ci95"] == pytest.approx([-0.01, -0.01])
    assert got["registered_minus_still_dice"]["holds"]


def test_a_small_cohort_from_end_to_end(network, tmp_path):
    network.image_size.fill_(64)
    save_atomically(network.state_dict(), tmp_path / "model.pt")
    measure_registration(
        network,
        StudyInferer(size=64, backend="torch"),
        str(tmp_path / "model.pt"),
        "1.2",
        str(tmp_path / "out"),
        subjects=2,
        seed=5,
        shape=(64, 60, 32),
        workers=1,
    )
    report = json.loads((tmp_path / "out" / "registration.json").read_text())
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["registration.json"]
    assert "no clinical evidence" in report["note"]
    assert report["model"]["version"] == "1.2"
    assert len(report["residuals"]) == 2 * 3 * 2
    # Voxels of 6 x 6.4 x 5 mm here; the limit of 1.0 mm is for 1.5 x 1.5 x 5 mm.
    breathing_mm = report["residual_mm"]["breathing_mm"]["value"]
    for method in ("rigid", "deformable"):
        assert report["residual_mm"][f"{method}_residual_mm"]["value"] < min(1.5, 0.7 * breathing_mm)
    assert {name: len(values) for name, values in report["dice_by_subject"].items()} == dict.fromkeys(VARIANTS, 2)
    differences = np.subtract(*(report["dice_by_subject"][name] for name in ("registered", "still")))
    assert report["dice"]["registered_minus_still_dice"]["value"] == pytest.approx(differences.mean())


def test_the_variants_are_the_same_subjects(tmp_path):
    measure_subject(3, seed=5, grid=abdominal_grid((32, 30, 16)), shift_mm=5.0, folder=tmp_path)
    labels = [read_volume(tmp_path / f"{variant}-003.nii.gz")[0] for variant in VARIANTS]
    np.testing.assert_array_equal(labels[0], labels[1])
    np.testing.assert_array_equal(labels[0], labels[2])
    still, breathing, registered = (
        [read_volume(tmp_path / f"{variant}-003_{phase:04d}.nii.gz")[0] for phase in range(4)] for variant in VARIANTS
    )
    np.testing.assert_array_equal(still[1], breathing[1])
    np.testing.assert_array_equal(still[1], registered[1])
    for phase in (0, 2, 3):
        assert not np.array_equal(still[phase], breathing[phase])
        assert not np.array_equal(breathing[phase], registered[phase])
