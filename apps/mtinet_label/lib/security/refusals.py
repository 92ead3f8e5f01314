"""What a failed request is told: a status and a sentence as JSON; no path, no trace, nothing about a patient."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

import requests
from monailabel.interfaces.exception import MONAILabelError, MONAILabelException

from lib.errors import AppError
from scripts.domain.errors import MTINetError

RETRY_AFTER_S = 5
INTERNAL = "the server could not do this; its log says where it failed"
# Of POSIX, of Windows with its drives and shares, and of a home; what stands behind a word or a server's name is none.
_PATH = re.compile(
    r"(?:file:/*(?=/)|(?<![\w./]))(?:/[^\s/'\",:;<>()]+)+/?"
    r"|(?<!\w)(?:[A-Za-z]:\\|\\\\)[^\s'\",;<>()]+"
    r"|~/\S+"
)
_TRACE = re.compile(r"Traceback|File \"|\bline \d+, in ")
_LONGEST = 600


class RefusedError(AppError):
    """A request that is not let in.

    Args:
        status: HTTP's.
        detail: the sentence.
        headers: of the answer.
    """

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.headers = dict(headers or {})


def without_paths(text: str) -> str:
    """The text with what looks like a file's path left out."""
    return _PATH.sub("…", text)


def refusal_of(error: Exception) -> tuple[int, str, Mapping[str, str]] | None:
    """Status, sentence and headers for an error that was raised on purpose; None for a fault of ours."""
    if isinstance(error, AppError):
        later = {"Retry-After": str(RETRY_AFTER_S)} if error.status == 503 else {}
        return error.status, _sentence(str(error)), {**later, **getattr(error, "headers", {})}
    if isinstance(error, MTINetError):
        return 422, _sentence(str(error)), {}
    if isinstance(error, MONAILabelException):
        return (400 if error.error is MONAILabelError.INVALID_INPUT else 500), _sentence(str(error.msg)), {}
    if isinstance(error, requests.RequestException):
        return 502, "another server that this one asked does not answer", {}
    return None


def cleaned(body: bytes) -> bytes:
    """The JSON body of an error answer with nothing in it that a stranger should not learn.

    Args:
        body: as a route wrote it: JSON with ``detail``, or plain text.
    """
    try:
        told = json.loads(body)
    except ValueError:
        told = body.decode(errors="replace")
    detail = told.get("detail", told) if isinstance(told, dict) else told
    return as_json(_detail(detail))


def as_json(detail: object) -> bytes:
    """The body of an error answer."""
    return json.dumps({"detail": detail}, ensure_ascii=False).encode()


def _detail(detail: object) -> object:
    if isinstance(detail, str):
        return _sentence(detail)
    if isinstance(detail, list):  # FastAPI's list of faults repeats what came in; where and why are enough
        faults = [fault for fault in detail if isinstance(fault, dict)]
        return "; ".join(
            _sentence(f"{'.'.join(str(part) for part in fault.get('loc', ()))}: {fault.get('msg', '')}")
            for fault in faults[:8]
        )
    if isinstance(detail, dict):
        return {str(key): _detail(value) for key, value in list(detail.items())[:32]}
    return detail if isinstance(detail, int | float | bool) or detail is None else INTERNAL


def _sentence(text: str) -> str:
    return INTERNAL if _TRACE.search(text) else without_paths(text)[:_LONGEST]
