"""Cohorts: wrong arguments, splits, bytes."""

import csv
import hashlib
import json
import multiprocessing
import signal
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from scripts.domain.errors import ConfigurationError
from scripts.phantom.cohort import _end_quietly, make_phantom, write_cohort

SHAPE = (48, 40, 10)


def digest(folder: Path) -> dict[str, str]:
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"subjects": 0}, "subjects is 0"),
        ({"subjects": 2.5}, r"subjects is 2\.5"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": "x"}, "seed is 'x'"),
        ({"workers": 0}, "workers is 0"),
        ({"shape": 48}, "shape is 48; it must be three whole numbers"),
        ({"shape": (48, 40)}, "three whole numbers of at least 8"),
        ({"shape": (48, 40, 4)}, "three whole numbers of at least 8"),
        ({"spacing_mm": (1.0, 1.0, 0.0)}, "three numbers above 0"),
        ({"spacing_mm": (1.5, 1.5, 5.0)}, "less than the abdomen's 384 x 384 x 160 mm"),
        ({"spacing_mm": ("a", 1.0, 1.0)}, "three numbers above 0"),
        ({"split_sizes": 3}, "split_sizes is 3; it must be three whole numbers"),
        ({"split_sizes": [1, 1]}, "three whole numbers: subjects in train, val and test"),
        ({"split_sizes": [-1, 2, 2]}, "three whole numbers: subjects in train, val and test"),
        ({"split_sizes": [1, 1, 2]}, "add up to 4, but subjects is 3"),
    ],
)
def test_wrong_arguments_write_nothing(tmp_path, arguments, message):
    known = {"subjects": 3, "seed": 0, "output_dir": tmp_path / "out", "shape": SHAPE, "workers": 1}
    with pytest.raises(ConfigurationError, match=message):
        write_cohort(**(known | arguments))
    assert list(tmp_path.iterdir()) == []


def test_folder_with_something_in_it_is_refused(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "precious.txt").write_text("mine")
    with pytest.raises(SystemExit, match="not an empty folder"):
        make_phantom(1, 0, str(tmp_path / "out"), shape=SHAPE, workers=1)
    assert [file.name for file in tmp_path.rglob("*")] == ["out", "precious.txt"]


def test_failure_leaves_nothing_behind(tmp_path, monkeypatch):
    def fails(*_args, **_kwargs):
        raise RuntimeError("disk full")

    monkeypatch.setattr("scripts.phantom.cohort.make_study", fails)
    with pytest.raises(RuntimeError, match="disk full"):
        write_cohort(2, 0, tmp_path / "out", shape=SHAPE, workers=1)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cohort") / "out"
    folder.mkdir()  # an empty folder is welcome
    write_cohort(6, 3, folder, split_sizes=[3, 1, 2], shape=SHAPE, workers=1)
    return folder


def test_a_worker_dies_of_its_pools_signal_whatever_the_program_does_with_it():
    """A handler that raises, as one that ends a server, would print a traceback for each worker."""

    context = multiprocessing.get_context("fork")
    ready = context.Event()

    def work() -> None:
        _end_quietly()
        ready.set()
        time.sleep(60)

    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        worker = context.Process(target=work)
        worker.start()
        assert ready.wait(timeout=60)
        worker.terminate()
        worker.join(timeout=60)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert worker.exitcode == -signal.SIGTERM


def test_same_seed_gives_the_same_bytes_with_any_number_of_workers(cohort, tmp_path):
    write_cohort(6, 3, tmp_path / "again", split_sizes=[3, 1, 2], shape=SHAPE, workers=3)
    assert digest(tmp_path / "again") == digest(cohort)


def test_another_seed_gives_other_bytes(cohort, tmp_path):
    write_cohort(1, 4, tmp_path / "other", shape=SHAPE, workers=1)
    assert not set(digest(tmp_path / "other").values()) & set(digest(cohort).values())


def test_layout(cohort):
    with (cohort / "subjects.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["split"] for row in rows] == ["train"] * 3 + ["val"] + ["test"] * 2
    assert json.loads((cohort / "dataset.json").read_text())["numTraining"] == 4
    for row in rows:
        suffix = "Ts" if row["split"] == "test" else "Tr"
        label = nib.load(cohort / f"labels{suffix}" / f"{row['case']}.nii.gz")
        liver = nib.load(cohort / "liver" / f"{row['case']}.nii.gz")
        for phase in range(4):
            image = nib.load(cohort / f"images{suffix}" / f"{row['case']}_{phase:04d}.nii.gz")
            assert image.shape == label.shape == liver.shape == SHAPE
            assert image.get_data_dtype() == np.int16
            np.testing.assert_allclose(image.header.get_zooms(), (8.0, 9.6, 16.0))
        expected = {"hemangioma": 1, "hcc": 2, "none": 0}[row["class"]]
        assert int(np.asarray(label.dataobj).max()) == expected


def test_truth_names_every_case(cohort):
    truth = json.loads((cohort / "phantom.json").read_text())
    with (cohort / "subjects.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert sorted(truth["subjects"]) == [row["case"] for row in rows]
    assert truth["seed"] == 3
    for row in rows:
        assert bool(truth["subjects"][row["case"]]["lesions"]) == (row["class"] != "none")
