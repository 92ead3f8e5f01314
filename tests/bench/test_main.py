"""The command line, and the contract of its lines."""

from __future__ import annotations

import json
import math

import pytest

from scripts.bench import __main__ as bench
from scripts.bench.conditions import Conditions


@pytest.mark.parametrize("arguments", [["--only", "gemm"], ["--only"], ["--runs", "0"], ["--runs", "few"]])
def test_refuses_what_it_cannot_measure(arguments, capsys):
    with pytest.raises(SystemExit) as error:
        bench.main(arguments)
    assert error.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert arguments[0] in captured.err


def test_help_lists_every_measurement_with_its_unit(capsys):
    with pytest.raises(SystemExit):
        bench.main(["--help"])
    shown = capsys.readouterr().out
    for benchmark in bench.BENCHMARKS:
        for name, unit in benchmark.UNITS.items():
            assert f"{name} [{unit}]" in shown


def test_names_are_those_of_the_targets():
    assert bench.NAMES == (
        "gemm_gflops",
        "forward_s_per_slice",
        "forward_share_of_gemm",
        "forward_vs_basicunet",
        "forward_vs_basicunet_openvino",
        "study_excess_s",
        "training_slices_per_s",
        "data_wait_share",
        "training_vs_eager",
        "peak_rss_inference_mb",
        "peak_rss_training_mb",
    )


def test_prints_nothing_but_json_lines(monkeypatch, capsys, conditions):
    monkeypatch.setattr(bench, "Conditions", lambda work_dir, runs: conditions)
    bench.main(["--only", "training_slices_per_s", "data_wait_share"])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["name"], line["unit"]) for line in lines] == [
        ("training_slices_per_s", "1/s"),
        ("data_wait_share", "ratio"),
    ]
    assert all(line.keys() == {"name", "value", "unit"} for line in lines)
    assert all(math.isfinite(line["value"]) and line["value"] > 0 for line in lines)


def test_measures_only_what_is_asked_for(monkeypatch, tmp_path):
    for benchmark in bench.BENCHMARKS:
        monkeypatch.setattr(benchmark, "measure", lambda _, names=tuple(benchmark.UNITS): dict.fromkeys(names, 1 / 3))
    asked = ["training_vs_eager", "gemm_gflops"]
    measured = list(bench.measurements(asked, Conditions(tmp_path)))
    assert measured == [
        {"name": "gemm_gflops", "value": 0.3333, "unit": "GFLOP/s"},
        {"name": "training_vs_eager", "value": 0.3333, "unit": "ratio"},
    ]
