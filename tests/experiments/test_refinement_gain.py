"""The measurement of what clicks gain."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from scripts.engines.weights import model_identity, save_atomically
from scripts.experiments.refinement_gain import Clicked, draw_gain, measure_clicks, measures, shown_mask
from scripts.networks.refinement import RefinementNet
from scripts.studies.layout import read_dataset
from scripts.studies.reading import read_study

BUNDLE = Path(__file__).resolve().parents[2] / "bundle"


class HalfRight:
    """Stands for the study inferer: misses every second slice."""

    size, device = 64, "cpu"

    def __call__(self, study, network):
        tumour = (study.label > 0).astype(np.float32) * 0.9
        tumour[:, :, ::2] = 0.0
        return type("Answer", (), {"tumour": tumour})


@pytest.fixture
def weights(tmp_path):
    """Of the network and of the refinement, as files."""
    network, refinement = torch.nn.Linear(1, 1), RefinementNet((4, 4, 4))
    files = tmp_path / "model.pt", tmp_path / "refiner.pt"
    for module, file in zip((network, refinement), files, strict=True):
        save_atomically(module.state_dict(), file)
    return network, refinement, *map(str, files)


def test_one_subject_is_not_enough(dataset_dir, weights, tmp_path):
    network, refinement, ckpt, refiner = weights
    with pytest.raises(SystemExit, match="at least 2"):
        measure_clicks(network, HalfRight(), refinement, read_dataset(dataset_dir)[:1], ckpt, refiner, str(tmp_path))


def test_the_report_holds_what_is_promised(dataset_dir, weights, tmp_path):
    network, refinement, ckpt, refiner = weights
    cases = read_dataset(dataset_dir)
    measure_clicks(network, HalfRight(), refinement, cases, ckpt, refiner, str(tmp_path), subjects=2)
    report = json.loads((tmp_path / "refinement.json").read_text())
    # Spread over those with a lesion.
    assert [each["case"] for each in report["by_subject"]] == ["liver-01", "liver-05"]
    assert {f"dice_after_{n}" for n in (0, 1, 3, 5)} <= report["measures"].keys()
    assert report["measures"]["gain_by_3"]["limit"] == [0.05, 1.0]
    assert [len(each["dice"]) for each in report["by_subject"]] == [6, 6]
    # Even a network that corrects nothing obeys the clicks themselves, each on what was wrong.
    dice = np.array([each["dice"] for each in report["by_subject"]])
    assert (dice[:, 1] > dice[:, 0]).all()
    assert (tmp_path / "refinement.png").stat().st_size > 1000


def test_gains_are_paired():
    clicked = [Clicked("a", [0.5, 0.6, 0.7, 0.8, 0.8, 0.9], [], [0.1], 0.4, 0.5)]
    clicked += [Clicked("b", [0.9, 0.9, 0.9, 0.9, 0.9, 0.9], [], [], 0.4, 0.5)]
    found = measures(clicked)
    assert found["gain_by_3"]["value"] == pytest.approx(0.15)
    assert found["gain_by_3"]["holds"]
    assert found["dice_after_5"]["value"] == pytest.approx(0.9)
    assert found["seconds"]["n"] == 1


def test_the_figure_shows_every_number_of_clicks():
    clicked = [Clicked(str(n), [0.5, 0.6, 0.7, 0.8, 0.8, 0.9], [], [0.1], 0.4, 0.5) for n in range(3)]
    axes = draw_gain(clicked).axes[0]
    assert list(axes.get_xticks()) == [0, 1, 2, 3, 4, 5]


def test_small_components_are_not_shown(dataset_dir):
    study = read_study(read_dataset(dataset_dir)[0])
    tumour = (study.label > 0).astype(np.float32)
    tumour[2, 2, 2] = 1.0
    assert np.array_equal(shown_mask(tumour, study), study.label > 0)


def test_the_released_weights_keep_what_is_promised():
    report = json.loads((BUNDLE / "docs" / "results" / "refinement.json").read_text())
    for key, name in (("model", "model.pt"), ("refiner", "refiner.pt")):
        assert report[key] == model_identity("", BUNDLE / "models" / name)["weights_sha256"]
    assert report["subjects"] == 184
    assert all(measure.get("holds", True) for measure in report["measures"].values())
    assert (BUNDLE / "models" / "refiner.pt").stat().st_size < 5_000_000
