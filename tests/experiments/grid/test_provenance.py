"""What a run was made by."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest

from scripts.experiments.grid.provenance import provenance


@pytest.fixture
def repository(tmp_path) -> Path:
    def git(*arguments: str) -> None:
        who = ("-c", "user.name=a", "-c", "user.email=a@b")
        subprocess.run(["git", "-C", str(tmp_path), *who, *arguments], check=True, capture_output=True)

    (tmp_path / "bundle" / "scripts").mkdir(parents=True)
    (tmp_path / "bundle" / "scripts" / "a.py").write_text("1\n")
    git("init")
    git("add", ".")
    git("commit", "-m", "one")
    return tmp_path


def test_without_git_there_is_no_commit(tmp_path):
    told = provenance(tmp_path / "nowhere")
    assert (told["commit"], told["dirty"]) == (None, None)


def test_code_that_differs_from_the_commit_is_said(repository):
    told = provenance(repository)
    commit = subprocess.run(["git", "-C", str(repository), "rev-parse", "HEAD"], capture_output=True, text=True).stdout
    assert (told["commit"], told["dirty"]) == (commit.strip(), False)
    (repository / "notes.txt").touch()
    assert provenance(repository)["dirty"] is False
    (repository / "bundle" / "scripts" / "new.py").touch()
    assert provenance(repository)["dirty"] is True


def test_versions_and_the_machine_without_its_name(tmp_path):
    told = provenance(tmp_path)
    assert told["packages"]["torch"] == version("torch")
    assert told["python"] == platform.python_version()
    assert told["hardware"]["cores"] == len(os.sched_getaffinity(0))
    assert platform.node() not in str(told) or not platform.node()
