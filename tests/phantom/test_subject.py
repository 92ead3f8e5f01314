"""The frozen generator: its arrays, and what must be true of any of them."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from scripts.domain.classes import LABELS
from scripts.phantom.grid import abdominal_grid
from scripts.phantom.subject import VERSION, make_study

FROZEN = json.loads(Path(__file__).with_name("frozen.json").read_text())


def made(seed, tumour_class, shape=(96, 80, 20)):
    return make_study(np.random.SeedSequence(seed), tumour_class, abdominal_grid(shape))


def test_version_is_the_frozen_one():
    assert FROZEN["version"] == VERSION, "bump the version in frozen.json with the hashes; earlier results are void"


@pytest.mark.parametrize("frozen", FROZEN["studies"], ids=lambda f: f"{f['seed']}-{f['tumour_class']}-{f['shape'][0]}")
def test_arrays_are_frozen(frozen):
    """A failure means that the generator changed: bump VERSION, and every earlier result is void."""
    study = made(frozen["seed"], frozen["tumour_class"], frozen["shape"])
    for name in ("image", "label", "liver"):
        array = np.ascontiguousarray(getattr(study, name))
        assert hashlib.sha256(array.tobytes()).hexdigest() == frozen[name], name


@pytest.mark.parametrize("tumour_class", ["hcc", "hemangioma"])
def test_a_study_with_lesions(tumour_class):
    study = made(5, tumour_class)
    assert study.image.shape == (4, 96, 80, 20)
    assert study.image.dtype == np.int16
    assert set(np.unique(study.label)) == {0, LABELS[tumour_class]}
    assert np.all(study.liver[study.label > 0] == 1)
    assert 1 <= len(study.truth["lesions"]) <= 3
    assert study.affine[0, 0] == pytest.approx(-4.0)
    assert study.affine[1, 1] == pytest.approx(4.8)


def test_a_study_without_lesions():
    study = made(5, "none")
    assert not study.label.any()
    assert study.truth["lesions"] == []


def test_liver_is_at_low_x():
    liver = made(0, "none").liver
    assert np.nonzero(liver)[0].mean() < 0.45 * liver.shape[0]


def test_latent_curve_is_what_the_scanner_saw_without_noise_and_drift():
    """Gains divided out, the mean under the mask differs by shading, breathing and noise only."""
    study = made(6, "hcc", (128, 128, 32))
    seen = study.image[:, study.label > 0].mean(axis=1) / study.truth["gains"]
    lesions = study.truth["lesions"]
    voxels = np.array([lesion["voxels"] for lesion in lesions])
    latent = np.average([lesion["latent_curve"] for lesion in lesions], axis=0, weights=voxels)
    assert np.corrcoef(seen, latent)[0, 1] > 0.95
    np.testing.assert_allclose(seen / latent, (seen / latent).mean(), rtol=0.2)


def test_anatomy_does_not_depend_on_the_voxels():
    coarse, fine = made(7, "hcc", (64, 64, 16)), made(7, "hcc", (128, 128, 32))
    volumes_ml = [np.count_nonzero(s.liver) * abs(np.linalg.det(s.affine[:3, :3])) / 1000 for s in (coarse, fine)]
    assert volumes_ml[0] == pytest.approx(volumes_ml[1], rel=0.03)
    assert coarse.truth["lesions"][0]["centre_mm"] == fine.truth["lesions"][0]["centre_mm"]
    assert coarse.site == fine.site


def test_phases_enhance_in_order():
    """The liver peaks in the portal-venous phase, the blood in the arterial one."""
    study = made(8, "none", (96, 80, 20))
    liver = np.median(study.image[:, study.liver > 0], axis=1) / study.truth["gains"]
    assert liver[0] < liver[1] < liver[2]
    assert liver[3] < liver[2]
    assert np.argmax(np.percentile(study.image.reshape(4, -1), 99.9, axis=1)) == 1


def test_the_liver_is_on_the_patients_right():
    study = made(3, "hcc", (48, 40, 16))
    voxels = np.argwhere(study.liver).mean(axis=0)
    assert (study.affine @ [*voxels, 1.0])[0] > 20.0
