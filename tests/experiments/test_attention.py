"""Attention by phase of right and wrong cases: wrong input, the sums, and a tiny dataset from end to end."""

import csv

import numpy as np
import pytest
import torch

from scripts.engines.weights import save_atomically
from scripts.experiments.attention import CaseAttention, attend, draw_attention, mean_lines, measure_attention
from scripts.networks.mtinet import MTINet
from scripts.networks.readouts import tumour_class_probabilities
from scripts.studies.layout import read_dataset
from scripts.studies.slices import SubjectSlices

SIZE = 32
SWITCHES = {"fusion_levels": "all", "decoder_skips": True, "head": "locate", "token_grid": 2, "blocks": 2}


def make_network(**switches):
    torch.manual_seed(0)
    network = MTINet(**{"widths": (4, 4, 8, 8), "d_model": 16, "heads": 2, "ffn": 16, **SWITCHES, **switches})
    network.image_size.fill_(SIZE)
    return network.eval()


@pytest.fixture
def network():
    return make_network()


@pytest.fixture
def weights(network, tmp_path):
    save_atomically(network.state_dict(), tmp_path / "model.pt")
    return str(tmp_path / "model.pt")


def measure(network, weights, cases, output, **arguments):
    measure_attention(network, weights, cases, str(output), **{"image_size": SIZE, **arguments})


@pytest.mark.parametrize("other", [torch.nn.Identity(), make_network(tasks=("segmentation", "regression"))])
def test_a_network_without_such_attention_is_refused(other, weights, dataset_dir, tmp_path):
    with pytest.raises(SystemExit, match="needs MTI-Net with its classification task"):
        measure(other, weights, read_dataset(dataset_dir), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_another_size_is_refused(network, weights, dataset_dir, tmp_path):
    with pytest.raises(SystemExit, match="was trained at image_size 32"):
        measure(network, weights, read_dataset(dataset_dir), tmp_path / "out", image_size=64)


def test_cases_without_a_lesion_are_neither_right_nor_wrong(network, weights, dataset_dir, tmp_path):
    healthy = [case for case in read_dataset(dataset_dir) if case.tumour_class == "none"]
    with pytest.raises(SystemExit, match="none of the 1 cases has a lesion"):
        measure(network, weights, healthy, tmp_path / "out")


def test_a_subject_is_its_slices_with_a_lesion_by_area(network, dataset_dir):
    case = read_dataset(dataset_dir)[0]
    batch = SubjectSlices([case], size=SIZE)[0]
    found = attend(network, batch)
    area = batch["label"].sum(dim=(1, 2, 3))
    expected, p_hcc = 0.0, 0.0
    with torch.no_grad():
        for index in torch.nonzero(area)[:, 0]:
            one = [batch[name][index : index + 1] for name in ("image", "available", "times_s")]
            expected += float(area[index] / area.sum()) * network.attention_by_phase(*one)[:, 0].numpy()
            p_hcc += float(area[index] / area.sum() * tumour_class_probabilities(network(*one)["classification"])[0, 1])
    assert np.allclose(found.attention, expected, atol=1e-5)
    assert np.allclose(found.attention.sum(axis=-1), 1.0, atol=1e-5)
    assert found.probability_hcc == pytest.approx(p_hcc, abs=1e-5)
    assert (found.case, found.true_class) == (case.case, "hcc")


def test_an_absent_phase_attends_to_nothing_and_gets_no_attention(network, dataset_dir):
    batch = SubjectSlices([read_dataset(dataset_dir)[0]], size=SIZE)[0]
    batch["available"] = torch.tensor([[True, True, False, True]]).expand(len(batch["image"]), -1)
    attention = attend(network, batch).attention
    assert np.isnan(attention[:, 2]).all()
    assert np.allclose(attention[:, [0, 1, 3], 2], 0.0)


def case_of(name, true_class, probability_hcc, to_arterial, blocks=1):
    attention = np.full((blocks, 4, 4), (1.0 - to_arterial) / 3)
    attention[:, :, 1] = to_arterial
    return CaseAttention(name, true_class, probability_hcc, attention)


def entry(lines, true_class="all"):
    (line,) = (
        each
        for each in lines
        if (each["true_class"], each["block"], each["from_phase"], each["to_phase"])
        == (true_class, 1, "pre", "arterial")
    )
    return line


def test_right_and_wrong_by_hand():
    found = [
        case_of("a", "hcc", 0.9, 0.4),
        case_of("b", "hcc", 0.2, 0.8),
        case_of("c", "hemangioma", 0.1, 0.6),
        case_of("d", "hemangioma", 0.7, 0.2),
    ]
    assert [each.correct for each in found] == [True, False, True, False]
    lines = mean_lines(found)
    assert entry(lines)["right"] == pytest.approx(0.5)
    assert entry(lines)["wrong_minus_right"] == pytest.approx(0.0)
    assert entry(lines)["ci95_low"] <= 0.0 <= entry(lines)["ci95_high"]
    assert entry(lines, "hcc")["wrong_minus_right"] == pytest.approx(0.4)
    assert np.isnan(entry(lines, "hcc")["ci95_low"])
    assert len(lines) == 3 * 16


def test_the_interval_covers_a_real_difference():
    rng = np.random.default_rng(0)
    found = [case_of(f"r{i}", "hcc", 0.9, 0.30 + rng.normal(0, 0.02)) for i in range(40)]
    found += [case_of(f"w{i}", "hcc", 0.1, 0.40 + rng.normal(0, 0.02)) for i in range(15)]
    line = entry(mean_lines(found))
    assert 0.05 < line["ci95_low"] < 0.1 < line["ci95_high"] < 0.15


def test_without_a_wrong_case_there_is_a_figure_all_the_same():
    figure = draw_attention([case_of("a", "hcc", 0.9, 0.4, blocks=2)])
    assert len(figure.axes) == 6
    assert any("wrong (n = 0)" in axes.get_title() for axes in figure.axes)


def test_a_tiny_dataset_from_end_to_end(network, weights, dataset_dir, tmp_path, capsys):
    output = tmp_path / "out"
    measure(network, weights, read_dataset(dataset_dir), output)
    with (output / "attention_per_subject.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    # Four cases with a lesion, two blocks, four phases to four.
    assert len(lines) == 4 * 2 * 16
    assert {line["correct"] for line in lines} <= {"True", "False"}
    assert sum(float(line["attention"]) for line in lines) == pytest.approx(4 * 2 * 4, rel=1e-4)
    with (output / "attention.csv").open(newline="") as file:
        means = list(csv.DictReader(file))
    assert int(means[0]["n_right"]) + int(means[0]["n_wrong"]) == 4
    assert (output / "attention.png").stat().st_size > 10_000
    assert "of 4 cases right" in capsys.readouterr().out
