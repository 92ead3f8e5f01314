"""A DICOMweb server, asked in the few ways that the app needs; whatever goes wrong becomes one kind of error."""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import requests
from dicomweb_client import DICOMwebClient
from pydicom.dataset import Dataset

from lib.errors import UnavailableError
from lib.studies.uid import is_uid

# The client logs the identifiers of what it asks for.
logging.getLogger("dicomweb_client").setLevel(logging.ERROR)

_PAGE = 500
_MOST_STUDIES = 1_000_000
_TIMEOUT_S, _PEEK_TIMEOUT_S = (5, 120), (2, 5)
_STUDY_UID, _SERIES_UID = "0020000D", "0020000E"
_MODALITY, _MODALITIES, _INSTANCES = "00080060", "00080061", "00201209"
_MR = "MR"
_NO_DICOMWEB = "the PACS does not answer in DICOMweb's way"


class Pacs:
    """A DICOMweb server.

    Args:
        url: of its DICOMweb root.
        auth: name and password that it wants.
    """

    def __init__(self, url: str, *, auth: tuple[str, str] | None = None) -> None:
        self._client = _client(url, auth, _TIMEOUT_S)
        self._hasty = _client(url, auth, _PEEK_TIMEOUT_S)

    def studies(self) -> list[str]:
        """StudyInstanceUIDs of all studies with MR images (QIDO-RS), page by page.

        Raises:
            UnavailableError: it does not answer.
        """
        seen: set[str] = set()
        studies: set[str] = set()
        while len(seen) < _MOST_STUDIES:
            with _answers():
                page = self._client.search_for_studies(
                    limit=_PAGE, offset=len(seen), search_filters={"ModalitiesInStudy": _MR}
                )
            found = {uid: each for each in page if (uid := _uid(each, _STUDY_UID))}
            # A server may give smaller pages than asked for, or ignore the offset and give the first one again.
            if not found.keys() - seen:
                break
            seen |= found.keys()
            studies |= {uid for uid, each in found.items() if _may_hold_mr(each)}
        return sorted(studies)

    def has_study(self, uid: str) -> bool:
        """Whether there is such a study.

        Raises:
            UnavailableError: it does not answer.
        """
        with _answers():
            found = self._client.search_for_studies(limit=1, search_filters={"StudyInstanceUID": uid})
        return any(_uid(each, _STUDY_UID) == uid for each in found)

    def study_of(self, series_uid: str) -> str | None:
        """StudyInstanceUID of a series; None where there is none.

        Raises:
            UnavailableError: it does not answer.
        """
        with _answers():
            found = self._client.search_for_series(limit=1, search_filters={"SeriesInstanceUID": series_uid})
        own = (each for each in found if _uid(each, _SERIES_UID) == series_uid)
        return next((uid for each in own if (uid := _uid(each, _STUDY_UID))), None)

    def mr_series(self, study_uid: str) -> dict[str, int]:
        """Number of images by SeriesInstanceUID, of a study's MR series.

        Raises:
            UnavailableError: it does not answer.
        """
        return self._mr_series(self._client, study_uid)

    def peek(self, study_uid: str) -> dict[str, int]:
        """As ``mr_series``, but soon or not at all: for a study that can be shown without.

        Raises:
            UnavailableError: it does not answer within seconds.
        """
        return self._mr_series(self._hasty, study_uid)

    def _mr_series(self, client: DICOMwebClient, study_uid: str) -> dict[str, int]:
        with _answers():
            try:
                found = client.search_for_series(study_uid)
            except requests.HTTPError as error:
                if error.response is not None and error.response.status_code == requests.codes.not_found:
                    return {}
                raise
        return {
            uid: _whole(_first(each, _INSTANCES))
            for each in found
            if _first(each, _MODALITY) == _MR and (uid := _uid(each, _SERIES_UID))
        }

    def images(self, study_uid: str, series_uid: str) -> Iterator[Dataset]:
        """The images of a series (WADO-RS), one at a time, as they were stored.

        Raises:
            UnavailableError: it does not answer, or stops answering.
        """
        with _answers():
            yield from self._client.iter_series(study_uid, series_uid, media_types=(("application/dicom", "*"),))

    def store(self, dataset: Dataset) -> None:
        """Store an object (STOW-RS).

        Raises:
            UnavailableError: it does not answer, or refuses the object.
        """
        with _answers():
            answer = self._client.store_instances([dataset])
        if answer.get("FailedSOPSequence"):
            msg = "the PACS did not accept the object"
            raise UnavailableError(msg)


class _PatientSession(requests.Session):
    """A session that does not wait for ever.

    Args:
        timeout_s: to connect, and between two pieces of an answer.
    """

    def __init__(self, timeout_s: tuple[float, float]) -> None:
        super().__init__()
        self._timeout_s = timeout_s

    def request(self, *args: Any, **options: Any) -> requests.Response:
        options.setdefault("timeout", self._timeout_s)
        return super().request(*args, **options)


def _client(url: str, auth: tuple[str, str] | None, timeout_s: tuple[float, float]) -> DICOMwebClient:
    client = DICOMwebClient(url.rstrip("/"), session=_session(url, auth, timeout_s))
    # Somebody waits for the answer; asking again is up to them.
    client.set_http_retry_params(retry=False)
    return client


def _session(url: str, auth: tuple[str, str] | None, timeout_s: tuple[float, float]) -> requests.Session:
    session = _PatientSession(timeout_s)
    session.auth = auth
    # Loopback is asked directly, whatever proxy the environment names.
    session.trust_env = not _is_loopback(urlsplit(url).hostname or "")
    return session


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@contextmanager
def _answers() -> Iterator[None]:
    try:
        yield
    except requests.HTTPError as error:
        status = None if error.response is None else error.response.status_code
        if status in (requests.codes.unauthorized, requests.codes.forbidden):
            msg = "the PACS refuses this server: set MONAI_LABEL_DICOMWEB_USERNAME and MONAI_LABEL_DICOMWEB_PASSWORD"
        else:
            msg = f"the PACS answers with an error ({status})"
        raise UnavailableError(msg) from error
    except requests.exceptions.InvalidJSONError as error:
        raise UnavailableError(_NO_DICOMWEB) from error
    except (requests.RequestException, OSError) as error:
        msg = "the PACS does not answer; try again, or see whether it runs"
        raise UnavailableError(msg) from error
    except Exception as error:  # what is no DICOMweb fails anywhere in the client and in pydicom
        raise UnavailableError(_NO_DICOMWEB) from error


def _first(found: dict[str, Any], tag: str) -> Any:
    values = _values(found, tag)
    return values[0] if values else None


def _values(found: dict[str, Any], tag: str) -> list[Any]:
    """Of an attribute in DICOM JSON; none where it is not one."""
    attribute = found.get(tag) if isinstance(found, dict) else None
    values = attribute.get("Value") if isinstance(attribute, dict) else None
    return values if isinstance(values, list) else []


def _whole(value: Any) -> int:
    return int(value) if isinstance(value, int | str) and str(value).isdecimal() else 0


def _uid(found: dict[str, Any], tag: str) -> str | None:
    uid = _first(found, tag)
    return uid if isinstance(uid, str) and is_uid(uid) else None


def _may_hold_mr(found: dict[str, Any]) -> bool:
    """Some servers ignore the filter; some do not say what is in a study."""
    modalities = _values(found, _MODALITIES)
    return not modalities or _MR in modalities
