from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from scripts.domain.errors import ConfigurationError
from scripts.domain.writing import folder_when_written, replace_when_written, require_empty


def _write_half(path: Path) -> None:
    with replace_when_written(path) as aside:
        aside.write_text("half")
        raise RuntimeError


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "mask.nii.gz"
    path.write_text("old")
    with pytest.raises(RuntimeError):
        _write_half(path)
    assert [file.name for file in tmp_path.iterdir()] == ["mask.nii.gz"]
    assert path.read_text() == "old"


def test_a_file_appears_whole_in_a_new_folder(tmp_path: Path) -> None:
    path = tmp_path / "new" / "mask.nii.gz"
    with replace_when_written(path) as aside:
        aside.write_text("whole")
        assert not path.exists()
        assert aside.name.endswith(".nii.gz")
    assert [file.name for file in path.parent.iterdir()] == ["mask.nii.gz"]
    assert path.read_text() == "whole"


def test_two_threads_that_write_one_file_do_not_meet(tmp_path: Path) -> None:
    path, asides, both = tmp_path / "record.json", [], threading.Barrier(2, timeout=10)

    def write(text: str) -> None:
        with replace_when_written(path) as aside:
            asides.append(aside)
            both.wait()
            aside.write_text(text)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(write, ["a", "b"]))
    assert asides[0] != asides[1]
    assert path.read_text() in ("a", "b")


def test_a_folder_comes_into_being_whole(tmp_path):
    with folder_when_written(tmp_path / "a" / "out") as aside:
        (aside / "file").write_text("x")
        assert not (tmp_path / "a" / "out").exists()
    assert (tmp_path / "a" / "out" / "file").read_text() == "x"
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["out"]


def test_a_folder_that_fails_leaves_nothing(tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(FileNotFoundError), folder_when_written(tmp_path / "out") as aside:
        (aside / "no such folder" / "file").write_text("x")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert list((tmp_path / "out").iterdir()) == []


def test_a_folder_with_something_in_it_is_refused(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigurationError, match="is not an empty folder"):
        require_empty(tmp_path)
    with pytest.raises(ConfigurationError, match="is not an empty folder"):
        require_empty(tmp_path / "file")
    require_empty(tmp_path / "new")
