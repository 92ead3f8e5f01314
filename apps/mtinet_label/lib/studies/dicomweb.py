"""Studies of a DICOMweb server: a case is a study, and each is fetched and imported when it is first opened."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path

from pydicom.dataset import Dataset

from lib.errors import AppError, BusyError, UnavailableError, UnknownError
from lib.studies.dicom_cache import StudyCache
from lib.studies.pacs import Pacs
from lib.studies.study import Address, Listed, OpenStudy
from lib.studies.uid import required_uid
from scripts.domain.errors import StudyError

logger = logging.getLogger(__name__)

LISTING_S = 30.0
CHECKED_S = 60.0
_OPEN_STUDIES = 32
_MISSES_S = 30.0
_MOST_MISSES = 10_000


class DicomwebSource:
    """The MR studies of a DICOMweb server.

    The list comes by QIDO-RS, page by page, and is kept for a short time; while the PACS does not answer, the last one
    stands. A study is fetched by WADO-RS once, imported into the cache, and from then on needs no PACS. Only where the
    PACS has other images of it now (one QIDO-RS query when it is opened) is it fetched again; while that fails, what is
    there serves. One study is imported at a time: a registration takes all cores and up to 1.7 GB.

    Args:
        url: of the DICOMweb root.
        cache_dir: of fetched and imported studies.
        register: of the phases to the arterial one: none, rigid or deformable.
        auth: name and password that the PACS wants.
        waiting: requests that may wait for studies to be fetched before others are told that the server is busy.
        listing_s: how long the list is kept.
        checked_s: how long a study is not asked about again, and no study after the PACS did not answer.
        most_bytes: of the cache; see ``StudyCache``.
    """

    def __init__(
        self,
        url: str,
        cache_dir: Path,
        *,
        register: str = "deformable",
        auth: tuple[str, str] | None = None,
        waiting: int = 8,
        listing_s: float = LISTING_S,
        checked_s: float = CHECKED_S,
        most_bytes: int = 0,
    ) -> None:
        self.url = url.rstrip("/")
        self.auth = auth
        self.pacs = Pacs(self.url, auth=auth)
        self._cache = StudyCache(cache_dir, register=register, most_bytes=most_bytes)
        self._stay: Callable[[], Iterable[str]] = tuple
        self._checked_s = checked_s
        self._checked: dict[str, float] = {}
        self._silent_since = float("-inf")
        self._listing_s = listing_s
        self._listed: list[Listed] = []
        self._listed_ids: frozenset[str] = frozenset()
        self._listed_at: float | None = None
        self._listing = threading.Lock()
        self._phase_series = self._cache.studies_by_series()
        self._references: dict[str, str] = {}
        self._other_series: dict[str, str] = {}
        self._misses: OrderedDict[str, float] = OrderedDict()
        self._opened: OrderedDict[str, OpenStudy] = OrderedDict()
        self._refused: dict[str, tuple[Mapping[str, int], str]] = {}
        self._state = threading.Lock()
        self._locks: dict[str, threading.Lock] = defaultdict(threading.Lock)
        self._importing = threading.Lock()
        self._waiting = threading.BoundedSemaphore(waiting + 1)

    def let_stay(self, studies: Callable[[], Iterable[str]]) -> None:
        """Say which studies stay in the cache as they are: what readers drew on, and training reads, must not change.

        Args:
            studies: gives their UIDs, as they are now.
        """
        self._stay = studies

    def listing(self) -> list[Listed]:
        """Every MR study, in the order of the UIDs; none is fetched for it.

        Raises:
            UnavailableError: the PACS does not answer, and never has.
        """
        if self._fresh():
            return self._listed
        # Whoever comes while another asks the PACS gets the last list, unless there is none yet.
        if not self._listing.acquire(blocking=self._listed_at is None):
            return self._listed
        try:
            if not self._fresh():
                self._look()
        finally:
            self._listing.release()
        return self._listed

    def resolve(self, image_id: str) -> Address:
        """The study that a StudyInstanceUID, or the SeriesInstanceUID of one of its phases, means.

        Raises:
            UnknownError: none does, or the series shows none of the four phases.
            UnavailableError: only the PACS could tell, and does not answer.
        """
        uid = required_uid(image_id)
        if uid in self._opened or uid in self._listed_ids or uid in self._cache:
            return Address(uid)
        if uid in self._phase_series:
            return Address(self._phase_series[uid], uid)
        study_uid = self._other_series.get(uid) or self._asked(uid)
        if study_uid == uid:
            return Address(uid)
        if self.is_local(study_uid):
            # All phases of such a study are known.
            msg = "this series shows none of the study's four phases; choose one that does"
            raise UnknownError(msg)
        return Address(study_uid, uid)

    def open(self, case_id: str) -> OpenStudy:
        """The study; fetched and imported if it is not in the cache, or has other images at the PACS now.

        Raises:
            UnknownError: no such study.
            StudyError: it cannot be made a four-phase study.
            BusyError: too many requests wait for studies already.
            UnavailableError: the PACS does not answer.
        """
        uid = required_uid(case_id)
        self._cache.touch(uid)
        opened = self._opened.get(uid)
        if opened is None or uid not in self._cache or self._must_be_checked(uid):
            with self._state:
                lock = self._locks[uid]
            # What is on this machine is opened even while others wait for studies to be fetched.
            with nullcontext() if uid in self._cache else self._room(), lock:
                self._check(uid)
                opened = self._from_memory(uid) or self._from_disk(uid) or self._from_pacs(uid)
        with self._state:
            self._opened[uid] = opened
            self._opened.move_to_end(uid)
            self._phase_series |= dict.fromkeys(opened.series, uid)
            self._references[uid] = opened.reference
            while len(self._opened) > _OPEN_STUDIES:
                self._opened.popitem(last=False)
        return opened

    def is_local(self, case_id: str) -> bool:
        """Whether the study is on this machine already, so that opening it is quick."""
        return case_id in self._cache

    def reference(self, case_id: str) -> str | None:
        """SeriesInstanceUID of the study's reference phase where that is known already; nothing is fetched."""
        known = self._references.get(case_id) or self._cache.reference(case_id)
        if known is not None:
            self._references[case_id] = known
        return known

    def refresh(self) -> None:
        """Ask for the list anew when it is next wanted."""
        if self._listed_at is not None:
            self._listed_at = float("-inf")

    def _fresh(self) -> bool:
        return self._listed_at is not None and time.monotonic() - self._listed_at < self._listing_s

    def _look(self) -> None:
        try:
            uids = self.pacs.studies()
        except UnavailableError:
            if self._listed_at is None:
                raise
        else:
            self._listed = [Listed(uid, {"StudyInstanceUID": uid}) for uid in uids]
            self._listed_ids = frozenset(uids)
        self._listed_at = time.monotonic()

    def _asked(self, uid: str) -> str:
        """The study that a UID of neither the list nor the cache belongs to."""
        now = time.monotonic()
        if now - self._misses.get(uid, float("-inf")) > _MISSES_S:
            study_uid = self.pacs.study_of(uid)
            if study_uid is None and self.pacs.has_study(uid):
                study_uid = uid
            with self._state:
                if study_uid is not None:
                    if study_uid != uid:
                        self._other_series[uid] = study_uid
                    return study_uid
                self._misses[uid] = now
                while len(self._misses) > _MOST_MISSES:
                    self._misses.popitem(last=False)
        msg = "no such study at the PACS"
        raise UnknownError(msg)

    @contextmanager
    def _room(self) -> Iterator[None]:
        if not self._waiting.acquire(blocking=False):
            msg = "too many studies are being fetched already; try again in a moment"
            raise BusyError(msg)
        try:
            yield
        finally:
            self._waiting.release()

    def _from_memory(self, uid: str) -> OpenStudy | None:
        # Its files may have gone, to make room.
        return self._opened.get(uid) if uid in self._cache else None

    def _from_disk(self, uid: str) -> OpenStudy | None:
        if uid not in self._cache:
            return None
        try:
            return self._cache.load(uid)
        except StudyError:
            self._cache.remove(uid)
            return None

    def _must_be_checked(self, uid: str) -> bool:
        now = time.monotonic()
        last = max(self._checked.get(uid, float("-inf")), self._silent_since)
        return now - last > self._checked_s

    def _check(self, uid: str) -> None:
        """Fetch a study of the cache again where the PACS has other images of it now; whatever fails, it stays."""
        if not self._must_be_checked(uid) or uid not in self._cache:
            return
        self._checked[uid] = time.monotonic()
        known = self._cache.announced(uid)
        if known is None or uid in self._stay():
            return
        try:
            series = self.pacs.peek(uid)
        except UnavailableError:
            self._silent_since = time.monotonic()
            return
        if not series or series in (known, self._refused.get(uid, (None, ""))[0]):
            return
        try:
            with self._room():
                self._fetch(uid, series)
        except (StudyError, AppError) as error:
            logger.warning("a study has other images at the PACS now and stays as it was (%s)", type(error).__name__)
        else:
            self._opened.pop(uid, None)

    def _from_pacs(self, uid: str) -> OpenStudy:
        series = self.pacs.mr_series(uid)
        if not series:
            self._refuse_without_mr(uid)
        known, reason = self._refused.get(uid, (None, ""))
        if known == series:
            # Nothing has come since it was refused: fetching it again would end the same way.
            raise StudyError(reason)
        self._fetch(uid, series)
        return self._cache.load(uid)

    def _fetch(self, uid: str, series: Mapping[str, int]) -> None:
        with self._importing:
            try:
                self._cache.add(uid, self._series(uid, series), announced=series)
            except StudyError as error:
                self._refused[uid] = (series, str(error))
                raise
            except FileExistsError:  # another server with the same cache was quicker
                pass
            self._checked[uid] = time.monotonic()
            self._cache.make_room(self._stay)

    def _refuse_without_mr(self, uid: str) -> None:
        if self.pacs.has_study(uid):
            msg = "the study holds no MR series"
            raise StudyError(msg)
        msg = "no such study at the PACS"
        raise UnknownError(msg)

    def _series(self, uid: str, series: Mapping[str, int]) -> Iterator[Iterator[Dataset]]:
        for series_uid in sorted(series):
            yield self._images(uid, series_uid, announced=series[series_uid])

    def _images(self, uid: str, series_uid: str, *, announced: int) -> Iterator[Dataset]:
        came = 0
        for image in self.pacs.images(uid, series_uid):
            came += 1
            yield image
        if came < announced:
            msg = f"the PACS sent {came} of {announced} images of a series; try again"
            raise UnavailableError(msg)
