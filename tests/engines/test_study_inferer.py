"""A whole study through the network and back on its own grid."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from scripts.domain.study import Study
from scripts.engines.inferer import StudyInferer


class Bright(torch.nn.Module):
    """Tumour where the arterial phase is above 1 normalised; heads say which slice they saw, by its mean."""

    spatial_dims = 2

    def forward(self, image, available, times_s):
        mean = image.mean((2, 3))
        return {
            "segmentation": 20.0 * (image[:, 1:2] - 1.0),
            "regression": torch.where(available, mean, torch.full_like(mean, -9.0)),
            "classification": torch.stack([mean[:, 1], times_s[:, 3] / 100.0], dim=1),
        }


@pytest.fixture
def study(oblique_affine):
    """Bright asymmetric block in a volume of 96 x 80 x 20, raw units of offset 100 and scale 50."""
    image = np.full((4, 96, 80, 20), 100.0, np.float32)
    image[1, 50:62, 20:44, 6:11] = 250.0
    return Study(
        case="block",
        image=image,
        affine=oblique_affine,
        available=(True,) * 4,
        times_s=(0.0, 30.0, 70.0, 180.0),
        offset=100.0,
        scale=50.0,
    )


@pytest.fixture
def inferer(monkeypatch):
    monkeypatch.setattr("scripts.engines.backends.inference_copy", lambda network, **kwargs: network)
    return StudyInferer(size=128, batch_size=3, backend="torch")


def test_the_mask_comes_back_where_the_tumour_is(study, inferer):
    prediction = inferer(study, Bright())
    truth = study.image[1] > 200
    found = prediction.tumour >= 0.5
    assert found.shape == truth.shape
    overlap = 2 * (found & truth).sum() / (found.sum() + truth.sum())
    assert overlap > 0.85
    np.testing.assert_allclose(np.argwhere(found).mean(0), np.argwhere(truth).mean(0), atol=0.75)
    assert set(np.argwhere(found)[:, 2]) == {6, 7, 8, 9, 10}


def test_heads_speak_once_per_slice_in_order(study, inferer):
    prediction = inferer(study, Bright())
    assert prediction.regression.shape == (20, 4)
    assert prediction.classification.shape == (20, 2)
    np.testing.assert_allclose(prediction.classification.sum(axis=1), 1.0, atol=1e-6)
    bright = prediction.regression[:, 1] > prediction.regression[:, 0]
    assert bright.tolist() == [6 <= index <= 10 for index in range(20)]


def test_a_third_class_does_not_enter_the_class_of_a_tumour(study, inferer):
    class Healthy(Bright):
        def forward(self, image, available, times_s):
            outputs = super().forward(image, available, times_s)
            two = outputs["classification"]
            return outputs | {"classification": torch.cat([two, torch.full_like(two[:, :1], 9.0)], dim=1)}

    np.testing.assert_array_equal(inferer(study, Healthy()).classification, inferer(study, Bright()).classification)


def test_slices_follow_the_acquired_axis(study, inferer):
    coronal = replace(study, slice_axis=1)
    prediction = inferer(coronal, Bright())
    assert len(prediction.regression) == 80
    bright = prediction.regression[:, 1] > prediction.regression[:, 0]
    assert np.flatnonzero(bright).tolist() == list(range(20, 44))


def test_a_missing_phase_is_zero_and_said(study, inferer):
    lacking = replace(study, available=(True, True, True, False))
    prediction = inferer(lacking, Bright())
    assert (prediction.regression[:, 3] == -9.0).all()


def test_the_batch_size_does_not_matter(study, inferer):
    whole = inferer(study, Bright())
    single = StudyInferer(size=128, batch_size=1, backend="torch")(study, Bright())
    np.testing.assert_allclose(single.tumour, whole.tumour, atol=1e-6)
    np.testing.assert_allclose(single.regression, whole.regression, atol=1e-6)


def test_a_network_without_heads(study, inferer):
    class SegmentationAlone(Bright):
        def forward(self, *inputs):
            return {"segmentation": super().forward(*inputs)["segmentation"]}

    prediction = inferer(study, SegmentationAlone())
    assert prediction.regression is None
    assert prediction.classification is None


def test_a_network_is_prepared_once(study, inferer):
    network = Bright()
    assert inferer.prepare(network) is inferer.prepare(network)
