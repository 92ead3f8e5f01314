"""Studies of a PACS: listed cheaply, resolved from any series, fetched once; whatever the PACS does meanwhile."""

import shutil
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from lib.errors import BusyError, UnavailableError, UnknownError
from lib.studies.dicomweb import DicomwebSource
from lib.studies.study import Address
from scripts.domain.errors import StudyError


@pytest.fixture
def source_of(fake_pacs, tmp_path):
    """A source of a PACS in memory: ``source_of(written, …, **options)``."""

    def make(*studies, **options) -> DicomwebSource:
        source = DicomwebSource("http://127.0.0.1:9/dicom-web/", tmp_path / "cache", register="none", **options)
        source.pacs = fake_pacs(*studies)
        return source

    return make


@pytest.fixture
def fetched(source_of, dicom_study, written, tmp_path) -> DicomwebSource:
    """A source after a restart, with the written study in its cache."""
    shutil.copytree(dicom_study.case.phase_files[0].parents[1], tmp_path / "cache" / written.uid)
    return source_of(written)


@pytest.mark.parametrize("image_id", ["", "..", "/etc/passwd", "1.2/../3", "1.2.3%2f..", "liver-01", "1.2.3\x00.4"])
def test_no_such_text_reaches_the_disk_or_the_pacs(source_of, image_id):
    source = source_of()
    for ask in (source.resolve, source.open):
        with pytest.raises(UnknownError):
            ask(image_id)
    assert source.pacs.asked == []


def test_a_uid_that_nobody_has_is_asked_for_once(source_of, written):
    source = source_of(written)
    for _ in range(3):
        with pytest.raises(UnknownError, match="no such study"):
            source.resolve("1.2.3.4")
    assert source.pacs.asked == ["study_of", "has_study"]
    with pytest.raises(UnknownError, match="no such study"):
        source.open("1.2.3.4")


def test_a_pacs_that_never_answered(source_of, written):
    source = source_of(written)
    source.pacs.down = True
    with pytest.raises(UnavailableError):
        source.listing()
    with pytest.raises(UnavailableError):
        source.open(written.uid)
    source.pacs.down = False
    assert [study.case_id for study in source.listing()] == [written.uid]


def test_listing_fetches_nothing_and_is_kept(source_of, written):
    source = source_of(written)
    for _ in range(5):
        (listed,) = source.listing()
    assert listed.case_id == written.uid
    assert dict(listed.info) == {"StudyInstanceUID": written.uid}
    assert source.pacs.asked == ["studies"]
    assert not source.is_local(written.uid)
    assert source.reference(written.uid) is None


def test_a_new_study_shows_after_a_short_time_or_on_refresh(source_of, written):
    source = source_of(listing_s=0.0)
    assert source.listing() == []
    source.pacs.written[written.uid] = written
    assert len(source.listing()) == 1
    patient = source_of(listing_s=3600.0)
    assert patient.listing() == []
    patient.pacs.written[written.uid] = written
    assert patient.listing() == []
    patient.refresh()
    assert len(patient.listing()) == 1


def test_while_the_pacs_is_down_the_last_list_stands(source_of, written):
    source = source_of(written, listing_s=0.0)
    source.listing()
    source.pacs.down = True
    assert [study.case_id for study in source.listing()] == [written.uid]


def test_any_series_means_its_study(source_of, written):
    source = source_of(written)
    delayed = written.of_role("delayed").uid
    assert source.resolve(delayed) == Address(written.uid, delayed)
    assert source.resolve(written.uid) == Address(written.uid)
    source.listing()
    before = list(source.pacs.asked)
    assert source.resolve(written.uid) == Address(written.uid)
    assert source.resolve(delayed) == Address(written.uid, delayed)
    assert source.pacs.asked == before


def test_after_a_restart_nothing_is_asked_of_the_pacs(fetched, written):
    fetched.pacs.down = True
    arterial = written.of_role("arterial").uid
    assert fetched.resolve(arterial) == Address(written.uid, arterial)
    assert fetched.is_local(written.uid)
    assert fetched.reference(written.uid) == arterial
    study = fetched.open(written.uid)
    assert study.reference == arterial
    assert fetched.open(written.uid) is study
    assert fetched.pacs.asked == []


def test_a_series_without_a_phase_is_refused_once_the_phases_are_known(fetched, written, monkeypatch):
    monkeypatch.setattr(fetched.pacs, "study_of", lambda uid: written.uid)
    with pytest.raises(UnknownError, match="none of the study's four phases"):
        fetched.resolve("1.2.3.99")


def test_a_damaged_study_is_fetched_again(fetched, written, tmp_path):
    (tmp_path / "cache" / written.uid / "study.json").write_text("{}")
    assert fetched.open(written.uid).case_id == written.uid
    assert "images" in fetched.pacs.asked


def test_a_study_that_grew_is_fetched_again_when_it_is_opened(source_of, written, monkeypatch):
    source = source_of(written, checked_s=0.0)
    whole = source.pacs.mr_series
    delayed = written.of_role("delayed").uid
    now = whole(written.uid)
    # The announcement of the first time lacks an image, as if the PACS had still been receiving.
    monkeypatch.setattr(source.pacs, "mr_series", lambda uid: now | {delayed: now[delayed] - 1})
    first = source.open(written.uid)
    assert source.open(written.uid) is first
    monkeypatch.setattr(source.pacs, "mr_series", whole)
    again = source.open(written.uid)
    assert again is not first
    assert source.open(written.uid) is again
    assert Counter(source.pacs.asked)["images"] == 2 * len(written.series)


def test_what_readers_drew_on_is_not_replaced(source_of, written, monkeypatch):
    source = source_of(written, checked_s=0.0)
    source.let_stay(lambda: [written.uid])
    first = source.open(written.uid)
    monkeypatch.setattr(source.pacs, "mr_series", lambda uid: {"1.2.3": 1})
    assert source.open(written.uid) is first


@pytest.mark.parametrize("trouble", ["down", "not four phases", "images missing", "deleted"])
def test_a_study_that_cannot_be_fetched_again_stays(source_of, written, monkeypatch, trouble):
    source = source_of(written, checked_s=0.0)
    first = source.open(written.uid)
    whole = source.pacs.mr_series(written.uid)
    now = {
        "down": whole,
        "not four phases": dict(list(whole.items())[:2]),
        "images missing": {uid: n + 1 for uid, n in whole.items()},
        "deleted": {},
    }[trouble]
    source.pacs.down = trouble == "down"
    if trouble != "down":
        monkeypatch.setattr(source.pacs, "mr_series", lambda uid: now)
    for _ in range(2):
        assert source.open(written.uid).case.phase_files == first.case.phase_files
        assert all(file.is_file() for file in first.case.phase_files)
    fetched = Counter(source.pacs.asked)["images"] - len(written.series)
    assert fetched <= {"not four phases": 2, "images missing": 2}.get(trouble, 0)


def test_a_study_is_asked_about_once_in_a_while(source_of, written):
    source = source_of(written)
    source.open(written.uid)
    for _ in range(5):
        source.open(written.uid)
    assert source.pacs.asked.count("mr_series") == 1


def test_what_is_here_is_opened_while_others_wait(fetched, written):
    while fetched._waiting.acquire(blocking=False):
        pass
    assert fetched.open(written.uid).case_id == written.uid
    with pytest.raises(BusyError):
        fetched.open("1.2.3.4")


def test_the_cache_has_a_limit_and_forgotten_studies_are_fetched_again(source_of, written, write_study, monkeypatch):
    other = write_study("a second study")
    source = source_of(written, other, most_bytes=1)
    source.open(written.uid)
    source.open(other.uid)
    # Both are in use.
    assert source.is_local(written.uid)
    monkeypatch.setattr("lib.studies.dicom_cache._IN_USE_S", -1.0)
    source._cache.make_room(lambda: [other.uid])
    assert not source.is_local(written.uid)
    assert source.is_local(other.uid)
    monkeypatch.undo()
    asked = source.pacs.asked.count("images")
    study = source.open(written.uid)
    assert all(file.is_file() for file in study.case.phase_files)
    assert source.pacs.asked.count("images") == asked + len(written.series)


def test_eight_clients_fetch_a_study_once(source_of, written):
    source = source_of(written)
    with ThreadPoolExecutor(8) as clients:
        opened = list(clients.map(source.open, [written.uid] * 8))
    assert len({id(study) for study in opened}) == 1
    assert Counter(source.pacs.asked)["images"] == len(written.series)


def test_too_many_waiting_are_told_so(source_of, written):
    source = source_of(written, waiting=1)
    go_on, begun = threading.Event(), threading.Event()
    images = source.pacs.images

    def slow(*uids):
        begun.set()
        assert go_on.wait(30)
        yield from images(*uids)

    source.pacs.images = slow
    with ThreadPoolExecutor(2) as clients:
        first = clients.submit(source.open, written.uid)
        assert begun.wait(30)
        second = clients.submit(source.open, written.uid)
        while not second.running() or source._waiting.acquire(blocking=False):
            # Both places are taken once the second client stands in line.
            if second.running():
                source._waiting.release()
            time.sleep(0.01)
        with pytest.raises(BusyError, match="try again"):
            source.open(written.uid)
        go_on.set()
        assert first.result() is second.result()
    assert source.open(written.uid) is first.result()


def test_a_refused_study_is_not_fetched_again_until_it_changes(source_of, written, monkeypatch):
    source = source_of(written)
    whole = source.pacs.mr_series
    monkeypatch.setattr(source.pacs, "mr_series", lambda uid: dict(list(whole(uid).items())[:2]))
    for _ in range(2):
        with pytest.raises(StudyError, match="four-phase study"):
            source.open(written.uid)
    assert Counter(source.pacs.asked)["images"] == 2
    monkeypatch.setattr(source.pacs, "mr_series", whole)
    assert source.open(written.uid).case_id == written.uid


def test_a_study_without_mr(source_of, written, monkeypatch):
    source = source_of(written)
    monkeypatch.setattr(source.pacs, "mr_series", lambda uid: {})
    with pytest.raises(StudyError, match="no MR series"):
        source.open(written.uid)


def test_images_that_did_not_come(source_of, written, monkeypatch, tmp_path):
    source = source_of(written)
    announced = source.pacs.mr_series(written.uid)
    monkeypatch.setattr(source.pacs, "mr_series", lambda uid: {series: n + 1 for series, n in announced.items()})
    with pytest.raises(UnavailableError, match="12 of 13 images"):
        source.open(written.uid)
    assert list((tmp_path / "cache").iterdir()) == []


def test_only_so_many_studies_stay_in_memory(fetched, written, monkeypatch):
    monkeypatch.setattr("lib.studies.dicomweb._OPEN_STUDIES", 0)
    first = fetched.open(written.uid)
    again = fetched.open(written.uid)
    assert again is not first
    assert again.case_id == written.uid
