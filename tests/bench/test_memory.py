"""The work whose memory counts is done, and only its own memory counts."""

from __future__ import annotations

import operator

import numpy as np

from scripts.bench import memory


def test_median_over_as_many_processes_of_each_kind(conditions, monkeypatch):
    asked = []

    def peak_rss_mb(work, conditions):
        asked.append(work)
        return 100.0 * len(asked)

    monkeypatch.setattr(memory, "peak_rss_mb", peak_rss_mb)
    assert memory.measure(conditions) == {"peak_rss_inference_mb": 100.0, "peak_rss_training_mb": 200.0}
    assert asked == [memory.analyse_study, memory.train_and_validate]


def test_analysis_writes_its_results(conditions, tmp_path):
    memory.analyse_study(conditions, tmp_path)
    assert len(list(tmp_path.glob("*/result.json"))) == 1


def test_training_validates_and_saves(conditions, tmp_path):
    memory.train_and_validate(conditions, tmp_path)
    assert (tmp_path / "model.pt").is_file()
    assert (tmp_path / "checkpoints" / "checkpoint_epoch=1.pt").is_file()


def test_memory_of_this_process_does_not_count(conditions):
    ballast = np.ones(2**30, dtype=np.uint8)
    # A work that does nothing, importable by the new process; torch and MONAI are loaded all the same.
    peak_mb = memory.peak_rss_mb(operator.is_not, conditions)
    assert 100 < peak_mb < memory_mb_with(ballast)


def memory_mb_with(ballast: np.ndarray) -> float:
    """Resident memory of this process now, MiB."""
    assert ballast.any()
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) / 1024
