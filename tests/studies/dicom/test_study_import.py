"""What a study of real DICOM files becomes: grid, intensities, record, coverage and registration as users get them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType

import nibabel as nib
import numpy as np
import pydicom
import pytest
from nibabel.affines import apply_affine

from scripts.domain.phases import PHASES
from scripts.domain.prediction import Prediction
from scripts.engines.dicom_output import source_of
from scripts.results.dicom.writing import write_dicom
from scripts.results.lesions import analyse
from scripts.studies import registration
from scripts.studies.dicom import importing
from scripts.studies.dicom.import_report import figure_file_name
from scripts.studies.dicom.importing import ImportOutcome
from scripts.studies.dicom.record import displacement_file_name
from scripts.studies.displacement import Displacement
from scripts.studies.elastix import NoMotionFoundError
from scripts.studies.integrity import check_dataset
from scripts.studies.reading import read_study
from scripts.studies.sources import find_cases


def strip_private(files: Iterable[Path]) -> None:
    for file in files:
        dataset = pydicom.dcmread(file)
        dataset.remove_private_tags()
        dataset.save_as(file)


def test_philips_intensities_of_two_kinds_are_refused(
    only_failure: Callable[[ImportOutcome], str],
    dicom_phantom: ModuleType,
    sent: Callable[..., ImportOutcome],
    tmp_path: Path,
) -> None:
    written = dicom_phantom.philips_series(tmp_path / "in")
    strip_private(written.of_role("delayed").files)
    assert only_failure(sent()) == (
        "some phases lack Philips' private scale slope (2005,100E), so their intensities cannot be compared: delayed. "
        "Export again with private elements"
    )


def test_philips_intensities_without_their_scale_get_a_note(
    dicom_phantom: ModuleType, sent: Callable[..., ImportOutcome], tmp_path: Path
) -> None:
    strip_private(dicom_phantom.philips_series(tmp_path / "in").files)
    outcome = sent()
    note = "Philips' private scale slope is missing: intensities of the phases may not be comparable"
    assert outcome.records[0]["notes"] == [note]
    assert note in importing.outcome_table(outcome)


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
