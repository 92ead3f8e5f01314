import numpy as np
import pytest

from scripts.results.convexity import impossible_rows, smallest_mean_iou


def test_the_papers_first_table_holds_four_impossible_rows():
    table = {
        "UNet": (0.7734, 0.5879),
        "ResUNet++": (0.7885, 0.6065),
        "TransUNet": (0.8027, 0.6476),
        "EI-DDPM": (0.8186, 0.6812),
        "MD-FF": (0.8220, 0.7206),
        "MTI-Net": (0.8523, 0.7548),
    }
    rows = impossible_rows(table, tolerance=0.0001)
    assert [row.split(":")[0] for row in rows] == ["UNet", "ResUNet++", "TransUNet", "EI-DDPM"]
    assert "0.5879 is below 0.6305" in rows[0]


def test_equal_cases_lie_on_the_bound():
    assert smallest_mean_iou(0.8) == pytest.approx(0.8 / 1.2)
    assert impossible_rows({"equal": (0.8, 0.8 / 1.2)}) == []


@pytest.mark.parametrize("seed", range(4))
def test_real_cases_are_never_below_it(seed):
    dice = np.random.default_rng(seed).beta(2, 1, 50)
    assert impossible_rows({"real": (dice.mean(), (dice / (2 - dice)).mean())}, tolerance=0.0) == []
