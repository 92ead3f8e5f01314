"""What a run was made by."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest

from scripts.experiments.grid.provenance import commit_of, provenance


@pytest.fixture
def repository(tmp_path) -> Path:
    (tmp_path / "bundle" / "scripts").mkdir(parents=True)
    (tmp_path / "bundle" / "scripts" / "a.py").write_text("1\n")
    git(tmp_path, "init")
    commit(tmp_path)
    return tmp_path


def git(root: Path, *arguments: str) -> str:
    who = ("-c", "user.name=a", "-c", "user.email=a@b")
    ended = subprocess.run(["git", "-C", str(root), *who, *arguments], check=True, capture_output=True, text=True)
    return ended.stdout.strip()


def commit(root: Path) -> None:
    git(root, "add", ".")
    git(root, "commit", "-m", "more")


def test_without_git_there_is_no_commit(tmp_path):
    told = provenance(tmp_path / "nowhere", commit_of(tmp_path / "nowhere"))
    assert (told["commit"], told["dirty"]) == (None, None)


def test_code_that_differs_from_the_commit_is_said(repository):
    start = commit_of(repository)
    told = provenance(repository, start)
    assert (told["commit"], told["dirty"]) == (git(repository, "rev-parse", "HEAD"), False)
    (repository / "notes.txt").touch()
    assert provenance(repository, start)["dirty"] is False
    (repository / "bundle" / "scripts" / "new.py").touch()
    assert provenance(repository, start)["dirty"] is True


def test_code_that_was_committed_while_the_grid_ran_is_not_that_of_its_commit(repository):
    start = commit_of(repository)
    (repository / "notes.txt").touch()
    commit(repository)
    assert provenance(repository, start)["dirty"] is False
    (repository / "bundle" / "scripts" / "a.py").write_text("2\n")
    commit(repository)
    told = provenance(repository, start)
    assert (told["commit"], told["dirty"]) == (start, True)


def test_versions_and_the_machine_without_its_name(tmp_path):
    told = provenance(tmp_path, None)
    assert told["packages"]["torch"] == version("torch")
    assert told["python"] == platform.python_version()
    assert told["hardware"]["cores"] == len(os.sched_getaffinity(0))
    assert platform.node() not in str(told) or not platform.node()
