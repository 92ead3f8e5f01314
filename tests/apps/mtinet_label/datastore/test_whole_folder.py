"""A folder is there whole or not at all."""

import os
import subprocess
import sys

import pytest

from lib.whole_folder import new_folder, remove_leftovers


def test_a_failing_block_leaves_nothing(tmp_path):
    def fail():
        with new_folder(tmp_path / "new") as aside:
            (aside / "half").write_text("half")
            raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_never_replaced(tmp_path):
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "file").write_text("first")
    with pytest.raises(FileExistsError), new_folder(tmp_path / "new") as aside:
        (aside / "file").write_text("second")
    assert (tmp_path / "new" / "file").read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


@pytest.mark.parametrize("durable", [False, True])
def test_the_name_appears_when_the_block_ends(tmp_path, durable):
    with new_folder(tmp_path / "deep" / "new", durable=durable) as aside:
        (aside / "part").mkdir()
        (aside / "part" / "file").write_text("whole")
        assert not (tmp_path / "deep" / "new").exists()
    assert (tmp_path / "deep" / "new" / "part" / "file").read_text() == "whole"


def test_only_leftovers_of_the_dead_are_removed(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    (tmp_path / f".aside-{dead.pid}-x").mkdir()
    (tmp_path / ".aside-nonsense").mkdir()
    (tmp_path / f".aside-{os.getppid()}-alive").mkdir()
    (tmp_path / f".aside-{os.getpid()}-now").mkdir()
    earlier = tmp_path / f".aside-{os.getpid()}-earlier"
    earlier.mkdir()
    os.utime(earlier, (1, 1))
    (tmp_path / "kept").mkdir()
    remove_leftovers(tmp_path)
    assert sorted(path.name.rpartition("-")[2] for path in tmp_path.iterdir()) == ["alive", "kept", "now"]
    remove_leftovers(tmp_path / "not there")
