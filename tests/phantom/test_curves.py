"""The comparison with measured curves."""

import numpy as np
import pytest

from scripts.domain.errors import ConfigurationError
from scripts.phantom import curves
from scripts.phantom.kinetics import Sequence


@pytest.fixture
def curves_dir(tmp_path):
    time_s = np.arange(0.0, 200.0, 2.0)
    rows = ["scan,roi,time_s,signal"]
    for roi, start_s, height in (("aorta", 80.0, 300.0), ("liver", 90.0, 30.0)):
        signal = 100.0 + height * (time_s >= start_s)
        rows += [f"s1,{roi},{t},{v}" for t, v in zip(time_s, signal, strict=True)]
    (tmp_path / "signal_curves.csv").write_text("\n".join(rows) + "\n")
    return tmp_path


@pytest.mark.parametrize("folder", [None, "nowhere"])
def test_missing_curves_are_named(folder, tmp_path):
    with pytest.raises(ConfigurationError, match=r"no signal_curves\.csv"):
        curves.read_curves(folder and tmp_path / folder)


def test_command_ends_with_one_line_and_writes_nothing(tmp_path):
    with pytest.raises(SystemExit, match=r"no signal_curves\.csv"):
        curves.draw_curves(None, str(tmp_path / "out"))
    assert list(tmp_path.iterdir()) == []


def test_curves_start_at_the_aortas_arrival_and_are_relative_to_baseline(curves_dir):
    read = curves.read_curves(curves_dir)["s1"]
    assert read["aorta"][0, 40] == 0.0
    np.testing.assert_allclose(read["aorta"][1, [0, 60]], [1.0, 4.0])
    np.testing.assert_allclose(read["liver"][1, [0, 60]], [1.0, 1.3])


def test_simulated_curves_start_at_one():
    simulated = curves.simulated_curves("gadobutrol", Sequence(0.0037, 12.0))
    assert set(simulated) == set(curves.REGIONS)
    for time_s, signal in simulated.values():
        assert np.all(signal[time_s < 0] == 1.0)
        assert signal.max() > 1.2


def test_figure_is_written(curves_dir, tmp_path, monkeypatch):
    monkeypatch.setattr(curves, "_STUDIES", 2)
    monkeypatch.setattr(curves, "_SHAPE", (48, 40, 16))
    curves.draw_curves(str(curves_dir), str(tmp_path / "out"))
    assert (tmp_path / "out" / "phantom_curves.png").stat().st_size > 10_000
