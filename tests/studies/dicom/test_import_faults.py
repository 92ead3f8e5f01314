"""An import that meets spoilt studies, a full disk, another import or its own end: what is said, and what is left."""

from __future__ import annotations

import gzip
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from scripts.domain.errors import ConfigurationError, StudyError
from scripts.studies.dicom import importing, study_import
from scripts.studies.dicom.destination import Destination
from scripts.studies.dicom.importing import ImportOutcome
from scripts.studies.dicom.stack import Stack
from scripts.studies.integrity import check_dataset
from scripts.studies.sources import find_cases


def text_below(folder: Path) -> str:
    """Names and contents of all files, unpacked, as one text."""
    texts = []
    for file in (path for path in folder.rglob("*") if path.is_file()):
        content = file.read_bytes()
        content = gzip.decompress(content) + content if content[:2] == b"\x1f\x8b" else content
        texts += [str(file.relative_to(folder)), content.decode("latin-1")]
    return "\n".join(texts)


def test_two_patients_under_one_study_uid(
    only_failure: Callable[[ImportOutcome], str],
    study: object,
    dicom_phantom: ModuleType,
    sent: Callable[..., ImportOutcome],
    tmp_path: Path,
) -> None:
    bad = dicom_phantom.bad_input
    bad.mix_patients(study.of_role("delayed").files, bad.other_patient())
    assert "more than one patient" in only_failure(sent())
    assert not (tmp_path / "out").exists()


SPOILT = {
    "a phase missing": (lambda bad, study: bad.remove_series(study.of_role("delayed")), "delayed"),
    "two frames of reference in a series": (
        lambda bad, study: bad.mix_frames_of_reference(study.of_role("arterial").files[:5]),
        "",
    ),
    "a slice missing": (lambda bad, study: bad.remove_slice(study.of_role("arterial"), 6), ""),
    "a truncated file": (lambda bad, study: bad.truncate(study.of_role("arterial").files[6]), ""),
    "colour": (lambda bad, study: bad.make_rgb(study.of_role("arterial").files), ""),
    "a compression that nothing decodes": (
        lambda bad, study: bad.unsupported_compression(study.of_role("arterial").files),
        "",
    ),
    "no positions": (lambda bad, study: bad.drop(study.of_role("arterial").files, "ImagePositionPatient"), ""),
    "less than half of the arterial phase": (lambda bad, study: bad.trim(study.of_role("delayed"), 0, 5), "delayed"),
}


@pytest.mark.parametrize("fault", SPOILT)
def test_a_spoilt_study_gives_one_neutral_line_and_the_others_go_on(
    fault: str,
    study: object,
    dicom_phantom: ModuleType,
    sent: Callable[..., ImportOutcome],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    spoil, word = SPOILT[fault]
    spoil(dicom_phantom.bad_input, study)
    other = dicom_phantom.Patient(name="PLANTED^SOUND", patient_id="PLANTED-2")
    dicom_phantom.temporal_positions(
        tmp_path / "in" / "sound", filing=dicom_phantom.Filing(patient=other, key="sound", nested=True)
    )
    outcome = sent()
    assert len(outcome.studies) == 1
    (failed,) = outcome.failed
    assert word in failed.reason
    assert "the importer failed" not in failed.reason
    assert "\n" not in failed.reason
    said = importing.outcome_table(outcome) + "".join(capfd.readouterr())
    written = text_below(tmp_path / "out")
    for text in (said, written):
        assert "PLANTED" not in text.upper()
        assert "19510203" not in text
    assert failed.case in said
    assert [case.case for case in find_cases(tmp_path / "out" / "imagesTs")] == [outcome.studies[0].case.case]


def test_a_surprise_costs_one_study_and_tells_nothing(
    only_failure: Callable[[ImportOutcome], str],
    study: object,
    sent: Callable[..., ImportOutcome],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("PLANTED^NAME")

    monkeypatch.setattr(study_import, "stacks_of", fail)
    reason = only_failure(sent())
    assert "RuntimeError in test_import_faults.py" in reason
    assert "PLANTED" not in reason
    assert not (tmp_path / "out").exists()


def test_a_message_that_quotes_the_study_is_swept(
    only_failure: Callable[[ImportOutcome], str],
    study: object,
    sent: Callable[..., ImportOutcome],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(stack: Stack) -> None:
        msg = f"{stack.frames[0].file}: {stack.header.PatientName} cannot be read"
        raise StudyError(msg)

    monkeypatch.setattr("scripts.studies.dicom.alignment.read_volume", fail)
    assert only_failure(sent()) == "[removed]: [removed] cannot be read"


def test_a_full_disk_leaves_nothing_of_a_study(
    only_failure: Callable[[ImportOutcome], str],
    study: object,
    sent: Callable[..., ImportOutcome],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    write = study_import.write_nifti

    def fail(image: np.ndarray, affine: np.ndarray, file: Path) -> None:
        if "_0002" in file.name:
            raise OSError(28, "No space left on device")
        write(image, affine, file)

    monkeypatch.setattr(study_import, "write_nifti", fail)
    reason = "output_dir cannot be written: No space left on device. Free space or give another folder"
    assert only_failure(sent()) == reason
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("two_studies")
@pytest.mark.parametrize(("number", "tried"), [(28, 1), (30, 1), (13, 1), (5, 2)])
def test_a_disk_that_stays_as_it_is_is_tried_once(
    number: int, tried: int, sent: Callable[..., ImportOutcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Full, read-only and forbidden; an input or output error may be that of one file."""
    calls = []

    def fail(_: np.ndarray, __: np.ndarray, file: Path) -> None:
        calls.append(file)
        raise OSError(number, os.strerror(number), str(file))

    monkeypatch.setattr(study_import, "write_nifti", fail)
    outcome = sent()
    assert len(calls) == tried
    said = f"output_dir cannot be written: {os.strerror(number)}. Free space or give another folder"
    assert [failed.reason for failed in outcome.failed] == [said, said if tried == 2 else f"not tried: {said}"]


def test_a_report_that_cannot_be_written_is_said(
    study: object, sent: Callable[..., ImportOutcome], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(path: Path, *_: object) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(importing, "write_import_report", fail)
    with pytest.raises(
        ConfigurationError, match=r"cannot be written: No space left .* The studies are imported; the rep"
    ):
        sent()
    assert len(find_cases(tmp_path / "out")) == 1
    assert not (tmp_path / "out" / ".lock").exists()


def test_an_error_of_no_disk_is_a_surprise(
    only_failure: Callable[[ImportOutcome], str],
    study: object,
    sent: Callable[..., ImportOutcome],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> None:
        raise OSError("PLANTED^NAME")

    monkeypatch.setattr(study_import, "stacks_of", fail)
    assert only_failure(sent()).startswith("the importer failed on it (OSError in test_import_faults.py")


def test_another_import_into_the_same_folder_is_refused(
    study: object, sent: Callable[..., ImportOutcome], tmp_path: Path
) -> None:
    other = Destination(tmp_path / "out")
    with pytest.raises(ConfigurationError, match="another import is writing to output_dir"):
        sent()
    other.close()
    assert not (tmp_path / "out").exists()
    assert len(sent().studies) == 1
    assert not (tmp_path / "out" / ".lock").exists()


def test_an_import_that_is_killed_can_be_typed_again(
    study: object, sent: Callable[..., ImportOutcome], tmp_path: Path
) -> None:
    """Killed while the first study is taken over, in a process of its own."""
    script = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from scripts.studies.dicom import destination, importing\n"
        "destination.Destination._write_row = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "importing.import_studies(sys.argv[1], sys.argv[2], register='none', progress=False)\n"
    )
    command = [sys.executable, "-c", script, tmp_path / "in", tmp_path / "out"]
    bundle = Path(importing.__file__).parents[3]
    assert subprocess.run(command, cwd=bundle, check=False).returncode == -signal.SIGKILL
    left = {path.name for path in (tmp_path / "out").iterdir()}
    assert {".lock", ".salt", "imagesTs", "import"} < left
    outcome = sent()
    assert len(outcome.studies) == 1
    there = {path.name for path in (tmp_path / "out").iterdir()}
    assert there == {".salt", "imagesTs", "import", "import_report.html", "dataset.json", "subjects.csv"}
    assert check_dataset(tmp_path / "out") == []
