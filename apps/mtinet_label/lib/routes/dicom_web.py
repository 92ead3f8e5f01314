"""``/mtinet/dicom-web/``: the PACS, to be read by the viewer from the server's own address."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from urllib.parse import urlsplit

import requests
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry

BASE = "/mtinet/dicom-web"

_UID = r"[0-9]+(?:\.[0-9]+){1,31}"
_WHAT = r"metadata|rendered|thumbnail|bulk/[0-9A-Fa-f/]{1,200}"
# What WADO-RS and QIDO-RS can read; nothing else reaches the PACS, however it is written.
READS = re.compile(
    rf"studies(?:/{_UID})?(?:/series(?:/{_UID})?)?(?:/instances(?:/{_UID})?)?"
    rf"(?:/frames/[0-9]+(?:,[0-9]+)*)?(?:/(?:{_WHAT}))?"
)
# Attributes as keywords or tags, and the standard's own words.
_QUERY_KEY = re.compile(r"[A-Za-z0-9.]{1,120}")
_QUERY_VALUE_LENGTH = 4096
_SENT_ON = ("accept", "accept-language", "if-none-match", "range")
_SENT_BACK = ("content-type", "etag", "content-range", "cache-control", "warning")
_TIMEOUT_S = (5, 120)
_CHUNK = 1 << 18
_CONNECTIONS = 32


def router(pacs: str | None, *, auth: tuple[str, str] | None = None) -> APIRouter:
    """Read-only routes to a DICOMweb server.

    Args:
        pacs: address of its DICOMweb root; None where the studies are a folder: every request is answered 404.
        auth: name and password that the PACS wants.
    """
    routes = APIRouter(include_in_schema=False)
    session = _session(pacs or "", auth)

    @routes.get(BASE + "/{what:path}")
    def read(what: str, request: Request) -> Response:
        if pacs is None:
            return _refused(404, "the studies of this server are a folder, not a DICOMweb server")
        if len(what) > 1000 or not READS.fullmatch(what):
            return _refused(404, "only studies, series, instances, frames and their metadata can be read")
        query = request.query_params.multi_items()
        if any(not _QUERY_KEY.fullmatch(key) or len(value) > _QUERY_VALUE_LENGTH for key, value in query):
            return _refused(400, "a search key must be a DICOM keyword or tag")
        headers = {name: request.headers[name] for name in _SENT_ON if name in request.headers}
        try:
            answer = session.get(
                f"{pacs.rstrip('/')}/{what}",
                params=query,
                headers=headers,
                timeout=_TIMEOUT_S,
                stream=True,
                allow_redirects=False,
            )
        except requests.RequestException:
            return _refused(502, "the PACS does not answer")
        if answer.is_redirect or answer.status_code >= 500:
            answer.close()
            return _refused(502, "the PACS could not answer")
        kept = {name: answer.headers[name] for name in _SENT_BACK if name in answer.headers}
        return StreamingResponse(_chunks(answer), status_code=answer.status_code, headers=kept)

    return routes


def _session(pacs: str, auth: tuple[str, str] | None) -> requests.Session:
    session = requests.Session()
    session.auth = auth
    # Loopback is asked directly, whatever proxy the environment names.
    session.trust_env = not _is_loopback(urlsplit(pacs).hostname or "")
    # A PACS closes connections that were idle; a read can be asked again.
    again = Retry(total=3, connect=3, read=2, status=0, redirect=0, backoff_factor=0.1, allowed_methods={"GET"})
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(max_retries=again, pool_maxsize=_CONNECTIONS))
    return session


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _chunks(answer: requests.Response) -> Iterator[bytes]:
    with answer:
        yield from answer.iter_content(_CHUNK)


def _refused(status: int, detail: str) -> Response:
    return JSONResponse({"detail": detail}, status_code=status)
