"""What MONAI Label's clients say about studies and labels, checked: nothing else of theirs is kept or passed on."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from lib.errors import BadRequestError

_WORD = re.compile(r"[A-Za-z0-9_-]{1,64}")
_CLIENT = re.compile(r"[\w .:@+-]{0,64}")
_ABOUT_IMAGES = frozenset({"strategy", "user", "client_id"})


def said_of_label(info: Mapping[str, Any]) -> dict[str, Any]:
    """``diagnosis``, ``reader`` and ``note``, by the names of ``LabelStore.save``.

    Raises:
        BadRequestError: one of them is no text.
    """
    said = {
        "diagnosis": info.get("diagnosis"),
        "reader": info.get("reader") or info.get("user") or "",
        "note": info.get("note") or "",
    }
    if any(value is not None and not isinstance(value, str) for value in said.values()):
        msg = "diagnosis, reader and note are texts"
        raise BadRequestError(msg)
    return said


def strategies_of_image(info: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """When each strategy offered a study, s since 1970, and to which client.

    Raises:
        BadRequestError: anything else is said: what viewers are told about a study comes from its files.
    """
    said = info.get("strategy") or {}
    if info.keys() - _ABOUT_IMAGES or not isinstance(said, Mapping):
        msg = "of a study's info only strategy can be set"
        raise BadRequestError(msg)
    return {_word(name): _offer(each) for name, each in said.items()}


def _offer(said: Any) -> dict[str, Any]:
    ts = said.get("ts", 0) if isinstance(said, Mapping) else None
    if isinstance(ts, bool) or not isinstance(ts, int | float) or not math.isfinite(ts):
        msg = "a strategy says when it offered a study, ts, in seconds"
        raise BadRequestError(msg)
    client = "" if said.get("client_id") is None else said["client_id"]
    if not isinstance(client, str) or not _CLIENT.fullmatch(client):
        msg = "client_id is no name"
        raise BadRequestError(msg)
    return {"ts": int(ts), "client_id": client}


def _word(name: Any) -> str:
    if not isinstance(name, str) or not _WORD.fullmatch(name):
        msg = "a strategy's name holds other characters than letters, digits, _ and -"
        raise BadRequestError(msg)
    return name
