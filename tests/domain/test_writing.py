from __future__ import annotations

from pathlib import Path

import pytest

from scripts.domain.writing import replace_when_written


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
