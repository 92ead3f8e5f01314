"""Imported studies on disk: whole or not there, and the same after a restart."""

import os
import shutil
import signal
import subprocess
import sys
from itertools import islice
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest

from lib.errors import AppError
from lib.studies.dicom_cache import RECORD_FILE, StudyCache
from scripts.domain.errors import StudyError
from scripts.domain.phases import PHASES


@pytest.fixture
def cache(tmp_path) -> StudyCache:
    """An empty one, without registration."""
    return StudyCache(tmp_path / "cache", register="none")


@pytest.fixture
def filled(cache, dicom_study) -> StudyCache:
    """With the written study."""
    shutil.copytree(dicom_study.case.phase_files[0].parents[1], cache.folder / dicom_study.case_id)
    return cache


def test_what_cannot_be_imported_leaves_nothing(cache, written, read_series):
    without_arterial = [
        images for images in read_series(written) if str(images[0].SeriesInstanceUID) != written.of_role("arterial").uid
    ]
    with pytest.raises(StudyError, match="cannot be made a four-phase study") as refused:
        cache.add(written.uid, without_arterial)
    assert not any(word in str(refused.value) for word in (*written.patient.words, str(cache.folder), written.uid))
    assert written.uid not in cache
    assert list(cache.folder.iterdir()) == []


def test_no_image_at_all(cache, written):
    with pytest.raises(StudyError, match="no MR image"):
        cache.add(written.uid, [[]])
    assert list(cache.folder.iterdir()) == []


def test_a_fetch_that_breaks_off_leaves_nothing(cache, written, read_series):
    def breaking_off():
        yield iter(read_series(written)[0])
        raise RuntimeError("the line is cut")

    with pytest.raises(RuntimeError, match="cut"):
        cache.add(written.uid, breaking_off())
    assert list(cache.folder.iterdir()) == []


def test_a_full_disk_leaves_nothing(cache, written, read_series, monkeypatch):
    def full(*_) -> None:
        raise OSError(28, "No space left on device", "/secret/place")

    monkeypatch.setattr("lib.studies.dicom_cache._keep", full)
    with pytest.raises(AppError, match="No space left on device") as refused:
        cache.add(written.uid, read_series(written))
    assert "secret" not in str(refused.value)
    assert list(cache.folder.iterdir()) == []


def test_phases_series_and_grids(dicom_study, written):
    assert dicom_study.case_id == dicom_study.case.case == written.uid
    assert dicom_study.reference == written.of_role("arterial").uid
    assert set(dicom_study.phase_of.values()) == set(PHASES)
    for phase, true in written.phases.items():
        assert dicom_study.phase_of[true.series.uid] == phase
        grid = dicom_study.grid(true.series.uid)
        assert grid.shape == true.volume.array.shape
        np.testing.assert_allclose(grid.affine, true.volume.affine, atol=1e-3)
        image = nib.load(dicom_study.case.phase_files[PHASES.index(phase)])
        np.testing.assert_allclose(np.asarray(image.dataobj), true.volume.array, atol=0.51)
    assert dicom_study.case.times_s == pytest.approx((0.0, 32.0, 70.0, 180.0), abs=1.0)
    assert dicom_study.case.nominal_times == ()


def test_nothing_about_the_patient_is_written_down_beside_the_dicom_files(dicom_study, written):
    folder = dicom_study.case.phase_files[0].parents[1]
    texts = [file.read_bytes() for file in folder.rglob("*.json")]
    assert texts
    for word in written.patient.words:
        assert all(word.encode() not in text for text in texts)


def test_files_are_for_the_owner_only(dicom_study):
    assert dicom_study.case.phase_files[0].parents[1].stat().st_mode & 0o077 == 0


def test_a_restart_knows_the_studies_and_their_series(filled, written):
    again = StudyCache(filled.folder, register="none")
    assert written.uid in again
    assert again.studies_by_series() == {series.uid: written.uid for series in written.series}
    assert again.reference(written.uid) == again.load(written.uid).reference == written.of_role("arterial").uid
    assert again.reference("1.2.3") is None


def test_series_that_show_no_phase_are_not_kept(cache, write_study, read_series):
    decoyed = write_study("with a fifth series")
    other = write_study("another study altogether")
    stranger = read_series(other)[0]
    for image in stranger:
        image.StudyInstanceUID, image.SeriesNumber = decoyed.uid, 99
        image.SeriesDescription, image.EchoTime, image.RepetitionTime = "t2_tse_tra", 90.0, 4000.0
        image.ScanningSequence, image.FrameOfReferenceUID = "SE", read_series(decoyed)[0][0].FrameOfReferenceUID
        for keyword in ("ContrastBolusAgent", "ContrastBolusStartTime"):
            if keyword in image:
                delattr(image, keyword)
    cache.add(decoyed.uid, [*read_series(decoyed), stranger])
    kept = {
        str(pydicom.dcmread(file, stop_before_pixels=True).SeriesInstanceUID)
        for file in (cache.folder / decoyed.uid / "dicom").rglob("*.dcm")
    }
    assert kept == {series.uid for series in decoyed.series}


def test_all_phases_in_one_series(cache, write_study, read_series):
    written = write_study("one series", style="enhanced_multi_frame")
    cache.add(written.uid, read_series(written))
    study = cache.load(written.uid)
    assert set(study.series) == {series.uid for series in written.series}
    assert study.phase_of[study.reference] == "arterial"
    assert study.grid(study.reference).shape == written.phases["arterial"].volume.array.shape
    assert set(study.imported.sources) == set(PHASES)


@pytest.mark.parametrize("damage", ["record", "image", "dicom", "all dicom", "other shape"])
def test_a_damaged_study_is_told_and_can_be_forgotten(filled, written, damage):
    folder = filled.folder / written.uid
    images = sorted((folder / "images").iterdir())
    if damage == "record":
        (folder / RECORD_FILE).write_text("{}")
    elif damage == "image":
        images[2].unlink()
    elif damage == "dicom":
        shutil.rmtree(folder / "dicom" / "0001")
    elif damage == "all dicom":
        shutil.rmtree(folder / "dicom")
    else:
        nib.save(nib.Nifti1Image(np.zeros((3, 3, 3), np.int16), np.eye(4)), images[1])
    with pytest.raises(StudyError, match="damaged") as refused:
        filled.load(written.uid)
    assert str(filled.folder) not in str(refused.value)
    filled.remove(written.uid)
    assert written.uid not in filled
    assert list(filled.folder.iterdir()) == []


def test_an_interrupted_removal_is_made_good(cache, written, read_series):
    (cache.folder / written.uid / "images").mkdir(parents=True)
    (cache.folder / written.uid / "images" / "left").write_text("left")
    assert written.uid not in cache
    cache.add(written.uid, read_series(written))
    assert cache.load(written.uid).case_id == written.uid


def test_the_study_that_was_not_opened_for_longest_goes_first(filled, written):
    for number, name in enumerate(("1.2.1", "1.2.2", "1.2.3")):
        shutil.copytree(filled.folder / written.uid, filled.folder / name)
        os.utime(filled.folder / name / RECORD_FILE, (1000.0 + number, 1000.0 + number))
    filled.remove(written.uid)
    taken = sum(file.stat().st_size for file in (filled.folder / "1.2.1").rglob("*") if file.is_file())
    filled.make_room(tuple)
    assert len(list(filled.folder.iterdir())) == 3
    filled.most_bytes = 2 * taken + 1
    filled.touch("1.2.1")
    filled.make_room(tuple)
    assert sorted(folder.name for folder in filled.folder.iterdir()) == ["1.2.1", "1.2.3"]
    filled.most_bytes = 1
    filled.make_room(lambda: ["1.2.3"])
    assert sorted(folder.name for folder in filled.folder.iterdir()) == ["1.2.1", "1.2.3"]


def test_phases_that_were_written_for_drawing_count_too(filled, written):
    shutil.copytree(filled.folder / written.uid, filled.folder / "1.2.1")
    for name in (written.uid, "1.2.1"):
        os.utime(filled.folder / name / RECORD_FILE, (1000.0, 1000.0))
    taken = sum(file.stat().st_size for file in filled.folder.rglob("*") if file.is_file())
    filled.most_bytes = taken
    filled.make_room(tuple)
    assert len(list(filled.folder.iterdir())) == 2
    (filled.folder / "1.2.1" / "acquired").mkdir()
    (filled.folder / "1.2.1" / "acquired" / "phase.nii.gz").write_bytes(bytes(10**6))
    filled.make_room(tuple)
    assert len(list(filled.folder.iterdir())) == 1


def test_two_servers_do_not_disturb_each_other(cache, dicom_study, written, read_series):
    def while_another_is_quicker():
        yield from read_series(written)
        shutil.copytree(dicom_study.case.phase_files[0].parents[1], cache.folder / written.uid)

    with pytest.raises(FileExistsError):
        cache.add(written.uid, while_another_is_quicker())
    assert cache.load(written.uid).case_id == written.uid


ADD = """
import sys
import pydicom
from pathlib import Path
for folder in sys.argv[3:5]:
    sys.path.insert(0, folder)
from lib.errors import AppError
from lib.studies.dicom_cache import StudyCache
def images():
    for n, file in enumerate(sorted(Path(sys.argv[2]).rglob("*"))):
        if file.is_file():
            yield pydicom.dcmread(file)
        if n == 10:
            print("ten", flush=True)
            sys.stdin.read()
StudyCache(Path(sys.argv[1]), register="none").add(sys.argv[5], [images()])
"""


def test_a_kill_in_the_middle_leaves_nothing_that_counts(cache, written):
    root = Path(__file__).resolve().parents[4]
    arguments = [cache.folder, written.folder, root / "bundle", root / "apps" / "mtinet_label", written.uid]
    process = subprocess.Popen(
        [sys.executable, "-c", ADD, *map(str, arguments)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout.readline() == b"ten\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    (leftover,) = cache.folder.iterdir()
    assert list(islice(leftover.rglob("*.dcm"), 1))
    assert written.uid not in StudyCache(cache.folder, register="none")
    assert list(cache.folder.iterdir()) == []
