"""The import as a library: real DICOM files of the phantom, choice and geometry as users get them."""

from __future__ import annotations

import csv
import gzip
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import nibabel as nib
import numpy as np
import pydicom
import pytest
from nibabel.affines import apply_affine

from scripts.domain.errors import ConfigurationError, DatasetError, StudyError
from scripts.domain.phases import PHASES
from scripts.domain.prediction import Prediction
from scripts.engines.dicom_output import source_of
from scripts.results.dicom.writing import write_dicom
from scripts.results.lesions import analyse
from scripts.studies import registration
from scripts.studies.dicom import importing, study_import
from scripts.studies.dicom.destination import Destination
from scripts.studies.dicom.import_report import figure_file_name
from scripts.studies.dicom.importing import ImportOutcome, import_studies
from scripts.studies.dicom.record import displacement_file_name
from scripts.studies.dicom.stack import Stack
from scripts.studies.displacement import Displacement
from scripts.studies.elastix import NoMotionFoundError
from scripts.studies.integrity import check_dataset
from scripts.studies.reading import read_study
from scripts.studies.sources import find_cases


@pytest.fixture(scope="session")
def _one_study(dicom_phantom: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> object:
    subject = dicom_phantom.Subject(tilt_deg=(9.0, 0.0, 6.0), marker=True)
    return dicom_phantom.separate_series(tmp_path_factory.mktemp("dicom") / "PLANTED", subject=subject)


@pytest.fixture
def study(_one_study: object, tmp_path: Path) -> object:
    """Four series of a tilted phantom with a marker, planted with a patient; a fresh copy, to be spoilt."""
    folder = Path(shutil.copytree(_one_study.folder, tmp_path / "in" / "PLANTED"))
    series = [
        replace(each, files=tuple(folder / file.relative_to(_one_study.folder) for file in each.files))
        for each in _one_study.series
    ]
    return replace(_one_study, folder=folder, series=tuple(series))


@pytest.fixture
def sent(tmp_path: Path) -> Callable[..., ImportOutcome]:
    """Imports ``in`` into ``out`` without registration and without bars, unless told otherwise."""

    def run(**options: object) -> ImportOutcome:
        settings = {"register": "none", "progress": False} | options
        return import_studies(tmp_path / "in", tmp_path / "out", **settings)

    return run


def text_below(folder: Path) -> str:
    """Names and contents of all files, unpacked, as one text."""
    texts = []
    for file in (path for path in folder.rglob("*") if path.is_file()):
        content = file.read_bytes()
        content = gzip.decompress(content) + content if content[:2] == b"\x1f\x8b" else content
        texts += [str(file.relative_to(folder)), content.decode("latin-1")]
    return "\n".join(texts)


def only_failure(outcome: ImportOutcome) -> str:
    assert outcome.studies == ()
    (failed,) = outcome.failed
    return failed.reason


# Wrong input first.


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"register": "affine"}, "register is 'affine'; it must be one of none, rigid, deformable"),
        ({"phases": "arterial=7"}, "phases is not JSON"),
        ({"phases": "[7]"}, "phases is not a mapping"),
        ({"phases": {"aterial": "7"}}, "phases names 'aterial'; the phases are pre, arterial"),
        ({"phases": {"arterial": None}}, "phases gives arterial no series number or UID"),
        ({"phases": {"arterial": " "}}, "phases gives arterial no series number or UID"),
    ],
)
def test_a_wrong_argument_is_refused_before_anything_is_read(
    options: dict, message: str, sent: Callable[..., ImportOutcome], tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        sent(**options)
    assert not (tmp_path / "out").exists()


def test_a_missing_folder_and_a_folder_without_images_are_refused(
    sent: Callable[..., ImportOutcome], tmp_path: Path
) -> None:
    with pytest.raises(DatasetError, match="no such folder"):
        sent()
    (tmp_path / "in").mkdir()
    with pytest.raises(DatasetError, match=r"no MR image in input_dir\. It holds no file"):
        sent()
    (tmp_path / "in" / "notes.txt").write_text("x")
    with pytest.raises(DatasetError, match=r"no MR image in input_dir\. Its files: 1 not DICOM"):
        sent()
    assert not (tmp_path / "out").exists()


def test_an_output_below_the_input_is_refused(study: object) -> None:
    with pytest.raises(ConfigurationError, match="lies in input_dir"):
        import_studies(study.folder, study.folder / "out", register="none")
    assert not (study.folder / "out").exists()


def test_a_series_that_no_study_has_is_refused(study: object, sent: Callable[..., ImportOutcome]) -> None:
    with pytest.raises(ConfigurationError, match="phases gives arterial the series 77, which no study"):
        sent(phases={"arterial": "77"})


def test_two_patients_under_one_study_uid(
    study: object, dicom_phantom: ModuleType, sent: Callable[..., ImportOutcome], tmp_path: Path
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
    study: object, sent: Callable[..., ImportOutcome], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("PLANTED^NAME")

    monkeypatch.setattr(study_import, "stacks_of", fail)
    reason = only_failure(sent())
    assert "RuntimeError in test_importing.py" in reason
    assert "PLANTED" not in reason
    assert not (tmp_path / "out").exists()


def test_a_message_that_quotes_the_study_is_swept(
    study: object, sent: Callable[..., ImportOutcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(stack: Stack) -> None:
        msg = f"{stack.frames[0].file}: {stack.header.PatientName} cannot be read"
        raise StudyError(msg)

    monkeypatch.setattr("scripts.studies.dicom.alignment.read_volume", fail)
    assert only_failure(sent()) == "[removed]: [removed] cannot be read"


def test_a_full_disk_leaves_nothing_of_a_study(
    study: object, sent: Callable[..., ImportOutcome], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    save = nib.save

    def fail(image: nib.Nifti1Image, file: Path) -> None:
        if "_0002" in file.name:
            raise OSError(28, "No space left on device")
        save(image, file)

    monkeypatch.setattr(study_import.nib, "save", fail)
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

    def fail(_: nib.Nifti1Image, file: Path) -> None:
        calls.append(file)
        raise OSError(number, os.strerror(number), str(file))

    monkeypatch.setattr(study_import.nib, "save", fail)
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
    study: object, sent: Callable[..., ImportOutcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError("PLANTED^NAME")

    monkeypatch.setattr(study_import, "stacks_of", fail)
    assert only_failure(sent()).startswith("the importer failed on it (OSError in test_importing.py")


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


def siemens(dicom_phantom: ModuleType, folder: Path) -> object:
    """Series 7 to 11 of one description and without the start of the bolus, the last ones both delayed."""
    parts = dicom_phantom.styles.phase_parts(dicom_phantom.Subject())
    times_s = {"pre": -60.0, "arterial": 25.0, "portal_venous": 65.0, "delayed": 120.0, "later": 180.0}
    parts["later"] = replace(parts["delayed"], phase="")
    series = [
        dicom_phantom.Series(
            number=number,
            role="dynamic",
            description="t1_vibe_fs_tra_bh_dyn",
            parts=(replace(parts[name], seconds=time_s),),
            contrast=time_s > 0,
            bolus_time=False,
        )
        for number, (name, time_s) in enumerate(times_s.items(), start=7)
    ]
    return dicom_phantom.filing.write_study(folder, series, dicom_phantom.Subject(), dicom_phantom.Filing())


@pytest.mark.parametrize("spoil", ["truncate", "remove_slice"])
def test_no_phase_takes_the_place_of_a_broken_one(
    spoil: str, dicom_phantom: ModuleType, sent: Callable[..., ImportOutcome], tmp_path: Path
) -> None:
    bad, written = dicom_phantom.bad_input, siemens(dicom_phantom, tmp_path / "in")
    if spoil == "truncate":
        bad.truncate(written.of_role("arterial").files[6])
    else:
        bad.remove_slice(written.of_role("arterial"), 6)
    outcome = sent()
    reason = only_failure(outcome)
    assert reason.startswith("series 8 cannot be used: 1 ")
    assert "no arterial phase found" in reason
    assert [row.series_number for row in outcome.failed[0].candidates] == [7, 9, 10, 11]
    assert "8" in [str(each["series_number"]) for each in outcome.failed[0].left]


def test_a_whole_siemens_study_is_taken(
    dicom_phantom: ModuleType, sent: Callable[..., ImportOutcome], tmp_path: Path
) -> None:
    siemens(dicom_phantom, tmp_path / "in")
    numbers = [phase["series_number"] for phase in sent().records[0]["phases"].values()]
    assert numbers in ([7, 8, 9, 10], [7, 8, 9, 11])


def test_philips_intensities_of_two_kinds_are_refused(
    dicom_phantom: ModuleType, sent: Callable[..., ImportOutcome], tmp_path: Path
) -> None:
    written = dicom_phantom.philips_series(tmp_path / "in")
    strip_private(written.of_role("delayed").files)
    assert only_failure(sent()) == (
        "some phases lack Philips' private scale slope (2005,100E), so their intensities cannot be compared: delayed. "
        "Export again with private elements"
    )


def strip_private(files: Iterable[Path]) -> None:
    for file in files:
        dataset = pydicom.dcmread(file)
        dataset.remove_private_tags()
        dataset.save_as(file)


def test_philips_intensities_without_their_scale_get_a_note(
    dicom_phantom: ModuleType, sent: Callable[..., ImportOutcome], tmp_path: Path
) -> None:
    strip_private(dicom_phantom.philips_series(tmp_path / "in").files)
    outcome = sent()
    note = "Philips' private scale slope is missing: intensities of the phases may not be comparable"
    assert outcome.records[0]["notes"] == [note]
    assert note in importing.outcome_table(outcome)


@pytest.mark.parametrize("name", ["Case^Salt", "Scanner^Series"])
def test_a_patient_named_like_a_word_of_the_record(
    name: str, dicom_phantom: ModuleType, sent: Callable[..., ImportOutcome], tmp_path: Path
) -> None:
    filing = dicom_phantom.Filing(patient=dicom_phantom.Patient(name=name, patient_id="NONE"))
    dicom_phantom.separate_series(tmp_path / "in", filing=filing)
    (study,) = sent().studies
    record = json.loads((tmp_path / "out" / "import" / study.case.case / "import.json").read_text())
    assert record["case"] == study.case.case
    assert sent().already == (study.case.case,)


def test_numbers_in_advice_survive_a_study_of_the_same_number(
    dicom_phantom: ModuleType, sent: Callable[..., ImportOutcome], tmp_path: Path
) -> None:
    filing = dicom_phantom.Filing(patient=dicom_phantom.Patient(name="PLANTED^OTHER"))
    written = dicom_phantom.ambiguous(tmp_path / "in", filing=filing)
    for number, series in enumerate(written.series):
        dicom_phantom.bad_input.edit(series.files, SeriesNumber=1001 + number, StudyID="1001", AccessionNumber="1002")
    reason = only_failure(sent())
    assert "[removed]" not in reason
    assert re.search(r"--phases '\{.*\"100\d\".*\}'", reason)


def test_series_that_share_a_number_are_named_by_their_uid(
    dicom_phantom: ModuleType, sent: Callable[..., ImportOutcome], tmp_path: Path
) -> None:
    filing = dicom_phantom.Filing(patient=dicom_phantom.Patient(name="PLANTED^OTHER"))
    written = dicom_phantom.ambiguous(tmp_path / "in", filing=filing, candidates=4)
    for series in written.series:
        dicom_phantom.bad_input.edit(series.files, SeriesNumber=10)
    uids = {series.uid for series in written.series}
    for options in ({}, {"phases": {"arterial": "10"}}):
        outcome = sent(**options)
        reason = only_failure(outcome)
        assert "[removed]" not in reason
        assert "<UID>" in reason
        assert {row.override for row in outcome.failed[0].candidates} == uids
        assert not any(uid in reason for uid in uids)
        assert all(uid in importing.outcome_table(outcome) for uid in uids)
    assert "arterial: '10' is 4 volumes. Name it by its UID" in reason
    phases = {phase: series.uid for phase, series in zip(PHASES, written.series, strict=True)}
    outcome = sent(phases=phases)
    assert outcome.failed == ()
    assert outcome.studies[0].sources["delayed"].series_uid == phases["delayed"]


def test_a_series_number_that_is_none_is_no_bug(study: object, sent: Callable[..., ImportOutcome]) -> None:
    for file in study.of_role("arterial").files:
        content = file.read_bytes()
        place = content.index(b"\x20\0\x11\0IS")
        assert content[place + 6 : place + 10] == b"\x02\x0010"
        file.write_bytes(content[: place + 8] + b"AB" + content[place + 10 :])
    outcome = sent(phases={"delayed": "12"})
    assert outcome.failed == ()
    assert outcome.records[0]["phases"]["arterial"]["series_number"] is None


# What a study becomes.


def test_the_four_phases_on_the_arterial_grid(
    study: object, sent: Callable[..., ImportOutcome], tmp_path: Path
) -> None:
    outcome = sent()
    assert outcome.failed == ()
    (imported,) = outcome.studies
    assert list(imported.sources) == list(PHASES)
    for phase, file in zip(PHASES, imported.case.phase_files, strict=True):
        truth = study.phases[phase].volume
        image = nib.load(file)
        assert image.get_data_dtype() == np.int16
        assert np.allclose(image.affine, study.phases["arterial"].volume.affine, atol=1e-3)
        np.testing.assert_array_equal(np.asarray(image.dataobj), np.rint(truth.array))
        assert imported.sources[phase].series_uid == study.phases[phase].series.uid
    arterial = nib.load(imported.case.phase_files[1])
    brightest = np.unravel_index(np.argmax(arterial.get_fdata()), arterial.shape)
    assert np.allclose(nib.affines.apply_affine(arterial.affine, brightest), study.subject.marker_mm, atol=0.1)


def test_its_record(study: object, sent: Callable[..., ImportOutcome], tmp_path: Path) -> None:
    outcome = sent()
    case = outcome.studies[0].case
    record = json.loads((tmp_path / "out" / "import" / case.case / "import.json").read_text())
    assert record == outcome.records[0]
    assert list(record["phases"]) == list(PHASES)
    arterial, delayed = record["phases"]["arterial"], record["phases"]["delayed"]
    assert (arterial["series_number"], delayed["series_number"]) == (10, 12)
    assert arterial["reference"]
    assert arterial["coverage"] is None
    assert delayed["coverage"] == {"share": 1.0, "missing_mm": {}}
    assert delayed["registration"] is None
    assert delayed["evidence"]
    # Before the injection there is no time since.
    assert case.times_s == pytest.approx([max(0.0, study.phases[phase].time_s) for phase in PHASES], abs=0.5)
    assert record["grid"]["shape"] == [40, 32, 14]


def test_the_dataset_is_taken_by_the_other_commands(
    study: object, sent: Callable[..., ImportOutcome], tmp_path: Path
) -> None:
    outcome = sent()
    assert check_dataset(tmp_path / "out") == []
    (case,) = find_cases(tmp_path / "out")
    assert case == outcome.studies[0].case
    read = read_study(case)
    assert read.available == (True,) * 4
    assert case.tumour_class == ""
    assert case.split == "test"


def test_another_grid_and_coverage(
    study: object, dicom_phantom: ModuleType, sent: Callable[..., ImportOutcome]
) -> None:
    dicom_phantom.bad_input.trim(study.of_role("delayed"), 3, 14)
    outcome = sent()
    delayed = outcome.records[0]["phases"]["delayed"]
    assert outcome.records[0]["notes"] == ["delayed shows 79 % of the arterial volume, missing 34 mm at the feet"]
    spacing_mm = np.linalg.norm(study.phases["delayed"].volume.affine[:3, 2])
    assert delayed["coverage"]["share"] == pytest.approx(11 / 14, abs=1e-3)
    assert delayed["coverage"]["missing_mm"] == {"feet": pytest.approx(3 * spacing_mm, abs=0.1)}
    image = np.asarray(nib.load(outcome.studies[0].case.phase_files[3]).dataobj)
    assert not image[:, :, :2].any()
    truth = study.phases["delayed"].volume.array
    np.testing.assert_allclose(image[:, :, 4:], np.rint(truth[:, :, 4:]), atol=1)


def test_registration_is_written_down_and_drawn(
    dicom_phantom: ModuleType, sent: Callable[..., ImportOutcome], tmp_path: Path
) -> None:
    subject = dicom_phantom.Subject(shifts_mm={"delayed": (0.0, 4.0, 12.0)})
    dicom_phantom.separate_series(tmp_path / "in", subject=subject)
    outcome = sent(register="rigid")
    assert outcome.failed == ()
    case = outcome.studies[0].case.case
    moved = outcome.records[0]["phases"]["delayed"]["registration"]
    assert moved["method"] == "rigid"
    assert moved["kept"]
    assert moved["similarity_after"] > moved["similarity_before"]
    # The phantom breathes by up to 5 mm itself.
    assert moved["displacement_mm"]["median"] == pytest.approx(12.6, abs=5.0)
    about = tmp_path / "out" / "import" / case
    others = {phase: outcome.records[0]["phases"][phase]["registration"] for phase in PHASES if phase != "arterial"}
    files = [figure_file_name(phase) for phase in others]
    files += [displacement_file_name(phase) for phase, registered in others.items() if registered["method"] == "rigid"]
    assert sorted(about.iterdir()) == sorted(about / name for name in ("import.json", *files))
    assert (tmp_path / "out" / "import_report.html").read_text().count("data:image/jpeg") == 3
    # Where the record says, and without elastix: how the anatomy was moved.
    record = json.loads((about / "import.json").read_text())
    assert record["phases"]["arterial"]["registration"] is None
    displacement = Displacement.read(about / record["phases"]["delayed"]["registration"]["displacement"])
    liver = subject.liver
    places_mm = apply_affine(liver.affine, np.argwhere(liver.array))
    truth_mm = np.array([0.0, 4.0, 12.0]) + subject.phantom.truth["shifts_mm"][3]
    off_mm = np.linalg.norm(displacement.to_phase(places_mm) - places_mm - truth_mm, axis=1)
    assert np.median(off_mm) < 2.5  # voxels of 10 x 12 x 11 mm


@pytest.mark.parametrize("why", ["nothing was registered", "it was dropped", "it has no inverse"])
def test_without_a_registration_there_is_no_displacement(
    why: str,
    dicom_phantom: ModuleType,
    sent: Callable[..., ImportOutcome],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    dicom_phantom.separate_series(
        tmp_path / "in", subject=dicom_phantom.Subject(shifts_mm={"delayed": (0.0, 4.0, 12.0)})
    )

    def gives_up(*_: object, **__: object) -> None:
        raise NoMotionFoundError("internal error")

    if why == "it was dropped":
        monkeypatch.setattr(registration, "find_motion", gives_up)
    elif why == "it has no inverse":
        monkeypatch.setattr(Displacement, "residual_mm", lambda _: 3.0)
    outcome = sent(register="none" if why == "nothing was registered" else "rigid")
    assert outcome.failed == ()
    assert not list((tmp_path / "out").rglob("displacement*"))
    moved = outcome.records[0]["phases"]["delayed"]["registration"]
    assert moved is None if why == "nothing was registered" else moved["displacement"] is None
    note = "the registration of delayed has no inverse: masks are not moved along it"
    assert (note in outcome.records[0]["notes"]) == (why == "it has no inverse")


def test_floating_point_intensities_stay_so(
    dicom_phantom: ModuleType, sent: Callable[..., ImportOutcome], tmp_path: Path
) -> None:
    written = dicom_phantom.philips_series(tmp_path / "in")
    outcome = sent()
    for phase, file in zip(PHASES, outcome.studies[0].case.phase_files, strict=True):
        image = nib.load(file)
        assert image.get_data_dtype() == np.float32
        np.testing.assert_allclose(image.get_fdata(), written.phases[phase].volume.array, rtol=1e-5, atol=1e-3)


def test_a_mask_of_a_lossy_source_says_so(
    study: object, dicom_phantom: ModuleType, sent: Callable[..., ImportOutcome], tmp_path: Path
) -> None:
    lossy = "LossyImageCompression"
    tags = {lossy: "01", f"{lossy}Ratio": "8.0", f"{lossy}Method": "ISO_15444_1"}
    dicom_phantom.bad_input.edit(study.of_role("arterial").files, **tags)
    (imported,) = sent().studies
    read = read_study(imported.case)
    tumour = np.zeros(read.image.shape[1:], dtype=np.float32)
    tumour[10:14, 10:14, 4:7] = 1.0
    prediction = Prediction(tumour=tumour, regression=None, classification=None)
    result, mask = analyse(read, prediction, model={"version": "0.1.0", "weights_sha256": "ab" * 32})
    files = write_dicom(tmp_path / "result", study=read, result=result, mask=mask, source=source_of(imported))
    written = pydicom.dcmread(files["segmentation"])
    assert {keyword: str(written[keyword].value) for keyword in tags} == tags


# Several studies, and again.


@pytest.fixture
def two_studies(dicom_phantom: ModuleType, tmp_path: Path) -> Iterator[None]:
    """Two studies of one patient, mixed in one folder."""
    for key in ("first", "second"):
        filing = dicom_phantom.Filing(key=key, shuffled=True)
        dicom_phantom.separate_series(tmp_path / "in", filing=filing)


@pytest.mark.usefixtures("two_studies")
def test_studies_of_one_patient_in_one_folder(sent: Callable[..., ImportOutcome]) -> None:
    outcome = sent()
    assert outcome.failed == ()
    first, second = (study.case.case for study in outcome.studies)
    assert first != second
    assert first.rpartition("-")[0] == second.rpartition("-")[0]


@pytest.mark.usefixtures("two_studies")
def test_a_second_import_adds_what_is_new_and_touches_nothing_else(
    sent: Callable[..., ImportOutcome], dicom_phantom: ModuleType, tmp_path: Path
) -> None:
    first = sent()
    images = {file: file.stat().st_mtime_ns for file in (tmp_path / "out" / "imagesTs").iterdir()}
    dicom_phantom.trigger_times(tmp_path / "in" / "new", filing=dicom_phantom.Filing(key="third"))
    second = sent()
    assert sorted(second.already) == sorted(study.case.case for study in first.studies)
    assert len(second.studies) == 1
    assert {file: file.stat().st_mtime_ns for file in images} == images
    rows = list(csv.DictReader((tmp_path / "out" / "subjects.csv").open(newline="")))
    assert [row["case"] for row in rows] == [study.case.case for study in (*first.studies, *second.studies)]
    third = sent()
    assert (third.studies, third.failed, len(third.already)) == ((), (), 3)


def test_a_shared_salt_gives_one_name_in_two_datasets(study: object, tmp_path: Path) -> None:
    cases = [
        import_studies(tmp_path / "in", tmp_path / name, register="none", salt_file=tmp_path / "salt", progress=False)
        .studies[0]
        .case.case
        for name in ("a", "b")
    ]
    assert cases[0] == cases[1]
    unrelated = import_studies(tmp_path / "in", tmp_path / "c", register="none", progress=False)
    assert unrelated.studies[0].case.case != cases[0]


def test_identity_is_kept_on_demand(study: object, sent: Callable[..., ImportOutcome], tmp_path: Path) -> None:
    outcome = sent(keep_identity=True)
    case = outcome.studies[0].case.case
    assert case.startswith(f"case-{study.patient.patient_id}-")
    assert outcome.records[0]["identity"]["patient_name"] == study.patient.name
    assert study.patient.patient_id in (tmp_path / "out" / "import_report.html").read_text()


def test_a_series_given_by_the_user_settles_it(
    study: object, sent: Callable[..., ImportOutcome], tmp_path: Path
) -> None:
    given = {"pre": "7", "arterial": study.phases["portal_venous"].series.uid}
    given |= {"portal_venous": 10, "delayed": "12"}
    outcome = sent(phases=given)
    assert outcome.failed == ()
    assert outcome.records[0]["phases"]["arterial"]["series_number"] == 11


def test_an_ambiguous_study_comes_with_its_candidates(
    dicom_phantom: ModuleType, sent: Callable[..., ImportOutcome], tmp_path: Path
) -> None:
    dicom_phantom.ambiguous(tmp_path / "in")
    outcome = sent()
    assert "--phases" in only_failure(outcome)
    assert {row.series_number for row in outcome.failed[0].candidates} == set(range(5, 10))
    table = importing.outcome_table(outcome)
    assert "likely phase" in table
    assert not (tmp_path / "out").exists()
