"""Whether the signals know where the network is wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import signal_quality


def test_a_signal_that_follows_the_error_correlates_with_it_and_noise_does_not() -> None:
    dice = np.linspace(0.1, 0.9, 40)
    noise = np.random.default_rng(0).random(40)
    found = [
        {"case": "a", "dice": d, "uncertainty": (1 - d) ** 3, "consistency": n}
        for d, n in zip(dice, noise, strict=True)
    ]

    summary = signal_quality.correlations(found)

    assert summary["uncertainty"] == {"value": 1.0, "ci95": [1.0, 1.0]}
    low, high = summary["consistency"]["ci95"]
    assert low < summary["consistency"]["value"] < high
    assert low < 0 < high


def test_too_few_evaluated_subjects_are_refused_in_one_line(dataset_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "per_subject.csv").write_text("case,true_class,dice\nliver-05,hemangioma,0.5\nliver-01,hcc,0.5\n")
    given = ["--dataset_dir", str(dataset_dir), "--per_subject", str(tmp_path / "per_subject.csv")]

    with pytest.raises(SystemExit, match="holds 1 test subjects of the dataset with a tumour; 10 are needed"):
        signal_quality.main([*given, "--output", str(tmp_path / "out.json")])

    assert not (tmp_path / "out.json").exists()
