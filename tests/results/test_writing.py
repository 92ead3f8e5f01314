import dataclasses
import json

import pytest
from matplotlib.figure import Figure

from scripts.domain.errors import StudyError
from scripts.results.lesions import analyse
from scripts.results.writing import write_result


@pytest.fixture
def result(make_study, make_prediction, one_hcc, model):
    return analyse(make_study(one_hcc), make_prediction(one_hcc), model=model)[0]


def write_mask(path):
    path.write_bytes(b"a mask")


def fail(path):
    path.write_bytes(b"half of a m")
    msg = "disk full"
    raise OSError(msg)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/etc/passwd", "../a"])
def test_refuses_a_name_that_leads_elsewhere(tmp_path, result, name):
    with pytest.raises(StudyError, match="cannot name a result's folder"):
        write_result(tmp_path / "out", dataclasses.replace(result, subject=name), write_mask=write_mask)
    assert not (tmp_path / "out").exists()


def test_a_failure_leaves_nothing(tmp_path, result):
    with pytest.raises(OSError, match="disk full"):
        write_result(tmp_path, result, write_mask=fail)
    assert list(tmp_path.iterdir()) == []


def test_a_failure_leaves_an_older_result_as_it_was(tmp_path, result):
    folder = write_result(tmp_path, result, write_mask=write_mask)
    before = (folder / "result.json").read_bytes()
    with pytest.raises(OSError, match="disk full"):
        write_result(tmp_path, dataclasses.replace(result, lesions=()), write_mask=fail)
    assert (folder / "result.json").read_bytes() == before
    assert (folder / "mask.nii.gz").read_bytes() == b"a mask"


def test_writes_the_three_files(tmp_path, result):
    folder = write_result(tmp_path / "new" / "out", result, write_mask=write_mask, figure=Figure())
    assert folder == tmp_path / "new" / "out" / "case_01"
    assert {path.name for path in folder.iterdir()} == {"mask.nii.gz", "result.json", "figure.png"}
    assert json.loads((folder / "result.json").read_text())["subject"] == "case_01"
    assert (folder / "figure.png").read_bytes().startswith(b"\x89PNG")


def test_a_newer_result_replaces_an_older_one_whole(tmp_path, result):
    write_result(tmp_path, result, write_mask=write_mask, figure=Figure())
    folder = write_result(tmp_path, dataclasses.replace(result, lesions=()), write_mask=write_mask)
    assert {path.name for path in folder.iterdir()} == {"mask.nii.gz", "result.json"}
    assert json.loads((folder / "result.json").read_text())["lesions"] == []
    assert [path.name for path in tmp_path.iterdir()] == ["case_01"]
